"""Octets may pass through a filter, and what that costs is bounded."""

from __future__ import annotations

import asyncio
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.net import pump as pump_module
from posthouse.net.compression import Deflate
from posthouse.net.session import FilterError, Through


class Peer:
    """The other side of a connection that is compressed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.unpacker = zlib.decompressobj(-15)
        self.heard = b""

    def say(self, data: bytes) -> None:
        self.writer.write(self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))

    async def hear(self, octets: int) -> bytes:
        while len(self.heard) < octets and (data := await self.reader.read(65536)):
            self.heard += self.unpacker.decompress(data)
        heard, self.heard = self.heard[:octets], self.heard[octets:]
        return heard


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 50), st.integers(1, 70))
def test_what_is_sent_arrives_however_it_is_cut(said: list[bytes], cut: int, most: int) -> None:
    one, other = Deflate(), Deflate()
    packed = b"".join(map(one.send, said))
    heard = b""
    for start in range(0, len(packed), cut):
        other.receive(packed[start : start + cut])
        while other.waiting:
            piece = other.read(most)
            assert len(piece) <= most
            heard += piece
    assert heard == b"".join(said)


@given(st.binary(max_size=200))
def test_rubbish_is_an_error_or_octets(data: bytes) -> None:
    filter = Deflate()
    filter.receive(data)
    try:
        while filter.waiting:
            filter.read(100)
    except FilterError:
        return


def test_the_way_changes_behind_the_answer_and_back_again(run: Any, serve: Any) -> None:
    answers = {
        b"pack": lambda: Through(b"packed from now on", Deflate()),
        b"unpack": lambda: Through(b"as it was from now on", None),
    }

    async def scene() -> None:
        async with serve(answers) as served:
            reader, writer = await served.connect()
            await reader.readline()
            writer.write(b"pack\r\n")
            assert await reader.readline() == b"packed from now on\r\n"
            peer = Peer(reader, writer)
            peer.say(b"one\r\ntwo\r\n")
            assert await peer.hear(16) == b"ok one\r\nok two\r\n"
            served.drivers[0].pump.push(b"pushed\r\n")
            assert await peer.hear(8) == b"pushed\r\n"
            peer.say(b"unpack\r\n")
            assert await peer.hear(23) == b"as it was from now on\r\n"
            writer.write(b"QUIT\r\n")
            assert await reader.read() == b"ok QUIT\r\n"

    run(scene())


async def _later(filter: Deflate) -> Through:
    return Through(b"later", filter)


def test_much_that_was_packed_small_is_taken_bit_by_bit(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answers = {b"pack": lambda: _later(Deflate()), b"slow": decision}
        async with serve(answers) as served:
            reader, writer = await served.connect()
            await reader.readline()
            writer.write(b"pack\r\n")
            await reader.readline()
            peer = Peer(reader, writer)
            # given 4 MB in a few kilobytes, while a decision is outstanding
            line = b"x" * 98 + b"\r\n"
            count = 40_000
            peer.say(b"slow\r\n" + line * count + b"QUIT\r\n")
            core = served.cores[0]
            await served.drivers[0].seen(b"slow")
            for _ in range(100):
                await asyncio.sleep(0)
            # then no more is unpacked than may wait
            assert core.received <= pump_module.HELD_LIMIT + 3 * pump_module.FILTER_TURN
            decision.set_result(b"done")
            # and later all is answered, the end of input included
            writer.write_eof()
            wanted = b"done\r\n" + b"ok " + line
            assert (await peer.hear(len(wanted))) == wanted
            rest = (len(line) + 3) * (count - 1) + len(b"ok QUIT\r\n")
            heard = await peer.hear(rest)
            assert len(heard) == rest
            assert heard.endswith(b"ok QUIT\r\n")

    run(scene())


def test_what_does_not_unpack_ends_the_connection(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve({b"pack": lambda: Through(b"yes", Deflate())}) as served:
            reader, writer = await served.connect()
            await reader.readline()
            writer.write(b"pack\r\n")
            await reader.readline()
            writer.write(b"plain text, and no DEFLATE\r\n")
            assert await served.drivers[0].ended == "bad octets"

    run(scene())


@pytest.mark.parametrize("size", [1, 65536, 500_000])
def test_nothing_waits_in_the_compressor(size: int) -> None:
    data = random.Random(7).randbytes(size)
    one, other = Deflate(), Deflate()
    other.receive(one.send(data))
    heard = b""
    while other.waiting:
        heard += other.read(1000)
    assert heard == data
