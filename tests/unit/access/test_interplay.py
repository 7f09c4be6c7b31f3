"""What is turned on in the middle of a session changes what is said from then on, and nothing of before."""

from __future__ import annotations

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


@pytest.fixture
async def four(server: Server) -> Server:
    """Four letters in bob's INBOX."""
    for _ in range(4):
        await server.deliver(LETTER)
    return server


async def test_who_turns_on_rev2_with_a_mailbox_open_hears_no_more_of_rev1(four: Server) -> None:
    async with Client(four) as client:
        assert "* 4 RECENT" in await client.do("SELECT INBOX")
        await client.do("ENABLE IMAP4rev2")
        await four.deliver(LETTER)
        assert await client.do("NOOP") == ["* 5 EXISTS", "OK NOOP completed"]
        assert (await client.do("FETCH 1 FLAGS"))[0] == "* 1 FETCH (FLAGS ())"
        assert (await client.do("SEARCH 1:2"))[0] == f'* ESEARCH (TAG "{client.tag}") ALL 1:2'


@pytest.mark.parametrize(
    ("extension", "fetched"), [("QRESYNC", "* 3 FETCH (UID 4)"), ("UIDONLY", "* 4 UIDFETCH (UID 4)")]
)
async def test_an_expunge_that_waits_is_told_as_was_asked_for_meanwhile(
    four: Server, extension: str, fetched: str
) -> None:
    async with Client(four) as client, Client(four) as other:
        # given an expunge that may not be told yet
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        assert (await client.do("FETCH 4 UID"))[0] == "* 4 FETCH (UID 4)"
        # when the client asks for VANISHED first, then it comes so, once
        await client.do(f"ENABLE {extension}")
        assert "* VANISHED 1" in await client.do("UID FETCH 2 UID")
        assert (await client.do("UID FETCH 4 UID"))[0] == fetched
        assert not any("EXPUNGE " in line or "VANISHED" in line for line in await client.do("NOOP"))


async def test_results_kept_by_number_are_kept_by_uid_once_there_are_uids_alone(four: Server) -> None:
    async with Client(four) as client, Client(four) as other:
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        # given a search and a sort that tell of numbers
        await client.do("SELECT INBOX")
        await client.do("SEARCH RETURN (UPDATE) UNSEEN")
        search = client.tag
        await client.do("SORT RETURN (UPDATE) (REVERSE ARRIVAL) UTF-8 UNSEEN")
        sort = client.tag
        # when no number may be said any more (RFC 9586 §3)
        await client.do("ENABLE UIDONLY")
        await other.do("UID STORE 3 +FLAGS.SILENT (\\Seen)")
        lines = await client.do("NOOP")
        # then they tell of UIDs
        assert f'* ESEARCH (TAG "{search}") UID REMOVEFROM (0 3)' in lines
        assert f'* ESEARCH (TAG "{sort}") UID REMOVEFROM (2 3)' in lines


async def test_notify_tells_an_idle_client_of_uids_alone(four: Server) -> None:
    async with Client(four) as client, Client(four) as other:
        await client.do("ENABLE UIDONLY IMAP4rev2")
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
        client.send("i IDLE")
        assert await client.line() == "+ idling"
        await four.deliver(LETTER)
        assert await client.line() == "* 5 EXISTS"
        assert await client.line() == "* 5 UIDFETCH (UID 5 FLAGS ())"
        await other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
        assert await client.line() == "* 2 UIDFETCH (FLAGS (\\Deleted))"
        await other.do("EXPUNGE")
        assert await client.line() == "* VANISHED 2"
        client.send("DONE")
        assert await client.line() == "i OK IDLE completed"


async def test_what_was_saved_outlives_an_expunge_and_not_the_mailbox(four: Server) -> None:
    async with Client(four) as client, Client(four) as other:
        await client.do("SELECT INBOX")
        await client.do("SEARCH RETURN (SAVE) 2:4")
        # given that one of the messages that $ stands for is gone, and the others have new numbers
        await other.do("SELECT INBOX")
        await other.do("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await client.do("NOOP")
        assert (await client.do("FETCH $ UID"))[:-1] == ["* 1 FETCH (UID 2)", "* 2 FETCH (UID 4)"]
        await client.do("MOVE $ Archive")
        assert await client.do("FETCH $ UID") == ["OK FETCH completed"]
        await client.do("SEARCH RETURN (SAVE) ALL")
        await client.do("SELECT Archive")
        assert await client.do("FETCH $ UID") == ["OK FETCH completed"]
