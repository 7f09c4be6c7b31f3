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
        assert await client.line() == '* LIST (\\HasChildren) "/" "Lists"'
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "Lists/one"'
        await other.do("RENAME Lists/one Lists/two")
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "Lists/two" ("OLDNAME" ("Lists/one"))'
        await other.do("SUBSCRIBE Lists/two")
        assert await client.line() == '* LIST (\\HasNoChildren \\Subscribed) "/" "Lists/two"'
        await other.do("UNSUBSCRIBE Lists/two")
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "Lists/two"'
        # a mailbox that goes changes what is above it (RFC 5465 §5.4)
        await other.do("DELETE Lists/two")
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "Lists"'
        assert await client.line() == '* LIST (\\NonExistent \\HasNoChildren) "/" "Lists/two"'


async def test_what_is_below_a_renamed_mailbox_is_not_told_of(server: Server) -> None:
    async with Client(server) as client, Client(server) as other:
        await other.do("CREATE Lists/one/deep")
        await other.do("CREATE Lists/two")
        await client.do("NOTIFY SET (personal (MailboxName SubscriptionChange))")
        await other.do("RENAME Lists News")
        assert await client.line() == '* LIST (\\HasChildren) "/" "News" ("OLDNAME" ("Lists"))'
        await other.do("SUBSCRIBE News")
        assert await client.line() == '* LIST (\\HasChildren \\Subscribed) "/" "News"'


async def test_all_groups_that_have_a_mailbox_count(server: Server) -> None:
    # RFC 5465 §6: the first says what of its messages, the second what of its name
    async with Client(server) as client, Client(server) as other:
        await client.do(
            "NOTIFY SET (mailboxes INBOX (MessageNew MessageExpunge)) (personal (SubscriptionChange))"
        )
        await other.do("UNSUBSCRIBE INBOX")
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "INBOX"'
        await server.deliver(LETTER)
        assert (await client.line()).startswith('* STATUS "INBOX" (MESSAGES 1 ')


async def test_a_client_is_not_told_what_it_has_done_itself(server: Server) -> None:
    async with Client(server) as client, Client(server) as other:
        await client.do("NOTIFY SET (personal (MailboxName SubscriptionChange MailboxMetadataChange))")
        for command in (
            "CREATE a/b", "SUBSCRIBE a", "RENAME a c/d", "UNSUBSCRIBE a", "DELETE c/d/b",
            "SETMETADATA INBOX (/private/comment NIL /private/a {1+}\r\nx)",
        ):  # fmt: skip
            assert (await client.do(command))[-1].startswith("OK ")
        await other.do("CREATE e")
        assert await client.line() == '* LIST (\\HasNoChildren) "/" "e"'


async def test_changed_annotations_are_told_by_name(server: Server) -> None:
    # RFC 5465 §5.6, §5.7
    async with Client(server) as client, Client(server) as other, Client(server, "eve") as eve:
        await other.do('SETMETADATA Sent (/private/comment "x" /shared/comment "y")')
        await client.do("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
        await other.do('SETMETADATA Sent (/private/comment "z" /shared/comment NIL /private/new "1")')
        assert await client.line() == '* METADATA "Sent" /private/comment /private/new /shared/comment'
        await other.do('SETMETADATA "" (/private/comment "mine")')
        assert await client.line() == '* METADATA "" /private/comment'
        # what is another's own is no business of this one; what administrators set is everybody's
        await eve.do('SETMETADATA "" (/private/comment "hers")')
        await server.database.write([], lambda tx: tx.run("UPDATE account SET admin = 1 WHERE id = 2"))
        await eve.do('SETMETADATA "" (/shared/comment "ours")')
        assert await client.line() == '* METADATA "" /shared/comment'
        # the special use of a mailbox is one too
        await other.do("SETMETADATA Sent (/private/specialuse NIL)")
        assert await client.line() == '* METADATA "Sent" /private/specialuse'


async def test_mailboxes_of_others_are_told_of_as_far_as_they_may_be_read(server: Server) -> None:
    inbox = "Other Users/bob@example.org/INBOX"
    async with Client(server, "eve") as eve, Client(server) as bob:
        messages = "MessageNew MessageExpunge FlagChange"
        lines = await eve.do(f'NOTIFY SET STATUS (subtree "Other Users" (MailboxName {messages}))')
        assert lines == ["OK NOTIFY completed"]
        # RFC 5465 §5.4: to be allowed to see a mailbox is as if it were created
        await bob.do("SETACL INBOX eve l")
        assert await eve.line() == '* LIST (\\NonExistent \\HasChildren) "/" "Other Users/bob@example.org"'
        assert await eve.line() == f'* LIST (\\HasNoChildren) "/" "{inbox}"'
        # seen, and not read (§3.1)
        lines = await eve.do(f'NOTIFY SET (subtree "Other Users" (MailboxName {messages}))')
        assert lines[:-1] == [f'* LIST (\\NoAccess \\HasNoChildren) "/" "{inbox}"']
        await server.deliver(LETTER)
        await bob.do("SETACL INBOX eve lr")
        assert await eve.line() == f'* LIST (\\HasNoChildren) "/" "{inbox}"'
        assert (await eve.line()).startswith(f'* STATUS "{inbox}" (MESSAGES 1 UIDNEXT 2 ')
        await server.deliver(LETTER)
        assert (await eve.line()).startswith(f'* STATUS "{inbox}" (MESSAGES 2 UIDNEXT 3 ')
        await bob.do("DELETEACL INBOX eve")
        assert await eve.line() == '* LIST (\\NonExistent \\HasNoChildren) "/" "Other Users/bob@example.org"'
        assert await eve.line() == f'* LIST (\\NonExistent \\HasNoChildren) "/" "{inbox}"'
        await server.deliver(LETTER)
        assert await eve.do("NOOP") == ["OK NOOP completed"]


async def test_rights_that_anyone_is_given_show_at_once(server: Server) -> None:
    inbox = "Other Users/bob@example.org/INBOX"
    async with Client(server, "eve") as eve, Client(server) as bob:
        await eve.do('NOTIFY SET (subtree "Other Users" (MailboxName MessageNew MessageExpunge))')
        # when everybody is allowed to read a mailbox of somebody of whom eve has seen nothing yet
        await bob.do("SETACL INBOX anyone lr")
        assert await eve.line() == '* LIST (\\NonExistent \\HasChildren) "/" "Other Users/bob@example.org"'
        assert await eve.line() == f'* LIST (\\HasNoChildren) "/" "{inbox}"'
        assert (await eve.line()).startswith(f'* STATUS "{inbox}" (MESSAGES 0 ')
        # and when it is taken back
        await bob.do("DELETEACL INBOX anyone")
        assert await eve.line() == '* LIST (\\NonExistent \\HasNoChildren) "/" "Other Users/bob@example.org"'
        assert await eve.line() == f'* LIST (\\NonExistent \\HasNoChildren) "/" "{inbox}"'


async def test_messages_that_a_client_puts_elsewhere_itself_are_not_told(server: Server) -> None:
    draft = "{14+}\r\nSubject: x\r\n\r\n"
    async with Client(server) as client, Client(server) as other:
        await client.do("CREATE Work")
        await client.do("NOTIFY SET (personal (MessageNew MessageExpunge))")
        assert (await client.do(f"APPEND Work {draft}"))[-1].startswith("OK [APPENDUID")
        assert (await client.do(f"APPEND Work {draft}"))[-1].startswith("OK [APPENDUID")
        # then the first that it is told is what another one does, with the number that there are
        await other.do(f"APPEND Work {draft}")
        assert (await client.line()).startswith('* STATUS "Work" (MESSAGES 3 UIDNEXT 4 ')


async def test_a_selected_mailbox_of_another_is_watched_too(server: Server) -> None:
    async with Client(server, "eve") as eve, Client(server) as bob:
        await bob.do("SETACL INBOX eve lr")
        await eve.do("ENABLE IMAP4rev2")
        await eve.do("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        await eve.do('SELECT "Other Users/bob@example.org/INBOX"')
        await server.deliver(LETTER)
        assert await eve.line() == "* 1 EXISTS"
        assert await eve.line() == "* 1 FETCH (UID 1)"


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
        # the flag is not told, for nobody asked for it
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
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


async def test_notify_tells_first_what_has_happened_so_far(server: Server) -> None:
    # RFC 5465 §3.1: as NOOP
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await server.deliver(LETTER)
        assert await client.do("NOTIFY SET (selected NONE)") == ["* 1 EXISTS", "OK NOTIFY completed"]


async def test_the_numbers_told_first_have_the_modseq_where_flags_matter(server: Server) -> None:
    async with Client(server) as client:
        lines = await client.do(
            f"NOTIFY SET STATUS (mailboxes Sent ({MESSAGES})) (mailboxes Trash (MessageNew MessageExpunge))"
        )
        sent, trash = lines[:-1]
        assert sent.startswith('* STATUS "Sent" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ')
        assert " UNSEEN 0 HIGHESTMODSEQ " in sent
        assert "HIGHESTMODSEQ" not in trash


@pytest.mark.parametrize("wish", ["NONE", "SET (selected NONE)", "SET (personal (MailboxName))"])
async def test_who_wants_to_be_told_nothing_keeps_the_mailbox_as_it_was(server: Server, wish: str) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do(f"NOTIFY {wish}")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await server.deliver(LETTER)
        assert await client.do("NOOP") == ["OK NOOP completed"]
        assert (await client.do("FETCH 2 UID"))[0] == "* 2 FETCH (UID 2)"
        assert (await client.do("FETCH 1 ENVELOPE"))[-1].startswith("NO [EXPUNGEISSUED]")
        # while idle as well (RFC 5465 §4)
        client.send("idle IDLE")
        assert await client.line() == "+ idling"
        await server.deliver(LETTER)
        client.send("DONE")
        assert await client.line() == "idle OK IDLE completed"
        # of what it does itself it is told
        await client.do("STORE 3 +FLAGS.SILENT (\\Deleted)")
        lines = await client.do("EXPUNGE")
        assert "* 2 EXPUNGE" in lines or "* 3 EXPUNGE" in lines
        # until it wants to know again
        await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))")
        assert (await client.do("SEARCH RETURN (COUNT) ALL"))[0].endswith("COUNT 3")


async def test_flags_that_nobody_asked_for_are_not_told(server: Server) -> None:
    for _ in range(2):
        await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Flagged)")
        assert await client.do("NOOP") == ["OK NOOP completed"]
        assert (await client.do("FETCH 1 FLAGS"))[0] == "* 1 FETCH (FLAGS (\\Flagged))"
        # but what its own commands do to them
        assert "* 2 FETCH (UID 2 FLAGS (\\Seen))" in await client.do("FETCH 2 BODY[TEXT]")
        assert "* 2 FETCH (FLAGS ())" in await client.do("STORE 2 -FLAGS (\\Seen)")


async def test_what_was_asked_of_new_messages_comes_whenever_they_do(server: Server) -> None:
    draft = b"Subject: x\r\n\r\n"
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do("NOTIFY SET (selected (MessageNew (UID BODY[TEXT]) MessageExpunge FlagChange))")
        await server.deliver(LETTER)
        await client.do("SELECT INBOX")
        # what this client puts there itself it knows (RFC 5465 §5.2)
        lines = await client.do(f"APPEND INBOX {{{len(draft)}+}}\r\n{draft.decode()}")
        assert lines[0] == "* 2 EXISTS"
        lines = await client.do("COPY 1 INBOX")
        assert lines[0] == "* 3 EXISTS"
        await server.deliver(LETTER)
        assert await client.line() == "* 4 EXISTS"
        assert await client.line() == "* 4 FETCH (UID 4 BODY[TEXT] {7}"
        assert [await client.line(), await client.line()] == ["Hello", ")"]
        # the message is not \\Seen by that
        assert (await client.do("SEARCH RETURN (COUNT) SEEN"))[0].endswith("COUNT 0")


async def test_new_messages_are_shown_that_came_during_a_command(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do("SELECT INBOX")
        await client.do("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        # given that a command is the first to tell of a message
        with monkeypatch.context() as silent:
            silent.setattr(server.services.notifier, "changed", lambda account, modseq: None)
            await server.deliver(LETTER)
        assert await client.do("NOOP") == ["* 1 EXISTS", "OK NOOP completed"]
        assert await client.line() == "* 1 FETCH (UID 1)"
