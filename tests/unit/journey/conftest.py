"""A database with the schema: transaction and reader in one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases import Scratch, engine, scratch

__all__ = ["engine"]


@pytest.fixture
def db(engine: str) -> Iterator[Scratch]:
    session = scratch(engine)
    yield session
    session.close()
