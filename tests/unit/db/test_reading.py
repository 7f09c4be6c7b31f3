"""Readers see one moment; generations tell caches when to look again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from posthouse.db import DatabaseError, bump, open_database
from tests.unit.db.conftest import names, only_sqlite, put


async def test_a_read_sees_one_moment_while_others_write(database):
    loop = asyncio.get_running_loop()
    looked, may_look_again = loop.create_future(), threading.Event()

    def look_twice(reader):
        first = names(reader)
        loop.call_soon_threadsafe(looked.set_result, None)
        assert may_look_again.wait(10)
        return first, names(reader)

    reading = asyncio.ensure_future(database.read(look_twice))
    await looked
    await database.write([], put("a"))
    may_look_again.set()
    assert await reading == (set(), set())
    assert await database.read(names) == {"a"}


@only_sqlite
async def test_a_point_read_runs_at_once(database):
    await database.write([], put("a", 3))
    query = "SELECT number FROM generation WHERE name = ?"
    assert database.point(lambda reader: reader.one(query, ("a",))) == (3,)
    assert (
        await database.read(lambda reader: threading.current_thread(), point=True) is threading.main_thread()
    )
    assert await database.read(lambda reader: threading.current_thread()) is not threading.main_thread()


@pytest.mark.parametrize("point", [False, True])
async def test_a_failing_read_leaves_the_reader_usable(database, point):
    with pytest.raises(ZeroDivisionError):
        await database.read(lambda reader: 1 / 0, point=point)
    with pytest.raises(DatabaseError):
        await database.read(lambda reader: reader.one("SELECT nothing"), point=point)
    assert await database.read(names, point=point) == set()


@pytest.mark.parametrize("point", [False, True])
async def test_a_reader_cannot_write(database, point):
    with pytest.raises(DatabaseError):
        await database.read(
            lambda reader: reader.one("INSERT INTO generation VALUES ('x', 1) RETURNING name"), point=point
        )


async def test_each_gives_rows_one_by_one(database):
    await asyncio.gather(*(database.write([], put(str(n), n)) for n in range(5)))
    found = await database.read(
        lambda reader: list(reader.each("SELECT number FROM generation WHERE name <> 'directory'"))
    )
    assert sorted(found) == [(n,) for n in range(5)]


async def test_a_generation_grows_with_each_change_in_any_process(database, database_url, tmp_path):
    assert database.generation("unheard of") == 0
    before = database.generation("directory")
    await database.write([], lambda tx: bump(tx, "directory"))
    assert database.generation("directory") == before + 1
    # Given another process that changes something,
    other = open_database(database_url, tmp_path)
    await other.write([], lambda tx: bump(tx, "directory"))
    await other.write([], lambda tx: bump(tx, "new"))
    await other.close()
    # then it is known at once where the database is in this process, else with the next look at it.
    if not database.immediate:
        async with asyncio.timeout(10):
            while database.generation("new") == 0:  # noqa: ASYNC110 (a poll sets no event)
                await asyncio.sleep(0.01)
    assert database.generation("directory") == before + 2
    assert database.generation("new") == 1


async def test_a_change_that_failed_leaves_the_generation(database):
    before = database.generation("directory")

    def fails(tx):
        bump(tx, "directory")
        raise ValueError

    with pytest.raises(ValueError):
        await database.write([], fails)
    assert database.generation("directory") == before
