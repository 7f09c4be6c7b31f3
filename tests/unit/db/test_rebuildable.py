"""A rebuildable file is there when it is opened, whatever lay in its place."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from posthouse.db import Tx, leases
from posthouse.db.rebuildable import Source, open_rebuildable

SCHEMA = "CREATE TABLE thing (number BIGINT)"


async def fill(path: Path, version: int = 1, ends: float = 0.0) -> int:
    """Opens it, adds a row, and returns how many there are now; `ends`: of the lease of who does."""
    database = open_rebuildable(path, SCHEMA, version, source(path))

    def add(tx: Tx) -> None:
        tx.run("INSERT INTO thing VALUES (1)")
        if ends:
            leases.note(tx, "filling", ends)

    try:
        await database.write([], add)
        row = await database.read(lambda reader: reader.one("SELECT count(*) FROM thing"))
        assert row is not None
        return int(row[0])
    finally:
        await database.close()


def source(path: Path) -> Source:
    return Source(path.with_name("main.db"), "filling")


async def test_it_keeps_what_it_holds(tmp_path: Path) -> None:
    assert await fill(tmp_path / "x.db") == 1
    assert await fill(tmp_path / "x.db") == 2


async def test_another_version_begins_afresh(tmp_path: Path) -> None:
    assert await fill(tmp_path / "x.db") == 1
    assert await fill(tmp_path / "x.db", version=2) == 1


@pytest.mark.parametrize("octets", [b"", b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_what_is_no_database_is_replaced(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "x.db").write_bytes(octets)
    assert await fill(tmp_path / "x.db") == 1


async def test_one_that_is_ahead_of_the_main_database_begins_afresh(tmp_path: Path) -> None:
    main = apsw.Connection(str(tmp_path / "main.db"))
    main.execute("CREATE TABLE lease (name TEXT PRIMARY KEY, holder BIGINT, expires DOUBLE)")
    main.execute("INSERT INTO lease VALUES ('filling', 7, 60.0)")
    # given one filled while the lease was to end at 60, then at 90
    assert await fill(tmp_path / "x.db", ends=60.0) == 1
    assert await fill(tmp_path / "x.db", ends=90.0) == 2
    main.execute("UPDATE lease SET expires = 90.0")
    assert await fill(tmp_path / "x.db") == 3
    # when the main database is what it was at 60, then what is told is of another future
    main.execute("UPDATE lease SET expires = 60.0")
    main.close()
    assert await fill(tmp_path / "x.db") == 1


async def test_two_may_open_it_at_once(tmp_path: Path) -> None:
    one = open_rebuildable(tmp_path / "x.db", SCHEMA, 1, source(tmp_path / "x.db"))
    other = open_rebuildable(tmp_path / "x.db", SCHEMA, 1, source(tmp_path / "x.db"))
    await one.write([], lambda tx: tx.run("INSERT INTO thing VALUES (1)"))
    assert await other.read(lambda reader: reader.all("SELECT number FROM thing")) == [(1,)]
    await one.close()
    await other.close()
