"""PREVIEW: the first words of a message, decoded, without opening it (RFC 8970)."""

from __future__ import annotations

import base64

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

HTML = (
    b'Subject: x\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\n'
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode("<style>p {}</style><p>Grüße  aus<br>Köln".encode())
    + b"\r\n--b--\r\n"
)
LONG = b"Subject: y\r\n\r\n" + b"word " * 20_000


async def test_the_beginning_of_the_text_is_told(server: Server) -> None:
    for letter in (HTML, LONG, b"Subject: empty\r\n\r\n"):
        await server.deliver(letter)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        text = "Grüße aus Köln"
        assert (await client.do("FETCH 1 (UID PREVIEW)"))[:2] == [
            f"* 1 FETCH (UID 1 PREVIEW {{{len(text.encode())}}}",
            f"{text})",
        ]
        assert (await client.do("FETCH 2 PREVIEW"))[0] == f'* 2 FETCH (PREVIEW "{("word " * 40).strip()}")'
        assert (await client.do("FETCH 3 PREVIEW"))[0] == '* 3 FETCH (PREVIEW "")'
        # nothing has been seen by that
        assert (await client.do("SEARCH UNSEEN"))[0] == "* SEARCH 1 2 3"


async def test_who_is_in_no_hurry_is_told_what_is_at_hand(server: Server) -> None:
    await server.deliver(b"Subject: x\r\n\r\nshort\r\n")
    await server.deliver(LONG)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        lines = await client.do("UID FETCH 1:2 (PREVIEW (LAZY) FLAGS)")
        assert lines[0] == '* 1 FETCH (UID 1 FLAGS (\\Recent) PREVIEW "short")'
        assert lines[1] == "* 2 FETCH (UID 2 FLAGS (\\Recent) PREVIEW NIL)"
