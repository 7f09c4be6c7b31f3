"""NOTIFY: a client hears what happens in many mailboxes without asking (RFC 5465)."""

from __future__ import annotations

import asyncio

import pytest

from posthouse.net.pump import Pump
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client

MESSAGES = "MessageNew MessageExpunge FlagChange"


async def test_other_mailboxes_are_told_of_by_status(server: Server) -> None:
    await server.deliver(LETTER, "Sent")
    async with Client(server) as client, Client(server) as other:
        lines = await client.do(
            f"NOTIFY SET STATUS (inboxes ({MESSAGES})) (personal (MessageNew MessageExpunge))"
        )
        assert any(line.startswith('* STATUS "Sent" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ') for line in lines)
        assert lines[-1] == "OK NOTIFY completed"
        # when a letter arrives, the client hears of it
        await server.deliver(LETTER)
        line = await client.line()
        assert line.startswith('* STATUS "INBOX" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ')
        assert line.endswith(" UNSEEN 1)")
        # flags only where they were asked for
        await other.do("SELECT Sent")
        await other.do("STORE 1 +FLAGS (\\Seen)")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Seen)")
        line = await client.line()
        assert line.startswith('* STATUS "INBOX" (UIDVALIDITY ')
        assert line.endswith(" UNSEEN 0)")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await client.line()
        await other.do("EXPUNGE")
        assert (await client.line()).startswith('* STATUS "INBOX" (MESSAGES 0 UIDNEXT 2')
        # and nothing more once it does not want to
        assert await client.do("NOTIFY NONE") == ["OK NOTIFY completed"]
        await server.deliver(LETTER)
        assert await client.do("NOOP") == ["OK NOOP completed"]


async def test_names_and_subscriptions_are_told(server: Server) -> None:
    async with Client(server) as client, Client(server) as other:
        await client.do("NOTIFY SET (subtree Lists (MailboxName SubscriptionChange))")
        await other.do("CREATE Other")
        await other.do("CREATE Lists/one")
        assert {await client.line(), await client.line()} == {
            '* LIST () "/" "Lists"',
            '* LIST () "/" "Lists/one"',
        }
        await other.do("RENAME Lists/one Lists/two")
        assert await client.line() == '* LIST () "/" "Lists/two" ("OLDNAME" ("Lists/one"))'
        await other.do("SUBSCRIBE Lists/two")
        assert await client.line() == '* LIST (\\Subscribed) "/" "Lists/two"'
        await other.do("UNSUBSCRIBE Lists/two")
        assert await client.line() == '* LIST () "/" "Lists/two"'
        await other.do("DELETE Lists/two")
        assert await client.line() == '* LIST (\\NonExistent) "/" "Lists/two"'


async def test_new_messages_of_the_selected_mailbox_are_fetched_at_once(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew (BODY.PEEK[TEXT]) MessageExpunge FlagChange))")
        await server.deliver(LETTER)
        assert await client.line() == "* 2 EXISTS"
        assert await client.line() == "* 2 FETCH (UID 2 BODY[TEXT] {7}"
        assert await client.line() == "Hello"
        assert await client.line() == ")"
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert await client.line() == "* 1 FETCH (UID 1 FLAGS (\\Deleted))"
        await other.do("EXPUNGE")
        # no command is in hand, and yet it is told
        assert await client.line() == "* 1 EXPUNGE"
        assert await client.do("FETCH 1 UID") == ["* 1 FETCH (UID 2)", "OK FETCH completed"]


async def test_expunges_may_wait_for_a_command(server: Server) -> None:
    for _ in range(2):
        await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert await client.line() == "* 1 FETCH (UID 1 FLAGS (\\Deleted))"
        await other.do("EXPUNGE")
        await server.deliver(LETTER)
        assert await client.line() == "* 3 EXISTS"
        assert (await client.do("FETCH 2 UID"))[0] == "* 2 FETCH (UID 2)"
        assert await client.do("NOOP") == ["* 1 EXPUNGE", "OK NOOP completed"]


async def test_news_never_fall_into_an_answer(server: Server) -> None:
    # given a mailbox whose bodies take many writes, and letters that arrive meanwhile
    large = b"Subject: x\r\n\r\n" + b"0123456789" * 20_000
    for _ in range(20):
        await server.deliver(large)
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do(
            "NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))"
        )

        async def deliver() -> None:
            for _ in range(10):
                await server.deliver(LETTER, "Sent")
                await server.deliver(LETTER)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            client.send("all UID FETCH 1:20 BODY.PEEK[TEXT]")
            bodies = 0
            while not (line := await client.line()).startswith("all "):
                if line.endswith("BODY[TEXT] {200000}"):
                    assert await client.reader.readexactly(200_000) == large[14:]
                    assert await client.line() == ")"
                    bodies += 1
                else:
                    assert line.startswith("* ")
        assert bodies == 20
        assert (await client.do("SEARCH RETURN (COUNT) ALL"))[-2].endswith("COUNT 30")


async def test_who_does_not_listen_is_told_no_more(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Client(server) as client:
        await client.do("NOTIFY SET (personal (MessageNew MessageExpunge))")
        # given a client that does not take what it is sent
        with monkeypatch.context() as full:
            full.setattr(Pump, "congested", property(lambda pump: True))
            await server.deliver(LETTER)
            assert await client.line() == "* OK [NOTIFICATIONOVERFLOW] You are told no more"
        await server.deliver(LETTER)
        assert await client.do("NOOP") == ["OK NOOP completed"]
