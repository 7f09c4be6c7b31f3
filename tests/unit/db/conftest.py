"""A database of its own for each test, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from posthouse.db import Database, Tx, open_database
from posthouse.db.connection import Session, connect
from tests.databases import SQLITE_URL, database_url, engine, only_postgresql, only_sqlite

__all__ = ["database_url", "engine", "only_postgresql", "only_sqlite"]

URL = SQLITE_URL


@pytest_asyncio.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(database_url, tmp_path)
    yield database
    await database.close()


@pytest.fixture
def another_view(database_url: str, tmp_path: Path) -> Callable[[], set[str]]:
    """What a process of its own would see."""

    def look() -> set[str]:
        if database_url == URL:
            session = Session(connect(tmp_path / "posthouse.db", readonly=True))
            rows = names(session)
            session.close()
            return rows
        from posthouse.db.postgres import PostgresReading

        return PostgresReading(database_url).look(names)

    return look


def put(name: str, number: int = 1):
    """A closure that adds a row; its value is the number."""

    def closure(tx: Tx) -> int:
        tx.run("INSERT INTO generation (name, number) VALUES (?, ?)", (name, number))
        return number

    return closure


def names(reader) -> set[str]:
    return {name for (name,) in reader.all("SELECT name FROM generation")} - {"directory"}
