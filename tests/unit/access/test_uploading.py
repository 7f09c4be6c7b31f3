"""A long APPEND goes to the disk while more of it comes; its messages are all there at once, or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.access.imap import uploading
from posthouse.db import Reader, Tx
from tests.unit.access.conftest import Server
from tests.unit.access.test_append import literal
from tests.unit.access.test_sessions import Client

LARGE = "Subject: large\r\n\r\n" + ("y" * 70 + "\r\n") * 1500


@pytest.fixture(autouse=True)
def _pieces_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PIECE", 2000)
    monkeypatch.setattr(uploading, "MOST_HELD", 20_000)


def message(number: int) -> str:
    return f"Subject: {number}\r\n\r\n" + f"line {number}\r\n" * 50


def messages(count: int) -> str:
    return " ".join(literal(message(number)) for number in range(count))


async def rows(server: Server, *tables: str) -> list[int]:
    def count(reader: Reader) -> list[int]:
        found = [reader.one(f"SELECT count(*) FROM {table}") for table in tables]
        return [row[0] for row in found if row is not None]

    return await server.database.read(count)


async def until_nothing_is_left(server: Server) -> None:
    async with asyncio.timeout(20):
        while await rows(server, "upload", "content", "email") != [0, 0, 0]:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.005)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many contents each piece has that is stored before the end."""
    put, found = uploading.uploads.put, []

    def counted(tx: Tx, contents: Any) -> int:
        found.append(len(contents))
        return put(tx, contents)

    monkeypatch.setattr(uploading.uploads, "put", counted)
    return found


async def test_all_messages_are_there_with_the_last(
    server: Server, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(uploading.uploads, "abandon")  # there is nothing to be abandoned
    async with Client(server) as client:
        await client.do("SELECT Sent")
        # when
        said = await client.do(f"APPEND Sent {messages(150)} {literal(LARGE)} {messages(50)}")
        # then
        assert said[-1].startswith("OK [APPENDUID")
        assert said[-1].split()[3] == "1:201]"
        assert len(pieces) > 1
        # and each has its own octets
        for number, text in ((1, message(0)), (77, message(76)), (151, LARGE), (201, message(49))):
            lines = text.splitlines()
            assert (await client.do(f"FETCH {number} (BODY.PEEK[])"))[1 : 1 + len(lines)] == lines
    assert await rows(server, "upload", "content", "email") == [0, 201, 201]


@pytest.mark.parametrize("last", ["rubbish", literal(""), literal("a\0b"), "{90000000}", "CATENATE (URL x)"])
async def test_nothing_stays_of_what_is_refused(server: Server, pieces: list[int], last: str) -> None:
    async with Client(server) as client:
        said = await client.do(f"APPEND Sent {messages(100)} {last}")
        assert said[-1].startswith(("NO", "BAD"))
        assert pieces
        await until_nothing_is_left(server)
        said = await client.do(f"APPEND Nowhere {messages(100)}")
        assert said[-1].startswith("NO [TRYCREATE]")
        await until_nothing_is_left(server)


async def test_nothing_stays_when_the_client_leaves(server: Server, pieces: list[int]) -> None:
    async with Client(server) as client:
        client.writer.write(f"a APPEND Sent {messages(100)} {{500+}}\r\nSubject".encode())
        async with asyncio.timeout(20):
            while not pieces:  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.005)
    await until_nothing_is_left(server)


async def test_what_was_forgotten_meanwhile_is_not_made_messages_of(server: Server) -> None:
    async with Client(server) as client:
        # given some that have been stored, and were swept away since their client was silent for a day
        client.writer.write(f"a APPEND Sent {messages(100)}".encode())
        async with asyncio.timeout(20):
            while await rows(server, "upload") == [0]:  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.005)
        await server.database.write([], lambda tx: tx.run("DELETE FROM upload"))
        # when the command ends, then it is refused
        client.writer.write(f" {messages(1)}\r\n".encode())
        while not (line := await client.line()).startswith("a "):
            pass
        assert line.startswith("a NO [UNAVAILABLE]")
        assert (await client.do("STATUS Sent (MESSAGES)"))[0] == '* STATUS "Sent" (MESSAGES 0)'
