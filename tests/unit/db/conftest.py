"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from posthouse.db import Tx, open_database
from posthouse.db.sqlite import SqliteDatabase

URL = "sqlite:///posthouse.db"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = open_database(URL, tmp_path)
    yield database
    await database.close()


def put(name: str, number: int = 1):
    """A closure that adds a row; its value is the number."""

    def closure(tx: Tx) -> int:
        tx.run("INSERT INTO generation (name, number) VALUES (?, ?)", (name, number))
        return number

    return closure


def names(reader) -> set[str]:
    return {name for (name,) in reader.all("SELECT name FROM generation")} - {"directory"}
