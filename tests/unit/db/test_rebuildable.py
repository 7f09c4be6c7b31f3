"""A rebuildable file is there when it is opened, whatever lay in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from posthouse.db.rebuildable import open_rebuildable

SCHEMA = "CREATE TABLE thing (number BIGINT)"


async def fill(path: Path, version: int = 1, steps: Mapping[int, str] = MappingProxyType({})) -> int:
    """Opens it, adds a row, and returns how many there are now."""
    database = open_rebuildable(path, SCHEMA, version, steps)
    try:
        await database.write([], lambda tx: tx.run("INSERT INTO thing VALUES (1)"))
        row = await database.read(lambda reader: reader.one("SELECT count(*) FROM thing"))
        assert row is not None
        return int(row[0])
    finally:
        await database.close()


async def test_it_keeps_what_it_holds(tmp_path: Path) -> None:
    assert await fill(tmp_path / "x.db") == 1
    assert await fill(tmp_path / "x.db") == 2


async def test_another_version_begins_afresh(tmp_path: Path) -> None:
    assert await fill(tmp_path / "x.db") == 1
    assert await fill(tmp_path / "x.db", version=2) == 1


async def test_a_version_that_steps_lead_on_from_keeps_what_it_holds(tmp_path: Path) -> None:
    steps = {
        1: "ALTER TABLE thing ADD COLUMN other BIGINT; INSERT INTO thing VALUES (2, 2)",
        2: "ALTER TABLE thing DROP COLUMN other",
    }
    assert await fill(tmp_path / "x.db") == 1
    assert await fill(tmp_path / "x.db", 3, steps) == 3
    assert await fill(tmp_path / "x.db", 3, steps) == 4
    # a later one than this program knows
    assert await fill(tmp_path / "x.db", 2, steps) == 1


@pytest.mark.parametrize("octets", [b"", b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_what_is_no_database_is_replaced(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "x.db").write_bytes(octets)
    assert await fill(tmp_path / "x.db") == 1


async def test_two_may_open_it_at_once(tmp_path: Path) -> None:
    one = open_rebuildable(tmp_path / "x.db", SCHEMA, 1, {})
    other = open_rebuildable(tmp_path / "x.db", SCHEMA, 1, {})
    await one.write([], lambda tx: tx.run("INSERT INTO thing VALUES (1)"))
    assert await other.read(lambda reader: reader.all("SELECT number FROM thing")) == [(1,)]
    await one.close()
    await other.close()
