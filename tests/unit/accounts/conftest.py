from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.databases import database_url, engine
from tests.unit.accounts.world import World, a_world

__all__ = ["database_url", "engine"]


@pytest.fixture
async def empty(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """No domain, no account."""
    async with a_world(tmp_path, database_url) as world:
        yield world


@pytest.fixture
async def world(empty: World) -> World:
    """example.org with an administrator, alice and bob."""
    await empty.add_domain("example.org")
    await empty.add_account("chief@example.org", admin=True)
    await empty.add_account("alice@example.org", name="Alice")
    await empty.add_account("bob@example.org")
    return empty
