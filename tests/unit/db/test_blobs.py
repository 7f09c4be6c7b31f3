"""Blobs: adopted whole, read in pieces, collected when nothing names them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from unittest.mock import ANY

import pytest

from posthouse.db import DatabaseAway, DatabaseError
from posthouse.db import blobs as blobs_module
from posthouse.db.blobs import (
    collect_remembered,
    collect_unnamed,
    discard,
    moment_of,
    open_blobs,
    sweep_spool,
)
from posthouse.db.blobs_s3 import UPLOADS
from posthouse.db.errors import reply_to
from posthouse.net.begun import begun
from tests.databases import KEY, SECRET, object_store

DAY = 24 * 3600.0


only_files = pytest.mark.parametrize("kind", ["file"])
only_s3 = pytest.mark.parametrize("kind", ["s3"])


@pytest.fixture(params=["file", "s3"])
def kind(request):
    return request.param


@pytest.fixture
async def blobs(kind, tmp_path, monkeypatch):
    url = "file:blobs"
    if kind == "s3":
        url = object_store().url(tmp_path.name)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    blobs = open_blobs(url, tmp_path)
    yield blobs
    await blobs.close()


async def names_before(blobs, epoch: float, after: str = "") -> list[str]:
    return sorted([name async for page in blobs.names_before(epoch, after) for name in page])


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


@only_files
async def test_a_blob_is_durable_before_it_has_its_name(blobs, monkeypatch):
    # Given a disk that refuses to sync,
    def refuse(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(blobs_module.os, "fsync", refuse)
    # then there is no blob, and nothing stays in the spool.
    path = spool(blobs, b"hello")
    with pytest.raises(DatabaseError):
        await blobs.store(path)
    assert not path.exists()
    assert await names_before(blobs, 1e12) == []


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

    # when it is collected within the hour, all stay; when that is over, the remembered one goes;
    assert await collect_remembered(database, blobs, stored + 3599) == 0
    assert len(await names_before(blobs, stored + 1)) == 3
    assert await collect_remembered(database, blobs, stored + 3601) == 1
    assert await collect_unnamed(database, blobs, stored + 1.9 * DAY, in_use) == (0, ANY)
    assert set(await names_before(blobs, stored + 1)) == {named, unnamed}
    assert await database.read(lambda reader: reader.all("SELECT name FROM blob_garbage")) == []
    # after 48 hours the unnamed one goes too.
    assert await collect_unnamed(database, blobs, stored + 2.1 * DAY, in_use) == (1, ANY)
    assert await names_before(blobs, stored + 1) == [named]


async def test_an_old_object_whose_row_was_deleted_just_now_has_its_hour_from_then_on(blobs, database):
    # Given an object of three days whose row goes now,
    name = await blobs.store(spool(blobs, b"read by somebody"))
    now = moment_of(name) + 3 * DAY
    await database.write([], lambda tx: discard(tx, name, now))
    # when all objects are looked at, for the first time, then it stays for those who read it,
    assert await collect_unnamed(database, blobs, now + 60, lambda reader, names: set()) == (0, ANY)
    assert await collect_remembered(database, blobs, now + 60) == 0
    assert await blobs.read(name, 0, 4) == b"read"
    # and when the hour is over, it goes.
    assert await collect_remembered(database, blobs, now + 3660) == 1


async def test_an_object_that_was_named_at_its_age_is_not_looked_at_again(blobs, database):
    # Given an old object that a row names,
    old = await blobs.store(spool(blobs, b"old"))
    now = moment_of(old) + 2.1 * DAY
    asked = []

    def in_use(reader, names):
        asked.extend(names)
        return set(names)

    first = await collect_unnamed(database, blobs, now, in_use)
    assert asked == [old]
    # when the collector comes again, then it asks for what has grown old since.
    again = await collect_unnamed(database, blobs, now + DAY, in_use, first.upto)
    assert asked == [old]
    assert again.upto > first.upto > old
    assert await names_before(blobs, now, after=old) == []
    assert await names_before(blobs, now, after=f"{int(old[:12], 16) - 1:012x}") == [old]


async def test_what_a_crash_left_in_the_spool_goes_after_48_hours(blobs):
    # Given an upload that never came to its end, and one that is still under way,
    left, arriving = blobs.spool_directory / "left", blobs.spool_directory / "arriving"
    for path in left, arriving:
        path.write_bytes(b"half a letter")
    now = arriving.stat().st_mtime
    os.utime(left, (now - 2.1 * DAY,) * 2)

    # when the collector comes by,
    sweep_spool(blobs.spool_directory, now)

    # then only the first is gone.
    assert [path.name for path in blobs.spool_directory.iterdir()] == ["arriving"]


async def test_a_blob_of_a_transaction_that_failed_is_not_remembered(blobs, database):
    name = await blobs.store(spool(blobs, b"x"))

    def fails(tx):
        discard(tx, name, 1.0)
        raise ValueError

    with pytest.raises(ValueError):
        await database.write([], fails)
    assert await collect_remembered(database, blobs, 1e12) == 0
    assert await blobs.read(name, 0, 1) == b"x"


@only_s3
async def test_a_large_body_goes_up_in_parts_and_comes_back_the_same(blobs):
    from posthouse.db import blobs_s3

    data = os.urandom(1 << 20) * 20
    assert len(data) > 2 * blobs_s3.PART
    path = spool(blobs, data)
    name = await blobs.store(path)
    assert not path.exists()
    assert b"".join([piece async for piece in blobs.chunks(name)]) == data
    assert await blobs.read(name, len(data) - 5, 100) == data[-5:]


class Bucket:
    """Takes every object, when it is told to; what S3 servers say besides that is not needed for it."""

    def __init__(self):
        self.under_way = self.most = self.taken = 0
        self.full = asyncio.Event()
        self.answering = asyncio.Event()

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.under_way == UPLOADS:
            self.full.set()
        await self.answering.wait()
        self.under_way -= 1
        self.taken += 1
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        writer.close()


@pytest.fixture
async def bucket():
    bucket = Bucket()
    server = await asyncio.start_server(bucket.serve, "127.0.0.1", 0)
    bucket.url = (
        f"s3://mail?endpoint=http://127.0.0.1:{server.sockets[0].getsockname()[1]}&skip_signature=true"
    )
    yield bucket
    bucket.answering.set()
    server.close()


def many(blobs, number):
    for count in range(number):
        path = blobs.spool_directory / str(count)
        path.write_bytes(b"large")
        yield asyncio.ensure_future(blobs.store(path))


async def test_a_process_sends_so_many_objects_at_once_and_the_others_wait(tmp_path, bucket):
    # Given three times as many letters as may be on their way to a store that takes its time,
    blobs = open_blobs(bucket.url, tmp_path, 60)
    stored = list(many(blobs, 3 * UPLOADS))
    await asyncio.wait_for(bucket.full.wait(), 60)
    # when it answers at last, then all were stored, never too many at once.
    bucket.answering.set()
    assert len(set(await asyncio.gather(*stored))) == bucket.taken == 3 * UPLOADS
    assert bucket.most == UPLOADS


async def test_who_waits_too_long_for_others_is_told_to_come_again(tmp_path, bucket):
    # Given a store that answers none of those who fill it,
    blobs = open_blobs(bucket.url, tmp_path, 60)
    first = list(many(blobs, UPLOADS))
    await asyncio.wait_for(bucket.full.wait(), 60)
    # when another one comes, then it is refused in time, and nothing of it stays.
    blobs._seconds = 0.1
    with pytest.raises(DatabaseAway) as refused:
        await blobs.store(spool(blobs, b"too many"))
    assert reply_to(refused.value).code == 451
    assert bucket.most == UPLOADS
    bucket.answering.set()
    await asyncio.gather(*first)
    assert list(blobs.spool_directory.iterdir()) == []


def begun_by_the_loop(work):
    """What is left of it after its first step, which no task has taken."""
    loop = asyncio.get_running_loop()
    rest = loop.create_future()

    def begin():
        try:
            rest.set_result(begun(work))
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            rest.set_exception(error)

    loop.call_soon(begin)
    return rest


async def test_whoever_is_in_no_task_yet_may_begin_to_store_and_read(blobs):
    # IMAP and POP3 begin their commands so.
    name = await (await begun_by_the_loop(blobs.store(spool(blobs, b"hello"))))
    assert await (await begun_by_the_loop(blobs.read(name, 0, 5))) == b"hello"
    await (await begun_by_the_loop(blobs.delete(name)))


@only_s3
async def test_nothing_is_ever_overwritten(blobs, monkeypatch):
    # Given a name that exists, and that is drawn again, as if the answer to the first had been lost,
    from posthouse.db import blobs_s3

    first = await blobs.store(spool(blobs, b"first"))
    drawn = iter([first, "0" * 32])
    monkeypatch.setattr(blobs_s3, "new_name", lambda: next(drawn))
    # then the second goes under another.
    assert await blobs.store(spool(blobs, b"second")) == "0" * 32
    assert await blobs.read(first, 0, 10) == b"first"


async def test_a_store_that_is_away_is_said_to_be_and_nothing_stays_in_the_spool(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        blobs = open_blobs(f"s3://mail?endpoint=http://127.0.0.1:{port}&skip_signature=true", tmp_path, 0.3)
        path = spool(blobs, b"hello")
        for attempt in (
            blobs.store(path),
            blobs.read("0" * 32, 0, 1),
            blobs.delete("0" * 32),
            names_before(blobs, 1.0),
        ):
            with pytest.raises(DatabaseAway):
                await attempt
        assert not path.exists()


def test_settings_that_s3_does_not_know_are_named(tmp_path):
    with pytest.raises(DatabaseError, match="endpoint"):
        open_blobs("s3://mail?endpiont=http://x", tmp_path)


def test_other_urls_are_refused(tmp_path):
    with pytest.raises(DatabaseError, match="file:"):
        open_blobs("ftp://x", tmp_path)


@only_s3
async def test_a_bucket_that_is_not_there_cannot_be_listed(blobs, tmp_path):
    elsewhere = open_blobs(object_store().url().replace("s3://mail/", "s3://nowhere/"), tmp_path)
    assert await names_before(blobs, 0.0, "~") == []
    with pytest.raises(DatabaseAway):
        await names_before(elsewhere, 0.0, "~")
    await elsewhere.close()
