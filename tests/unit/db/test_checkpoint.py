"""Checkpoints keep the WAL small without anybody waiting for them."""

from __future__ import annotations

import asyncio

from posthouse.db import checkpoint, leases, open_database
from tests.unit.db.conftest import URL, only_sqlite

pytestmark = only_sqlite


def big(number: int):
    def closure(tx):
        tx.run("INSERT INTO content_body (content, body) VALUES (?, ?)", (number, b"x" * 40_000))

    return closure


async def write_until(database, condition, first=0):
    number = first
    while not condition():
        await asyncio.gather(*(database.write([], big(number + n)) for n in range(10)))
        number += 10
        assert number < first + 20_000
    return number


async def test_under_load_the_wal_begins_afresh(database, monkeypatch):
    monkeypatch.setattr(checkpoint, "PASSIVE_PAGES", 200)
    monkeypatch.setattr(checkpoint, "RESTART_PAGES", 600)
    keeper = database._checkpointer
    count = await write_until(database, lambda: keeper.restarts >= 5)
    # The WAL was made to begin afresh: its pages are far fewer than were written.
    await write_until(database, lambda: database._engine.wal_pages < 600, first=count)
    assert database._path.with_name("posthouse.db-wal").stat().st_size < count * 40_000
    assert await database.read(lambda reader: reader.one("PRAGMA integrity_check")) == ("ok",)


async def test_only_the_holder_of_the_lease_checkpoints(database, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "PASSIVE_PAGES", 100)
    await database.write([], lambda tx: leases.take(tx, checkpoint.LEASE, 42))
    other = open_database(URL, tmp_path)
    for number in range(60):
        await (database, other)[number % 2].write([], big(number))
    assert database._checkpointer.checkpoints == other._checkpointer.checkpoints == 0
    await database.write([], lambda tx: leases.give_up(tx, checkpoint.LEASE, 42))
    await write_until(database, lambda: database._checkpointer.checkpoints > 0, first=100)
    await other.write([], big(99_999))
    assert other._checkpointer.checkpoints == 0
    await other.close()


async def test_past_the_ceiling_the_wal_is_cut(database, monkeypatch):
    for name, pages in (("PASSIVE_PAGES", 200), ("RESTART_PAGES", 400), ("CEILING_PAGES", 400)):
        monkeypatch.setattr(checkpoint, name, pages)
    keeper = database._checkpointer
    await write_until(database, lambda: keeper.restarts >= 1)
    assert database._path.with_name("posthouse.db-wal").stat().st_size < 200 * 4096 * 10
