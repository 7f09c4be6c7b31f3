"""Blobs: adopted whole, read in pieces, collected when nothing names them."""

from __future__ import annotations

import os

import pytest

from posthouse.db import DatabaseError
from posthouse.db import blobs as blobs_module
from posthouse.db.blobs import collect, discard, moment_of, open_blobs

DAY = 24 * 3600.0


@pytest.fixture
async def blobs(tmp_path):
    blobs = open_blobs("file:blobs", tmp_path)
    yield blobs
    await blobs.close()


def spool(blobs, data: bytes):
    path = blobs.spool_directory / "arriving"
    path.write_bytes(data)
    return path


async def test_a_spool_file_is_adopted_under_a_name_of_its_own(blobs):
    path = spool(blobs, b"hello")
    name = await blobs.store(path)
    again = await blobs.store(spool(blobs, b"hello"))
    assert name != again
    assert not path.exists()
    assert await blobs.read(name, 0, 100) == b"hello"


async def test_pieces_of_a_blob(blobs, monkeypatch):
    monkeypatch.setattr(blobs_module, "CHUNK", 4)
    name = await blobs.store(spool(blobs, b"0123456789"))
    assert await blobs.read(name, 3, 4) == b"3456"
    assert await blobs.read(name, 8, 100) == b"89"
    assert await blobs.read(name, 100, 1) == b""
    assert [piece async for piece in blobs.chunks(name, 1)] == [b"1234", b"5678", b"9"]


async def test_a_blob_is_durable_before_it_has_its_name(blobs, monkeypatch):
    # Given a disk that refuses to sync,
    def refuse(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(blobs_module.os, "fsync", refuse)
    # then there is no blob, and the spool file is still there.
    path = spool(blobs, b"hello")
    with pytest.raises(DatabaseError):
        await blobs.store(path)
    assert path.exists()
    assert await blobs.names_before(1e12) == []


async def test_what_is_gone_and_what_never_was(blobs):
    name = await blobs.store(spool(blobs, b"hello"))
    await blobs.delete(name)
    await blobs.delete(name)
    with pytest.raises(DatabaseError, match="no such blob"):
        await blobs.read(name, 0, 1)
    for bad in ("../../etc/passwd", "", "../" + name, "x" * 31):
        with pytest.raises(DatabaseError):
            await blobs.read(bad, 0, 1)


async def test_the_collector_deletes_remembered_blobs_and_old_unnamed_ones(blobs, database):
    # Given one blob whose row was deleted, one that a row names, and one that nothing names,
    remembered, named, unnamed = [await blobs.store(spool(blobs, data)) for data in (b"r", b"n", b"u")]
    stored = moment_of(named)
    await database.write([], lambda tx: discard(tx, remembered, stored))

    def in_use(reader, names):
        return {named}.intersection(names)

    # when it is collected soon, only the remembered one goes;
    assert await collect(database, blobs, stored + 1.9 * DAY, in_use) == 1
    assert set(await blobs.names_before(stored + 1)) == {named, unnamed}
    assert await database.read(lambda reader: reader.all("SELECT name FROM blob_garbage")) == []
    # after 48 hours the unnamed one goes too.
    assert await collect(database, blobs, stored + 2.1 * DAY, in_use) == 1
    assert await blobs.names_before(stored + 1) == [named]


async def test_what_a_crash_left_in_the_spool_goes_after_48_hours(blobs, database):
    # Given an upload that never came to its end, and one that is still under way,
    left, arriving = blobs.spool_directory / "left", blobs.spool_directory / "arriving"
    for path in left, arriving:
        path.write_bytes(b"half a letter")
    now = arriving.stat().st_mtime
    os.utime(left, (now - 2.1 * DAY,) * 2)

    # when the collector comes by,
    await collect(database, blobs, now, lambda reader, names: set())

    # then only the first is gone.
    assert [path.name for path in blobs.spool_directory.iterdir()] == ["arriving"]


async def test_a_blob_of_a_transaction_that_failed_is_not_remembered(blobs, database):
    name = await blobs.store(spool(blobs, b"x"))

    def fails(tx):
        discard(tx, name, 1.0)
        raise ValueError

    with pytest.raises(ValueError):
        await database.write([], fails)
    assert await collect(database, blobs, moment_of(name), lambda reader, names: set()) == 0
    assert await blobs.read(name, 0, 1) == b"x"


def test_other_urls_are_refused(tmp_path):
    with pytest.raises(DatabaseError, match="file:"):
        open_blobs("ftp://x", tmp_path)
