"""CATENATE: a message is put together on the server, of texts and of parts of other messages (RFC 4469)."""

from __future__ import annotations

import pytest

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import Client

MIXED = (
    b"Subject: whole\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n"
    b"--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\n"
)
LARGE = b"Subject: large\r\n\r\n" + b"0123456789" * 20_000


def text(octets: str) -> str:
    return f"TEXT {{{len(octets)}+}}\r\n{octets}"


async def body(client: Client, mailbox: str = "Drafts") -> str:
    await client.do(f"SELECT {mailbox}")
    lines = await client.do("FETCH * BODY.PEEK[]")
    return "\n".join(lines[1 : lines.index(")")])


async def test_texts_and_parts_become_a_message(server: Server) -> None:
    await server.deliver(MIXED)
    async with Client(server) as client:
        validity = (await client.do("STATUS INBOX (UIDVALIDITY)"))[0].split()[-1].rstrip(")")
        inbox = f"/INBOX;UIDVALIDITY={validity}/;UID=1"
        head = "Subject: new\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"
        parts = [
            text(head),
            f'URL "{inbox}/;SECTION=2.MIME"',
            f'URL "imap://bob%40example.org@mail.example.org{inbox}/;SECTION=2"',
            text("\r\n--c\r\n\r\n"),
            f"URL {inbox}/;section=1/;partial=6.4",
            text("\r\n--c--\r\n"),
        ]
        lines = await client.do(f"APPEND Drafts (\\Draft) CATENATE ({' '.join(parts)})")
        assert lines[-1].startswith("OK [APPENDUID ")
        assert await body(client) == "\n".join(
            [
                *head.split("\r\n")[:-1],
                *("Content-Type: application/x", "Content-Transfer-Encoding: base64", "", "QUJD", "--c", ""),
                *("part", "--c--", ""),
            ]
        ).removesuffix("\n")
        assert (await client.do("FETCH 1 BODY"))[0].count('"application" "x"') == 1


async def test_a_large_message_is_copied_piece_by_piece(server: Server) -> None:
    await server.deliver(LARGE)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        # a URL without a mailbox is of the selected one
        parts = f"{text('X-New: y' + chr(13) + chr(10))} URL /;UID=1 URL ;UID=1/;SECTION=TEXT"
        assert (await client.do(f"APPEND Drafts CATENATE ({parts})"))[-1].startswith("OK ")
        size = 10 + len(PREFIX) + len(LARGE) + 200_000
        assert (await client.do("STATUS Drafts (SIZE)"))[0].endswith(f"(SIZE {size})")


BAD = [
    "/INBOX;UID=2",
    "/INBOX;UIDVALIDITY=1/;UID=1",
    "/Nowhere;UID=1",
    "/INBOX",
    "/;UID=1",
    "imap://eve@mail.example.org/INBOX;UID=1",
    "imap://bob@elsewhere.example/INBOX;UID=1",
    "/INBOX;UID=1/;SECTION=3",
    "/INBOX;UID=1/;SECTION=x",
    "/INBOX;UID=1/;PARTIAL=x",
    "http://mail.example.org/",
    "/%2F;UID=1",
]


@pytest.mark.parametrize("url", BAD)
async def test_what_a_url_does_not_name_is_refused(server: Server, url: str) -> None:
    await server.deliver(MIXED)
    await server.deliver(MIXED, account=2)
    await server.deliver(MIXED, account=2)
    async with Client(server) as client:
        line = (await client.do(f'APPEND Drafts CATENATE ({text("x: y")} URL "{url}" {text("z")})'))[-1]
        assert line.startswith(f'NO [BADURL "{url}"] '), line
        assert (await client.do("STATUS Drafts (MESSAGES)"))[0].endswith("(MESSAGES 0)")


async def test_all_together_may_not_be_too_large(server: Server) -> None:
    await server.deliver(LARGE)
    limit = server.services.message_size_limit
    urls = " ".join(["URL /INBOX;UID=1"] * (limit // len(LARGE) + 1))
    async with Client(server) as client:
        assert (await client.do(f"APPEND Drafts CATENATE ({urls})"))[-1].startswith("NO [TOOBIG]")
        assert (await client.do(f"APPEND Drafts CATENATE (URL /INBOX;UID=1 TEXT {{{limit}}}"))[-1].startswith(
            "NO [TOOBIG]"
        )
        assert (await client.do("APPEND Drafts CATENATE (TEXT {0+}\r\n)"))[-1].startswith("NO [CANNOT]")
    assert list(server.services.spool_directory.iterdir()) == []
