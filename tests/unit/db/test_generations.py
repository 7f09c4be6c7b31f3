"""Generations and versions on SQLite: all questions of one turn of the loop are answered from one look."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from posthouse.db import bump, open_database

URL = "sqlite:///mail.db"


def _bump_elsewhere(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE generation SET number = number + 1 WHERE name = 'directory'")


async def test_a_change_elsewhere_holds_from_the_next_turn(tmp_path: Path) -> None:
    database = open_database(URL, tmp_path)
    before = database.generation("directory")
    _bump_elsewhere(tmp_path / "mail.db")
    assert database.generation("directory") == before
    await asyncio.sleep(0)
    assert database.generation("directory") == before + 1
    await database.close()


async def test_our_own_change_is_seen_by_whoever_was_told_of_it(tmp_path: Path) -> None:
    database = open_database(URL, tmp_path)
    seen: list[int] = []
    before = database.generation("directory")
    written = database.write([], lambda tx: bump(tx, "directory"))
    written.add_done_callback(lambda _: seen.append(database.generation("directory")))
    while not seen:
        database.generation("directory")
        await asyncio.sleep(0)
    assert seen == [before + 1]
    await database.close()


async def test_the_version_is_another_after_each_commit_whoever_made_it(tmp_path: Path) -> None:
    database = open_database(URL, tmp_path)
    first = database.version()
    assert database.version() == first
    await database.write([], lambda tx: bump(tx, "directory"))
    second = database.version()
    assert second != first
    _bump_elsewhere(tmp_path / "mail.db")
    assert database.version() not in (first, second)
    await database.close()
