"""The directory of either database as if it answered at once; `test_any_directory` awaits its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.databases import database_url, engine
from tests.unit.accounts.conftest import world
from tests.unit.accounts.world import World, a_world

__all__ = ["database_url", "engine", "world"]


@pytest.fixture
async def empty(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """No domain, no account."""
    async with a_world(tmp_path, database_url, answers_at_once=True) as world:
        yield world
