"""poplib against a server on a real socket."""

from __future__ import annotations

import asyncio
import dataclasses
import poplib
from collections.abc import AsyncIterator

import pytest

from posthouse.access.pop3.lock import MaildropLock
from posthouse.mail.envelope import AccountId
from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import Client

DOTS = b"Subject: dots\r\n\r\n.\r\n..two\r\nlast\r\n.end without a line ending"


async def test_what_was_deposited_is_what_is_retrieved(server: Server) -> None:
    # given a message with dots, and one that lies in a blob
    large = b"Subject: large\r\n\r\n" + b".line\r\n" * 30_000
    await server.deliver(DOTS)
    await server.deliver(large)

    def session() -> None:
        client = server.pop3()
        sizes = [len(PREFIX + DOTS), len(PREFIX + large)]
        assert client.stat() == (2, sum(sizes))
        assert client.list()[1] == [b"1 %d" % sizes[0], b"2 %d" % sizes[1]]
        # when they are retrieved, then they come octet by octet as they are, but for the last line ending
        assert b"\r\n".join(client.retr(1)[1]) == PREFIX + DOTS
        assert b"\r\n".join(client.retr(2)[1]) + b"\r\n" == PREFIX + large
        assert client.top(1, 2)[1] == [*PREFIX.splitlines(), b"Subject: dots", b"", b".", b"..two"]
        assert client.top(2, 0)[1] == [*PREFIX.splitlines(), b"Subject: large", b""]
        assert client.top(2, 1)[1][-1] == b".line"
        assert "PIPELINING" in client.capa()
        client.quit()

    await server.run(session)


async def test_a_body_out_of_reach_is_refused_for_now_and_the_session_goes_on(server: Server) -> None:
    await server.deliver(b"Subject: large\r\n\r\n" + b".line\r\n" * 30_000)
    for path in server.services.spool_directory.parent.glob("??/*"):
        path.unlink()

    def session() -> None:
        client = server.pop3()
        for ask in (client.retr, lambda number: client.top(number, 5)):
            with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\]"):
                ask(1)
        assert client.stat()[0] == 1
        client.quit()

    await server.run(session)


async def test_messages_go_at_quit_and_only_then(server: Server) -> None:
    for _ in range(3):
        await server.deliver(DOTS)

    def session() -> None:
        # given a session that deletes, and ends without QUIT
        client = server.pop3()
        client.dele(1)
        client.close()
        again = server.pop3()
        assert again.stat()[0] == 3
        names = again.uidl()[1]
        # when one deletes and does QUIT
        again.dele(2)
        again.rset()
        again.dele(1)
        again.retr(2)
        again.quit()
        # then that one is gone, unique-ids are what they were, and IMAP sees what was read
        last = server.pop3()
        assert [line.split()[1] for line in last.uidl()[1]] == [line.split()[1] for line in names[1:]]
        last.quit()
        imap = server.imap()
        imap.select()
        assert imap.search(None, "SEEN")[1] == [b"1"]
        imap.logout()

    await server.run(session)


async def test_a_message_gone_meanwhile_is_refused_and_others_are_not(server: Server) -> None:
    await server.deliver(DOTS)
    await server.deliver(DOTS)

    def session() -> None:
        client = server.pop3()
        imap = server.imap()
        imap.select()
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()
        imap.logout()
        with pytest.raises(poplib.error_proto, match="removed by another session"):
            client.retr(1)
        assert b"Subject: dots" in client.retr(2)[1]
        client.dele(1)
        assert client.quit().startswith(b"+OK")

    await server.run(session)


async def test_a_wrong_password_is_refused(server: Server) -> None:
    def session() -> None:
        client = poplib.POP3("127.0.0.1", server.pop3_port, timeout=20)
        client.user("bob")
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_("guess")
        client.quit()

    await server.run(session)


async def test_the_login_name_chooses_a_mailbox(server: Server) -> None:
    # given letters in INBOX and in a mailbox deep down
    await server.deliver(DOTS)

    def make() -> None:
        client = server.imap()
        client.create('"Lists/Slow food"')
        client.logout()

    await server.run(make)
    await server.deliver(b"Subject: deep\r\n\r\n", "Lists/Slow food")

    def session() -> None:
        # when it is named after the address, then that mailbox is the maildrop, and QUIT deletes from it
        client = server.pop3("bob@example.org/Lists/Slow food")
        assert client.retr(1)[1][-2:] == [b"Subject: deep", b""]
        name = client.uidl(1).split()[2]
        client.dele(1)
        client.quit()
        again = server.pop3("bob@example.org/Lists/Slow food")
        assert again.stat() == (0, 0)
        again.quit()
        inbox = server.pop3("bob@example.org/inbox")
        assert inbox.stat()[0] == 1
        assert inbox.uidl(1).split()[2] != name
        inbox.quit()

    await server.run(session)


@pytest.mark.parametrize("missing", ["Nowhere", "/", "a//b", "\u2028"])
async def test_a_mailbox_that_there_is_not_is_no_maildrop(server: Server, missing: str) -> None:
    await server.deliver(DOTS)

    def session() -> None:
        client = server.pop3("bob@example.org", password="")
        client.user(f"bob@example.org/{missing}")
        with pytest.raises(poplib.error_proto, match=r"\[SYS/PERM\]"):
            client.pass_("secret")
        # the session goes on
        client.user("bob@example.org/")
        client.pass_("secret")
        assert client.stat()[0] == 1
        client.quit()

    await server.run(session)


async def test_utf8_is_announced(server: Server) -> None:
    """RFC 6856 §2: a header in UTF-8 comes as it was received."""
    await server.deliver("Subject: 驛站\r\n\r\n".encode())

    def session() -> None:
        client = server.pop3(password="")
        assert client.capa()["UTF8"] == ["USER"]
        assert client.utf8().startswith(b"+OK")
        client.user("bob")
        client.pass_("secret")
        assert "Subject: 驛站".encode() in client.retr(1)[1]
        client.quit()

    await server.run(session)


class TestOneSessionAtATime:
    """`pop3.lock_session` (RFC 1939 §4)."""

    @pytest.fixture
    def locking(self, server: Server) -> Server:
        server.services = dataclasses.replace(server.services, pop3_lock_session=True)
        return server

    async def test_a_second_session_has_to_wait_for_the_end_of_the_first(self, locking: Server) -> None:
        def session() -> None:
            first, second = locking.pop3(), locking.pop3(password="")
            second.user("bob")
            with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
                second.pass_("secret")
            second.quit()
            # another mailbox, another account: other maildrops
            locking.pop3("bob@example.org/Sent").quit()
            locking.pop3("eve").quit()
            first.quit()

        await locking.run(session)
        await self.opens(locking)

    async def test_a_broken_connection_lets_the_next_one_in(self, locking: Server) -> None:
        await locking.run(lambda: locking.pop3().close())
        await self.opens(locking)

    async def opens(self, server: Server) -> None:
        """It does, within a moment: the lock is let go after the connection's end."""

        def attempt() -> bool:
            client = server.pop3(password="")
            client.user("bob")
            try:
                client.pass_("secret")
            except poplib.error_proto as refused:
                if b"[IN-USE]" in refused.args[0]:
                    return False
                raise
            finally:
                client.close()
            return True

        while not await server.run(attempt):
            pass

    async def test_who_is_gone_without_a_word_loses_it_by_the_databases_clock(self, locking: Server) -> None:
        # given a lock whose holder does not renew it any more
        lock = MaildropLock(locking.database, AccountId(1), 7)
        assert await lock.take()
        (renewing,) = [task for task in asyncio.all_tasks() if task.get_name() == "maildrop lock"]
        renewing.cancel()
        other = MaildropLock(locking.database, AccountId(1), 7)
        assert not await other.take()
        # when its time is over
        await locking.database.write([], lambda tx: tx.run("UPDATE lease SET expires = expires - 15"))
        # then another may have it, and the first does not give away what is not its own any more
        assert await other.take()
        await lock.release()
        third = MaildropLock(locking.database, AccountId(1), 7)
        assert not await third.take()
        await other.release()
        assert await third.take()
        await third.release()


class TestMailboxesOfOthers:
    """RFC 4314: a mailbox that is shared may be a maildrop, as far as the rights go."""

    WORK = "/Other Users/bob@example.org/Work"

    @pytest.fixture
    async def bob(self, server: Server) -> AsyncIterator[Client]:
        """Has two letters in Work."""
        async with Client(server) as client:
            await client.do("CREATE Work")
            for _ in range(2):
                await server.deliver(DOTS, "Work")
            yield client

    async def refusal(self, server: Server, *, login: str = "eve@example.org") -> str:
        def attempt() -> str:
            client = server.pop3(password="")
            client.user(login + self.WORK)
            with pytest.raises(poplib.error_proto) as refused:
                client.pass_("secret")
            client.quit()
            return str(refused.value)

        return await server.run(attempt)

    async def test_who_may_read_retrieves_and_changes_nothing(self, server: Server, bob: Client) -> None:
        await bob.do("SETACL Work eve@example.org lr")

        def session() -> None:
            client = server.pop3("eve@example.org" + self.WORK)
            assert client.stat()[0] == 2
            assert client.retr(1)[1][-1] == b".end without a line ending"
            with pytest.raises(poplib.error_proto, match=r"\[SYS/PERM\] You have no permission to delete"):
                client.dele(1)
            assert client.quit().startswith(b"+OK")

        await server.run(session)
        assert await bob.do("STATUS Work (MESSAGES UNSEEN)") == [
            '* STATUS "Work" (MESSAGES 2 UNSEEN 2)',
            "OK STATUS completed",
        ]

    async def test_who_may_more_marks_and_removes_for_all(self, server: Server, bob: Client) -> None:
        await bob.do("SETACL Work eve@example.org lrste")
        await bob.do("SELECT Work")

        def session() -> None:
            client = server.pop3("eve@example.org" + self.WORK)
            client.retr(1)
            client.dele(2)
            assert client.quit() == b"+OK Bye, 1 removed"

        await server.run(session)
        # then the owner's session, which has it selected, is told
        assert set(await bob.do("NOOP")) == {
            "* 2 EXPUNGE",
            "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))",
            "OK NOOP completed",
        }

    @pytest.mark.parametrize("rights", ["lrst", "lrse"])
    async def test_to_remove_takes_both_rights(self, server: Server, bob: Client, rights: str) -> None:
        await bob.do(f"SETACL Work eve@example.org {rights}")

        def session() -> None:
            client = server.pop3("eve@example.org" + self.WORK)
            with pytest.raises(poplib.error_proto, match="no permission to delete"):
                client.dele(1)
            client.quit()

        await server.run(session)

    async def test_who_may_only_see_that_it_is_there_is_told_why(self, server: Server, bob: Client) -> None:
        assert "There is no such mailbox" in await self.refusal(server)
        await bob.do("SETACL Work eve@example.org l")
        assert "[SYS/PERM] You have no permission" in await self.refusal(server)

    async def test_anyone_is_the_owners_own_domain(self, server: Server, bob: Client) -> None:
        await bob.do("SETACL Work anyone lr")
        await server.run(lambda: server.pop3("eve@example.org" + self.WORK).quit())
        assert "There is no such mailbox" in await self.refusal(server, login="mallory@example.org")

    async def test_rights_taken_away_end_with_the_next_command(self, server: Server, bob: Client) -> None:
        await bob.do("SETACL Work eve@example.org lrte")
        client = await server.run(lambda: server.pop3("eve@example.org" + self.WORK))
        await server.run(lambda: client.dele(2))
        # when
        await bob.do("DELETEACL Work eve@example.org")

        # then nothing can be read, and what was marked before is not removed
        def rest() -> None:
            with pytest.raises(poplib.error_proto, match="may no longer read"):
                client.retr(1)
            with pytest.raises(poplib.error_proto, match="not removed"):
                client.quit()
            client.close()

        await server.run(rest)
        assert (await bob.do("STATUS Work (MESSAGES)"))[0] == '* STATUS "Work" (MESSAGES 2)'

    async def test_one_lock_for_all_who_open_it(self, server: Server, bob: Client) -> None:
        await bob.do("SETACL Work eve@example.org lr")
        server.services = dataclasses.replace(server.services, pop3_lock_session=True)
        owner = await server.run(lambda: server.pop3("bob@example.org/Work"))
        assert "[IN-USE]" in await self.refusal(server)
        await server.run(owner.quit)
