"""FETCH of many messages says the same from the pages kept of them as from the messages."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.access.imap import fetch_fields, fetch_pages
from posthouse.access.imap.facts import Knowledge
from posthouse.store import factpages, read
from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.unit.access.conftest import Server
from tests.unit.access.test_facts import ODD, fill
from tests.unit.access.test_sessions import Client

MORE = [
    b"Subject: no end of the header",
    b"Subject : obsolete\r\nX-Other: a\r\n b\r\nTO: x@y.test\r\n\r\nbody\r\n",
    b"Received: a\r\n\tb\r\nno field\r\nDate: today\r\n\r\n",
    b"Subject: bare\nFrom: a@b.test\n\nbody\n",
    b"X-Only: others\r\n\r\n",
]
ITEMS = [
    "(UID FLAGS RFC822.SIZE ENVELOPE)",
    "(UID BODYSTRUCTURE INTERNALDATE)",
    "ALL",
    "(UID BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID REFERENCES)])",
    "(BODY.PEEK[HEADER.FIELDS (X-Priority subject)]<3.20> ENVELOPE)",
    "(BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[HEADER.FIELDS (To)])",
]
OTHERS = [
    "(BODY.PEEK[HEADER.FIELDS (Received)])",
    "(BODY.PEEK[HEADER.FIELDS.NOT (Subject)])",
    "(BODY.PEEK[HEADER])",
    "(ENVELOPE BODY.PEEK[TEXT])",
    "(ENVELOPE THREADID)",
]


class Octets(Client):
    """A client that takes every octet for a character."""

    async def line(self) -> str:
        return (await self.reader.readuntil(b"\r\n")).decode("latin-1").rstrip("\r\n")


@pytest.fixture
async def indexer(
    server: Server, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Indexer]:
    monkeypatch.setattr(fetch_pages, "MANY", 1)
    fulltext = open_fulltext(database_url, tmp_path)
    server.services = services = dataclasses.replace(server.services, fulltext=fulltext)
    yield Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=0)
    await fulltext.close()


async def said(server: Server, which: str, items: list[str]) -> list[list[str]]:
    async with Octets(server) as client:
        await client.do("EXAMINE INBOX")  # so that \\Recent stays
        return [await client.do(f"FETCH {which} {item}") for item in items]


async def test_what_is_in_pages_is_the_same_and_no_message_is_read(
    server: Server, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given messages, strange ones among them, and what is said of them
    await fill(server)
    for data in MORE:
        await server.deliver(data)
    by_reading = await said(server, "1:*", [*ITEMS, *OTHERS])
    some = await said(server, "2:3,5,7:14", ITEMS)
    # when there are pages
    await indexer.sweep()
    asked: list[tuple[object, ...]] = []
    fetch = read.fetch
    monkeypatch.setattr(read, "fetch", lambda *about: asked.append(about[-1]) or fetch(*about))
    # then it is the same, and only what they do not hold is read
    assert await said(server, "1:*", ITEMS) == by_reading[: len(ITEMS)]
    assert await said(server, "2:3,5,7:14", ITEMS) == some
    assert asked == []
    assert await said(server, "1:*", OTHERS) == by_reading[len(ITEMS) :]
    assert len(asked) == len(OTHERS)


async def test_what_came_since_is_there_and_what_has_gone_is_not(server: Server, indexer: Indexer) -> None:
    await fill(server)
    await indexer.sweep()
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("STORE 1,4:5 +FLAGS (\\Deleted)")
        await client.do("EXPUNGE")
        await client.do("COPY 2:3 INBOX")
    gone = await said(server, "1:*", ITEMS)
    await server.deliver(ODD[0])
    with_new = await said(server, "1:*", ITEMS)
    object.__setattr__(server.services, "fulltext", None)
    assert await said(server, "1:*", ITEMS) == with_new
    assert [len(one) for one in with_new] != [len(one) for one in gone]


async def test_fields_fetched_once_are_known_to_the_next_whatever_comes_and_goes(
    server: Server, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given fields that somebody has fetched of all messages
    await fill(server)
    items = [item for item in ITEMS if "HEADER.FIELDS" in item and "ENVELOPE" not in item]
    some = await said(server, "2:5,7", items)
    await indexer.sweep()
    first = await said(server, "1:*", items)
    asked: list[object] = []
    load = factpages.load
    monkeypatch.setattr(factpages, "load", lambda *about: asked.append(about) or load(*about))
    # then they are known to all who come, however they write it, and in parts
    assert await said(server, "1:*", items) == first
    assert await said(server, "2:5,7", items) == some
    assert await said(server, "1:*", [items[0].replace("DATE FROM", "FROM date")])
    assert asked == []
    # and when messages go and others come, what is said is what they are
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("STORE 1,4:5 +FLAGS (\\Deleted)")
        await client.do("EXPUNGE")
    await server.deliver(MORE[1])
    await indexer.sweep()
    for _ in range(2):
        now = await said(server, "1:*", items)
    object.__setattr__(server.services, "fulltext", None)
    object.__setattr__(server.services, "knowledge", Knowledge())
    assert await said(server, "1:*", items) == now
    assert now != first


async def test_fields_of_a_mailbox_too_large_to_be_kept_are_not(
    server: Server, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(server)
    await indexer.sweep()
    monkeypatch.setattr(fetch_fields, "MOST_OCTETS", 0)
    first = await said(server, "1:*", ITEMS)
    assert await said(server, "1:*", ITEMS) == first
    assert server.services.knowledge.octets == 0
