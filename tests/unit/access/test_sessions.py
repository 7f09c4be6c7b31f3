"""Several sessions on one mailbox: each sees what the others do, when it may be told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from posthouse.access.imap import session
from posthouse.access.imap.bodies import HELD_LIMIT
from posthouse.net.listener import drain
from tests.imapclient import ImapClient
from tests.unit.access.conftest import Server

LETTER = b"From: alice@example.net\r\nSubject: x\r\n\r\nHello\r\n"


class Client(ImapClient):
    """Bob, or somebody else."""

    def __init__(self, server: Server, login: str = "bob") -> None:
        super().__init__(server.imap_port, login, "secret")


async def test_expunge_waits_until_it_may_be_said(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        # given that the other session removes message 1, and a letter arrives
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await server.deliver(LETTER)
        # when this one fetches, stores and searches by number, then its numbers still mean the same
        assert await one.do("FETCH 2 (UID)") == [
            "* 4 EXISTS",
            "* 4 RECENT",
            "* 2 FETCH (UID 2)",
            "OK FETCH completed",
        ]
        assert await one.do("STORE 2 +FLAGS (\\Flagged)") == [
            "* 2 FETCH (FLAGS (\\Flagged \\Recent))",
            "OK STORE completed",
        ]
        assert (await one.do("SEARCH FLAGGED"))[0] == "* SEARCH 2"
        assert (await one.do("FETCH 1 (ENVELOPE)"))[-1].startswith("NO [EXPUNGEISSUED]")
        # and NOOP says it, after which they have moved
        assert await one.do("NOOP") == ["* 1 EXPUNGE", "OK NOOP completed"]
        assert (await one.do("FETCH 1 (UID)"))[0] == "* 1 FETCH (UID 2)"
        assert await one.do("NOOP") == ["OK NOOP completed"]


async def test_what_comes_before_a_claim_is_written_is_recent_to_the_next_session(server: Server) -> None:
    async with Client(server) as one, Client(server) as other:
        await one.do("SELECT INBOX")
        # given a session that has told of a letter, and that will soon write so
        await server.deliver(LETTER)
        assert await one.do("NOOP") == ["* 1 EXISTS", "* 1 RECENT", "OK NOOP completed"]
        # when another letter comes first, then the next session is the first to tell of that one, alone
        await server.deliver(LETTER)
        assert "* 1 RECENT" in await other.do("SELECT INBOX")
        assert (await other.do("SEARCH RECENT"))[0] == "* SEARCH 2"


async def test_uid_commands_may_say_expunge(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        assert await one.do("UID STORE 3 +FLAGS (\\Seen)") == [
            "* 1 EXPUNGE",
            "* 2 FETCH (UID 3 FLAGS (\\Seen \\Recent))",
            "OK STORE completed",
        ]


async def test_silent_hides_my_change_and_not_another_s(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        await other.do("SELECT INBOX")
        await one.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Flagged)")
        # the client of `one` believes \\Seen alone; it is wrong, so it is told
        assert await one.do("STORE 1 +FLAGS.SILENT (\\Seen)") == [
            "* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged))".replace("\\Seen \\Flagged", "\\Flagged \\Seen"),
            "OK STORE completed",
        ]
        assert await one.do("STORE 1 +FLAGS.SILENT (\\Answered)") == ["OK STORE completed"]
        assert await other.do("NOOP") == [
            "* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Seen \\Recent))",
            "OK NOOP completed",
        ]


async def test_a_new_keyword_is_announced(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT ($Junk)")
        lines = await one.do("NOOP")
        assert lines[0].startswith("* FLAGS (")
        assert "$Junk" in lines[0]
        assert lines[2] == "* 1 FETCH (UID 1 FLAGS (\\Recent $Junk))"


async def test_idle_tells_at_once(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as idler, Client(server) as other:
        await idler.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        idler.send("i IDLE")
        assert await idler.line() == "+ idling"
        # a letter, a flag, an expunge: each is pushed without being asked for
        await server.deliver(LETTER)
        assert [await idler.line(), await idler.line()] == ["* 2 EXISTS", "* 2 RECENT"]
        await other.do("NOOP")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert await idler.line() == "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent))"
        await other.do("EXPUNGE")
        assert await idler.line() == "* 1 EXPUNGE"
        idler.send("DONE")
        assert await idler.line() == "i OK IDLE completed"
        # and what happens after DONE is no longer pushed, but told
        await server.deliver(LETTER)
        assert (await idler.do("NOOP"))[0] == "* 2 EXISTS"


async def test_a_deleted_mailbox_ends_the_session_that_has_it_open(server: Server) -> None:
    async with Client(server) as one, Client(server) as other:
        await other.do("CREATE Doomed")
        await one.do("SELECT Doomed")
        await other.do("DELETE Doomed")
        one.send("t NOOP")
        assert await one.line() == "* BYE The mailbox has been deleted"
        assert await one.reader.read() == b""


async def test_a_renamed_mailbox_stays_open(server: Server) -> None:
    async with Client(server) as one, Client(server) as other:
        await other.do("CREATE Before")
        await one.do("SELECT Before")
        await other.do("RENAME Before After")
        await server.deliver(LETTER, "After")
        assert (await one.do("NOOP"))[0] == "* 1 EXISTS"


async def test_pipelined_commands_are_answered_in_order(server: Server) -> None:
    for _ in range(50):
        await server.deliver(LETTER)
    async with Client(server) as one:
        one.send(
            "a SELECT INBOX\r\nb FETCH 1:* (BODY[])\r\nc STORE 1 +FLAGS (\\Deleted)\r\nd EXPUNGE\r\n"
            "e APPEND INBOX {5+}\r\nabcde\r\nf SEARCH ALL\r\ng LOGOUT"
        )
        data = (await one.reader.read()).decode()
        order = [line[0] for line in data.split("\r\n") if line[1:4] == " OK" and line[0] != "*"]
        assert order == list("abcdefg")
        assert f"* SEARCH {' '.join(map(str, range(1, 51)))}\r\n" in data


async def test_an_append_cut_short_leaves_nothing(server: Server) -> None:
    async with Client(server) as one:
        one.send("a APPEND INBOX {300000+}")
        one.writer.write(b"Subject: x\r\n\r\n" + b"y" * 100_000)
        await one.writer.drain()
    async with Client(server) as other:
        assert "* 0 EXISTS" in await other.do("SELECT INBOX")
    await drain(server.listeners, 5.0)
    assert not any(server.services.spool_directory.iterdir())


async def test_fetch_from_a_deleted_mailbox_ends_the_session(server: Server) -> None:
    async with Client(server) as one, Client(server) as other:
        await other.do("CREATE Doomed")
        await server.deliver(LETTER, "Doomed")
        await one.do("SELECT Doomed")
        await other.do("DELETE Doomed")
        one.send("t FETCH 1 (FLAGS)")
        lines = (await one.reader.read()).decode().splitlines()
        assert lines[-1] == "* BYE The mailbox has been deleted"


LARGE = b"Subject: large\r\n\r\n" + b"x" * 300_000


def objects(server: Server) -> list[Path]:
    return list(server.services.spool_directory.parent.glob("??/*"))


async def test_a_body_out_of_reach_is_refused_for_now_and_nothing_of_it_is_promised(server: Server) -> None:
    # given a large message between two small ones, whose object is out of reach
    await server.deliver(LETTER)
    await server.deliver(LARGE)
    await server.deliver(LETTER)
    for path in objects(server):
        path.unlink()
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        # then what needs only the row is answered, and what needs the body is not,
        assert (await one.do("FETCH 2 (ENVELOPE BODY.PEEK[HEADER])"))[-1] == "OK FETCH completed"
        for items in (
            "(UID BODY.PEEK[])",
            "(BODY.PEEK[1])",
            "(UID BINARY.PEEK[1])",
            "(BODY.PEEK[HEADER] BODY)",
        ):
            lines = await one.do(f"FETCH 1:3 {items}")
            assert not any(line.startswith("* 2 FETCH") for line in lines)
            assert lines[-1].startswith("NO [UNAVAILABLE]")
        # and the session goes on.
        assert (await one.do("NOOP"))[-1] == "OK NOOP completed"


async def test_a_body_lost_in_the_middle_ends_the_session_and_is_never_said_to_be_complete(
    server: Server,
) -> None:
    # given a message too large to be held, whose object was cut
    await server.deliver(LARGE + b"x" * HELD_LIMIT)
    for path in objects(server):
        os.truncate(path, HELD_LIMIT)
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        one.send("t FETCH 1 (BODY.PEEK[])\r\nu NOOP")
        said = (await one.reader.read()).decode()
        assert "* 1 FETCH (BODY[] {" in said
        assert "OK" not in said
        assert "* BYE [SERVERBUG]" in said


async def test_a_body_that_is_cut_is_refused_where_nothing_has_been_said_of_it(server: Server) -> None:
    await server.deliver(LARGE)
    await server.deliver(LETTER)
    for path in objects(server):
        os.truncate(path, 200_000)
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        answer = await one.do("FETCH 1 (BODY.PEEK[])")
        assert answer == ["NO [UNAVAILABLE] Temporary problem, try again later"]
        assert (await one.do("FETCH 2 (UID BODY.PEEK[])"))[-1] == "OK FETCH completed"


async def test_a_client_in_idle_hears_that_the_server_is_still_here(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STILL_HERE", 0.01)
    async with Client(server) as idler:
        await idler.do("SELECT INBOX")
        idler.send("i IDLE")
        assert await idler.line() == "+ idling"
        assert [await idler.line(), await idler.line()] == ["* OK Still here"] * 2
        idler.send("DONE")
        while (line := await idler.line()) == "* OK Still here":
            pass
        # and no more after that
        assert line == "i OK IDLE completed"
        assert await idler.do("NOOP") == ["OK NOOP completed"]


async def test_a_renamed_inbox_is_seen_at_once(server: Server) -> None:
    """The servers of these tests poll every 30 seconds, so it is told."""
    await server.deliver(LETTER)
    async with Client(server) as idler, Client(server) as other:
        await idler.do("SELECT INBOX")
        idler.send("i IDLE")
        assert await idler.line() == "+ idling"
        await other.do("RENAME INBOX Old")
        assert await asyncio.wait_for(idler.line(), 10) == "* 1 EXPUNGE"
