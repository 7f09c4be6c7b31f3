"""MESSAGELIMIT and SAVELIMIT: one command deals with so many messages, the newest first (RFC 9738)."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from posthouse.protocol.imap.offers import Offers
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client

MESSAGE = "{12+}\r\nSubject: x\r\n"


async def limited(server: Server, offers: Offers) -> None:
    server.services = dataclasses.replace(server.services, imap=offers)
    for _ in range(6):
        await server.deliver(LETTER)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """INBOX with UIDs 1 to 6, and a limit of 3."""
    await limited(server, Offers(message_limit=3))
    async with Client(server) as one:
        await one.do("ENABLE IMAP4rev2")
        await one.do("SELECT INBOX")
        yield one


async def test_the_limit_is_told(server: Server, client: Client) -> None:
    assert "MESSAGELIMIT=3" in (await client.do("CAPABILITY"))[0].split()
    server.services = dataclasses.replace(server.services, imap=Offers(save_limit=4))
    async with Client(server) as other:
        names = (await other.do("CAPABILITY"))[0].split()
    assert "SAVELIMIT=4" in names
    assert not any(name.startswith("MESSAGELIMIT") for name in names)


async def test_fetch_takes_the_newest_and_says_down_to_which(client: Client) -> None:
    lines = await client.do("FETCH 1:* (UID)")
    assert lines == [*(f"* {n} FETCH (UID {n})" for n in (4, 5, 6)), "OK [MESSAGELIMIT 3 4] FETCH completed"]
    # the client goes on with the rest
    assert (await client.do("UID FETCH 1:3 (UID)"))[-1] == "OK FETCH completed"
    lines = await client.do("UID FETCH 1,3:5 (BODY.PEEK[TEXT])")
    assert lines[-1] == "OK [MESSAGELIMIT 3 3] FETCH completed"
    # a part is no more than was asked for
    assert (await client.do("UID FETCH 1:* (UID) (PARTIAL 1:3)"))[-1] == "OK FETCH completed"
    assert (await client.do("UID FETCH 1:* (UID) (PARTIAL -1:-4)"))[-1].startswith("NO [MESSAGELIMIT 3] ")


async def test_changes_are_made_to_the_newest(client: Client) -> None:
    lines = await client.do("STORE 1:* +FLAGS (\\Deleted)")
    assert lines[-1] == "OK [MESSAGELIMIT 3 4] STORE completed"
    assert len(lines) == 4
    await client.do("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    # what is not \Deleted does not count
    assert (await client.do("UID EXPUNGE 1:5"))[-1].startswith("OK [MESSAGELIMIT 3 2] ")
    assert (await client.do("UID SEARCH RETURN (ALL) 1:*"))[0].endswith(" UID ALL 1,3,6")
    # EXPUNGE has no limit
    assert (await client.do("EXPUNGE"))[-1] == "OK EXPUNGE completed"


async def test_another_response_code_keeps_its_place(client: Client) -> None:
    await client.do("ENABLE QRESYNC")
    lines = await client.do("MOVE 1:* Trash")
    assert lines[0].startswith("* OK [COPYUID ")
    assert lines[-2].startswith("* NO [MESSAGELIMIT 3 4] ")
    assert lines[-1].startswith("OK [HIGHESTMODSEQ ")
    assert (await client.do("STATUS INBOX (MESSAGES)"))[0].endswith("(MESSAGES 3)")


async def test_a_search_looks_at_the_newest(client: Client) -> None:
    lines = await client.do("UID SEARCH RETURN (ALL SAVE) UNSEEN")
    assert lines[0].endswith(" UID ALL 4:6")
    assert lines[-1] == "OK [MESSAGELIMIT 3 4] SEARCH completed"
    assert len(await client.do("FETCH $ UID")) == 4
    # those that it names count, not those that it finds
    for keys in ("UIDBEFORE 4", "UIDAFTER 3 UNSEEN", "2:4", "UNSEEN (UIDBEFORE 6 (UIDAFTER 2))"):
        assert (await client.do(f"UID SEARCH RETURN (COUNT) {keys}"))[-1] == "OK SEARCH completed"
    lines = await client.do("UID SEARCH RETURN (ALL) UID 1:5")
    assert lines[0].endswith(" UID ALL 3:5")
    assert lines[-1] == "OK [MESSAGELIMIT 3 3] SEARCH completed"


async def test_what_cannot_be_done_in_part_is_refused(client: Client) -> None:
    for command in (
        "COPY 1:4 Trash",
        "SORT (ARRIVAL) UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 UID 1:5",
    ):
        assert (await client.do(command))[-1].startswith("NO [MESSAGELIMIT 3 "), command
    assert (await client.do(f"APPEND Trash{f' {MESSAGE}' * 4}"))[-1].startswith("NO [MESSAGELIMIT 3] ")
    assert (await client.do("STATUS Trash (MESSAGES)"))[0].endswith("(MESSAGES 0)")
    assert (await client.do("COPY 1:3 Trash"))[-1].startswith("OK ")
    assert (await client.do(f"APPEND Trash{f' {MESSAGE}' * 3}"))[-1].startswith("OK ")
    assert (await client.do("SORT (ARRIVAL) UTF-8 UIDAFTER 3"))[-1].startswith("OK ")


async def test_a_limit_for_saving_limits_nothing_else(server: Server) -> None:
    await limited(server, Offers(save_limit=3))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert len(await client.do("FETCH 1:* (UID)")) == 7
        assert (await client.do("COPY 1:4 Trash"))[-1].startswith("NO [MESSAGELIMIT 3 2] ")
        assert (await client.do(f"APPEND Trash{f' {MESSAGE}' * 4}"))[-1].startswith("NO [MESSAGELIMIT 3] ")
        assert (await client.do("MOVE 1:* Trash"))[-1].startswith("OK ")


async def test_messages_gone_meanwhile_are_told_of_beside_the_limit(server: Server, client: Client) -> None:
    # given a client that is told of no expunges, and one that removes a message it still counts
    await client.do("NOTIFY NONE")
    async with Client(server) as other:
        await other.do("SELECT INBOX")
        await other.do("STORE 5 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
    # when it fetches more than the limit, then RFC 9738 §3.1: EXPUNGEISSUED is in the OK, the limit before it
    lines = await client.do("FETCH 1:* (ENVELOPE)")
    assert lines[-2].startswith("* NO [MESSAGELIMIT 3 4] ")
    assert lines[-1].startswith("OK [EXPUNGEISSUED] ")
