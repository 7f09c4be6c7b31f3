"""Facts kept of messages: what is found and sorted by them is what is found by reading the messages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access.imap import facts as kept_facts
from posthouse.access.imap import masks, search
from posthouse.access.imap.facts import Knowledge
from posthouse.db import DatabaseAway
from posthouse.store import facts
from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client
from tests.unit.access.test_sort import LETTERS, SORTS, letter

ODD = [
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\r\nSubject: =?utf-8?b?w6RwZmVs?= and\r\n pears\r\n\r\nx\r\n",
    b"Subject: one\r\nSubject: two\r\nTo: a@x.test,\r\n\tb@x.test\r\nDate: 3 Nov 2026 23:59:00 -1200\r\n\r\n",
    b"\r\nno header at all\r\n",
    b"From:\r\nCc: \xff\xfe@x.test\r\nBcc: hidden@x.test\r\nDate: 5 Nov 1999 00:00 EST\r\n\r\n",
]
KEYS = [
    "FROM x.test",
    'FROM "Jürgen"',
    "SUBJECT apfel",
    'SUBJECT "äpfel"',
    "SUBJECT two",
    "SUBJECT onetwo",
    'SUBJECT "and pears"',
    "TO b@x.test",
    'HEADER SUBJECT ""',
    'HEADER CC ""',
    'NOT HEADER TO ""',
    "CC x.test",
    "BCC hidden",
    "SENTON 2-Nov-2026",
    "SENTSINCE 3-Nov-2026",
    "SENTBEFORE 1-Jan-2000",
    "NOT SENTSINCE 1-Jan-1900",
    "SINCE 1-Jan-2000",
    "BEFORE 1-Jan-2000",
    "YOUNGER 100",
    "OLDER 100",
    "OR SEEN FROM amy",
    "SEEN NOT FROM amy",
    "OR FROM zoe BODY xxxx",
    "NOT (SUBJECT beta FLAGGED)",
    "UID 2:4 FROM x",
    "KEYWORD work",
    "UNKEYWORD work SUBJECT e",
    "LARGER 150 FROM x",
    "HEADER Message-ID 4@x",
    "RECENT SUBJECT e",
    "TEXT apple OR FROM zoe CC q",
]


@pytest.fixture
def all_by_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few messages there are."""
    monkeypatch.setattr(kept_facts, "FEW", -1)
    monkeypatch.setattr(search, "FEW", -1)


async def fill(server: Server) -> None:
    for number, row in enumerate(LETTERS):
        await server.deliver(letter(*row), flags=number % 2)
    for data in ODD:
        await server.deliver(data)


async def answers(client: Client) -> list[str]:
    asked = [f"SEARCH {key}" for key in KEYS]
    return [line for command in asked for line in await client.do(command)]


async def test_search_by_facts_finds_what_reading_finds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    await fill(server)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("STORE 3 +FLAGS (Work)")
        await client.do("ENABLE UTF8=ACCEPT")
        monkeypatch.setattr(search, "FEW", 10**9)
        for _ in range(2):
            # when: first by reading, then by facts
            by_reading = [line.split() for line in await answers(client) if line.startswith("* ")]
            with monkeypatch.context() as by_facts:
                by_facts.setattr(search, "FEW", -1)
                found = [line.split() for line in await answers(client) if line.startswith("* ")]
            # then
            assert found == by_reading
            assert len(found) == len(KEYS)
            # and after messages went and came
            await client.do("STORE 2,5 +FLAGS (\\Deleted)")
            await client.do("EXPUNGE")
            await fill(server)
            await client.do("NOOP")
            server.services.knowledge._kept.clear()


@pytest.mark.usefixtures("all_by_facts")
@pytest.mark.parametrize(("command", "expected"), SORTS)
async def test_sort_goes_by_what_is_there_now(server: Server, command: str, expected: str) -> None:
    # given facts of messages of which some go, and others come
    await server.deliver(b"Subject: first\r\nFrom: a@x.test\r\n\r\n", flags=8)
    for number, row in enumerate(LETTERS[:3]):
        await server.deliver(letter(*row), flags=number == 2)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        first = await client.do(command)
        assert await client.do(command) == first
        await client.do("EXPUNGE")
        for row in LETTERS[3:]:
            await server.deliver(letter(*row))
        await client.do("NOOP")
        # when, then
        assert (await client.do(command))[0].removeprefix("* SORT").strip() == expected


async def test_facts_are_made_once_for_all_sessions(
    server: Server, monkeypatch: pytest.MonkeyPatch, all_by_facts: None
) -> None:
    await fill(server)
    made: list[int] = []
    make = facts.make
    monkeypatch.setattr(facts, "make", lambda *args: made.append(len(args[-1])) or make(*args))
    async with Client(server) as one, Client(server) as other:
        for client in (one, other, one):
            await client.do("SELECT INBOX")
            await client.do("SEARCH FROM x")
        await server.deliver(ODD[0])
        await one.do("NOOP")
        await one.do("SEARCH SUBJECT pears")
    assert made == [len(LETTERS) + len(ODD), 1]


COLD = [
    *KEYS[:25],
    "UID 1:3 FROM x",
    "LARGER 150 FROM x",
]
ORDERS = [f"SORT ({by}) UTF-8 ALL" for by in ("ARRIVAL", "CC", "DATE", "FROM", "SUBJECT", "TO", "DISPLAYTO")]
THREADS = [f"THREAD {algorithm} UTF-8 ALL" for algorithm in ("REFERENCES", "ORDEREDSUBJECT")]


async def cold_answers(server: Server) -> list[list[str]]:
    """Each of a server that has just been started, whose memory is empty."""
    said = []
    for command in [*(f"SEARCH {key}" for key in COLD), *ORDERS, *THREADS]:
        object.__setattr__(server.services, "knowledge", Knowledge())
        async with Client(server) as client:
            await client.do("ENABLE UTF8=ACCEPT")
            await client.do("SELECT INBOX")
            lines = await client.do(command)
            assert lines[-1].partition(" ")[0] == "OK", lines
            said.append([line.strip() for line in lines[:-1]])
    return said


async def test_what_is_asked_first_of_a_started_server_reads_no_header(
    server: Server, all_by_facts: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    # given messages whose facts the indexer keeps, and what is found by reading each
    await fill(server)
    by_reading = await cold_answers(server)
    fulltext = open_fulltext(database_url, tmp_path)
    services = dataclasses.replace(server.services, fulltext=fulltext)
    server.services = services
    indexer = Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=0)
    await indexer.sweep()
    made: list[int] = []
    make = facts.make
    monkeypatch.setattr(facts, "make", lambda *args: made.append(len(args[-1])) or make(*args))
    try:
        # then the same is found, and nothing is made of headers
        assert await cold_answers(server) == by_reading
        assert made == []
        # and of messages that came since, each is looked at, and no other
        await server.deliver(ODD[0])
        await server.deliver(letter(*LETTERS[0]))
        found = await cold_answers(server)
        assert set(made) == {2}
        object.__setattr__(server.services, "fulltext", None)
        assert await cold_answers(server) == found
    finally:
        await fulltext.close()


async def test_facts_that_cannot_be_read_are_made(
    server: Server, all_by_facts: None, tmp_path: Path, database_url: str
) -> None:
    await fill(server)
    by_reading = await cold_answers(server)
    fulltext = open_fulltext(database_url, tmp_path)
    server.services = dataclasses.replace(server.services, fulltext=fulltext)

    async def away(*arguments: object) -> None:
        raise DatabaseAway("no disk")

    fulltext.database.read = away  # type: ignore[assignment, method-assign]
    try:
        assert await cold_answers(server) == by_reading
    finally:
        await fulltext.close()


async def test_what_is_kept_is_bounded(server: Server, all_by_facts: None) -> None:
    await fill(server)
    small = Knowledge(octets=600)
    object.__setattr__(server.services, "knowledge", small)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        for by in ("DATE", "ARRIVAL", "SUBJECT", "FROM", "TO", "CC"):
            assert (await client.do(f"SORT ({by}) UTF-8 ALL"))[-1].startswith("OK")
    assert 0 < small.octets <= 600
    assert small.octets == sum(kept.octets for kept in small._kept.values())


masks_of_ten = st.lists(st.integers(0, 1), min_size=10, max_size=10).map(bytes)


@given(masks_of_ten, masks_of_ten)
def test_masks_are_logic(one: bytes, other: bytes) -> None:
    assert masks.both(one, other) == bytes(a and b for a, b in zip(one, other, strict=True))
    assert masks.either(one, other) == bytes(a or b for a, b in zip(one, other, strict=True))
    assert masks.inverse(one) == bytes(not a for a in one)
    assert list(masks.indexes(one)) == [index for index, value in enumerate(one) if value]
