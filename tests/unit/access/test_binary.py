"""BINARY: parts without their transfer encoding, whole, in pieces, and however large (RFC 3516)."""

from __future__ import annotations

import base64
import quopri
import re

import pytest

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import Client

PICTURE = bytes(range(256)) * 40


def letter(picture: bytes, text: bytes = b"Gr\xc3\xbc\xc3\x9fe, " * 20) -> bytes:
    encoded = base64.encodebytes(picture).replace(b"\n", b"\r\n")
    quoted = quopri.encodestring(text).replace(b"\n", b"\r\n")
    return (
        b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + quoted
        + b"\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + encoded
        + b"\r\n--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nstrange\r\n--b--\r\n"
    )


class Raw:
    """FETCH of one item, with the octets it returns."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def fetch(self, item: str) -> tuple[str, bytes]:
        """What stands before the octets, and they."""
        self.client.send(f"f FETCH 1 ({item})")
        line = await self.client.line()
        found = re.fullmatch(r"\* 1 FETCH \((.*?)\{(\d+)\}", line)
        assert found is not None, line
        octets = await self.client.reader.readexactly(int(found[2]))
        assert await self.client.line() == ")"
        assert (await self.client.line()).startswith("f OK")
        return found[1], octets


@pytest.mark.parametrize("times", [1, 40])
async def test_parts_are_decoded(server: Server, times: int) -> None:
    # given a letter held in memory, and one that is read piece by piece
    picture, text = PICTURE * times, b"Gr\xc3\xbc\xc3\x9fe, " * (20 * times)
    whole = letter(picture, text)
    await server.deliver(whole)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        raw = Raw(client)
        assert await raw.fetch("BINARY.PEEK[2]") == ("BINARY[2] ~", picture)
        assert (await raw.fetch("BINARY.PEEK[1]"))[1] == text
        # the message itself has no encoding
        assert (await raw.fetch("BINARY.PEEK[]"))[1] == PREFIX + whole
        lines = await client.do("FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[])")
        sizes = re.findall(r"BINARY.SIZE\[(\d?)\] (\d+)", lines[0])
        assert sizes == [("1", str(len(text))), ("2", str(len(picture))), ("", str(len(PREFIX + whole)))]
        # octets of a piece count decoded
        label, octets = await raw.fetch("BINARY.PEEK[2]<300.1000>")
        assert (label, octets) == ("BINARY[2]<300> ~", picture[300:1300])
        assert (await raw.fetch(f"BINARY.PEEK[2]<{len(picture) - 3}.99>"))[1] == picture[-3:]
        assert (await raw.fetch(f"BINARY.PEEK[2]<{len(picture)}.99>"))[1] == b""
        assert (await raw.fetch("BINARY.PEEK[2]<10.99999999999>"))[1] == picture[10:]
        # piece by piece, forwards and back again, with another part between
        got = [(await raw.fetch(f"BINARY.PEEK[2]<{at}.77777>"))[1] for at in range(0, len(picture), 77777)]
        assert b"".join(got) == picture
        assert (await raw.fetch("BINARY.PEEK[1]<3.5>"))[1] == text[3:8]
        assert (await raw.fetch("BINARY.PEEK[2]<5.5>"))[1] == picture[5:10]


async def test_a_text_comes_as_a_plain_literal(server: Server) -> None:
    await server.deliver(letter(PICTURE))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert (await Raw(client).fetch("BINARY.PEEK[1]<0.9>"))[0] == "BINARY[1]<0> "


async def test_what_cannot_be_decoded_is_said_so(server: Server) -> None:
    await server.deliver(letter(PICTURE))
    await server.deliver(letter(PICTURE * 40))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        lines = await client.do("FETCH 1:2 BINARY.PEEK[3]")
        assert lines[:2] == ["* 1 FETCH (BINARY[3] NIL)", "* 2 FETCH (BINARY[3] NIL)"]
        assert lines[2].startswith("NO [UNKNOWN-CTE]")
        # a part that is not there is no error
        assert await client.do("FETCH 1 (BINARY.PEEK[7] BINARY.SIZE[7])") == [
            "* 1 FETCH (BINARY[7] NIL BINARY.SIZE[7] 0)",
            "OK FETCH completed",
        ]


async def test_without_peek_it_has_been_read(server: Server) -> None:
    await server.deliver(letter(b"a"))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("FETCH 1 (BINARY.PEEK[2] BINARY.SIZE[2])")
        assert (await client.do("SEARCH SEEN"))[0] == "* SEARCH"
        await client.do("FETCH 1 BINARY[2]")
        assert (await client.do("SEARCH SEEN"))[0] == "* SEARCH 1"


async def test_a_message_with_nul_is_refused_as_the_literal_demands(server: Server) -> None:
    async with Client(server) as client:
        for literal, answer in (
            ("~{14+}\r\nSubject: a\r\n\r\n", "OK [APPENDUID"),
            ("~{15+}\r\nSubject: a\r\n\r\n\0", "NO [UNKNOWN-CTE]"),
            ("{15+}\r\nSubject: a\r\n\r\n\0", "BAD"),
        ):
            assert (await client.do(f"APPEND INBOX {literal}"))[-1].startswith(answer)
        assert (await client.do("STATUS INBOX (MESSAGES)"))[0] == '* STATUS "INBOX" (MESSAGES 1)'
