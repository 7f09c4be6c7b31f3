"""Facts kept of messages: what is found and sorted by them is what is found by reading the messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access.imap import facts, masks, search
from posthouse.access.imap.facts import Knowledge, Texts
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
    monkeypatch.setattr(facts, "FEW", -1)
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
        await client.do(command)
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
    make = facts._made
    monkeypatch.setattr(facts, "_made", lambda *args: made.append(len(args[-1])) or make(*args))
    async with Client(server) as one, Client(server) as other:
        for client in (one, other, one):
            await client.do("SELECT INBOX")
            await client.do("SEARCH FROM x")
        await server.deliver(ODD[0])
        await one.do("NOOP")
        await one.do("SEARCH SUBJECT pears")
    assert made == [len(LETTERS) + len(ODD), 1]


async def test_what_is_kept_is_bounded(server: Server, all_by_facts: None) -> None:
    await fill(server)
    small = Knowledge(octets=600)
    object.__setattr__(server.services, "knowledge", small)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        for by in ("DATE", "ARRIVAL", "SUBJECT", "FROM", "TO", "CC"):
            assert (await client.do(f"SORT ({by}) UTF-8 ALL"))[-1].startswith("OK")
    assert 0 < small._octets <= 600
    assert small._octets == sum(kept.octets for kept in small._kept.values())


octets = st.lists(st.sampled_from([b"", b"a", b"ab", b"aba", b"bab", b"\0ab"]), max_size=12)


@given(octets, octets, st.sampled_from([b"a", b"ab", b"ba", b"aba", b"bb", b"abab"]))
def test_texts_are_searched_one_by_one(some: list[bytes], more: list[bytes], sought: bytes) -> None:
    texts = Texts(some).extended(Texts(more))
    assert list(texts) == [*some, *more]
    assert texts.containing(sought) == bytes(sought in text for text in [*some, *more])
    assert texts.filled() == bytes(bool(text) for text in [*some, *more])
    kept = bytes(index % 2 for index in range(len(texts)))
    assert list(texts.only(kept)) == [*some, *more][1::2]


masks_of_ten = st.lists(st.integers(0, 1), min_size=10, max_size=10).map(bytes)


@given(masks_of_ten, masks_of_ten)
def test_masks_are_logic(one: bytes, other: bytes) -> None:
    assert masks.both(one, other) == bytes(a and b for a, b in zip(one, other, strict=True))
    assert masks.either(one, other) == bytes(a or b for a, b in zip(one, other, strict=True))
    assert masks.inverse(one) == bytes(not a for a in one)
    assert masks.indexes(one) == [index for index, value in enumerate(one) if value]
