"""POP3 without UTF8: internationalized messages are downgraded, and sizes are of what is sent (RFC 6856)."""

from __future__ import annotations

import dataclasses
import poplib

import pytest

from posthouse.db import Reader
from posthouse.mail.envelope import AccountId
from posthouse.store import mailboxes, surrogates
from tests.unit.access.conftest import PREFIX, Server

PLAIN = b"Subject: plain\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
MAIL = "From: Jürgen <j@example.org>\r\nSubject: Grüße\r\n\r\n.Grüße\r\nzwei\r\n".encode()
SENT = (
    b"From: =?utf-8?B?SsO8cmdlbg==?= <j@example.org>\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\n"
    b".Gr\xc3\xbc\xc3\x9fe\r\nzwei\r\n"
)
LATIN = b"Subject: Gr\xfc\xdfe\r\n\r\n"
PARTS = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b'--b\r\nContent-Type: text/plain; name="\xc3\xbc"\r\n\r\n' + b"line\r\n" * 20_000 + b"--b--\r\n"
)


def retrieved(client: poplib.POP3, number: int) -> bytes:
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])


def shown(client: poplib.POP3) -> list[tuple[int, bytes]]:
    """Size and octets of each message; the size is that of what is sent."""
    listed = [int(line.split()[1]) for line in client.list()[1]]
    assert client.stat() == (len(listed), sum(listed))
    messages = [retrieved(client, number) for number in range(1, len(listed) + 1)]
    assert [len(message) for message in messages] == listed
    return list(zip(listed, messages, strict=True))


def with_utf8(server: Server) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", server.pop3_port, timeout=20)
    client.utf8()
    client.user("bob")
    client.pass_("secret")
    return client


async def test_a_client_that_has_not_said_utf8_gets_headers_in_ascii(server: Server) -> None:
    # given ordinary mail, internationalized mail, mail of unknown charset, and a large one
    for data in (PLAIN, MAIL, LATIN, PARTS):
        await server.deliver(data)

    def session() -> None:
        client = server.pop3()
        # when it is listed and retrieved, then sizes and octets are those of what is downgraded
        plain, mail, latin, parts = (message for _, message in shown(client))
        assert (plain, mail, latin) == (PREFIX + PLAIN, PREFIX + SENT, PREFIX + LATIN)
        assert parts == PREFIX + PARTS.replace('name="ü"'.encode(), b"name*=utf-8''%C3%BC")
        assert client.top(2, 1)[1] == (PREFIX + SENT).splitlines()[:-1]
        names = client.uidl()[1]
        client.quit()
        # and who says UTF8 gets what was received, under the same unique-ids
        other = with_utf8(server)
        assert [message for _, message in shown(other)] == [
            PREFIX + one for one in (PLAIN, MAIL, LATIN, PARTS)
        ]
        assert other.uidl()[1] == names
        other.quit()

    await server.run(session)


async def test_what_was_found_out_is_kept_and_what_comes_is_added(server: Server) -> None:
    await server.deliver(MAIL)

    def session() -> list[tuple[int, bytes]]:
        client = server.pop3()
        found = shown(client)
        client.dele(1)
        client.quit()
        return found

    def kept(reader: Reader) -> surrogates.Known:
        inbox = mailboxes.find(reader, AccountId(1), "INBOX")
        assert inbox is not None
        return surrogates.known(reader, AccountId(1), inbox.id)

    async def noted() -> surrogates.Known:
        await server.database.write([], lambda tx: None)  # takes with it what was to be written later
        return await server.database.read(kept)

    # given a maildrop that was looked at, from which the message then went
    assert [message for _, message in await server.run(session)] == [PREFIX + SENT]
    # when another comes, and one that needs nothing
    uid = (await server.deliver(MAIL)).uid
    await server.deliver(PLAIN)
    assert [message for _, message in await server.run(session)] == [PREFIX + SENT, PREFIX + PLAIN]
    # then those were looked at, and only what is needed is kept
    assert await noted() == (uid + 2, {uid: len(PREFIX + SENT)})


async def test_a_surrogate_out_of_reach_is_refused_for_now(server: Server) -> None:
    await server.deliver(PARTS)
    await server.deliver(MAIL)
    for path in server.services.spool_directory.parent.glob("??/*"):
        path.unlink()

    def session() -> None:
        client = server.pop3()
        with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\]"):
            client.retr(1)
        assert retrieved(client, 2) == PREFIX + SENT
        client.quit()

    await server.run(session)


async def test_downgrading_can_be_turned_off(server: Server) -> None:
    server.services = dataclasses.replace(server.services, pop3_downgrade=False)
    await server.deliver(MAIL)

    def session() -> None:
        client = server.pop3()
        assert [message for _, message in shown(client)] == [PREFIX + MAIL]
        client.quit()

    await server.run(session)
