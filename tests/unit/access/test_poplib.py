"""poplib against a server on a real socket."""

from __future__ import annotations

import poplib

import pytest

from tests.unit.access.conftest import PREFIX, Server

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
