from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.accounts.world import World, a_world


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[World]:
    """No domain, no account."""
    async with a_world(tmp_path) as world:
        yield world


@pytest.fixture
async def world(empty: World) -> World:
    """example.org with an administrator, alice and bob."""
    await empty.add_domain("example.org")
    await empty.add_account("chief@example.org", admin=True)
    await empty.add_account("alice@example.org", name="Alice")
    await empty.add_account("bob@example.org")
    return empty
