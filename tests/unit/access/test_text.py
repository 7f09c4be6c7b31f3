"""SEARCH finds what is there, whatever the encoding, the charset and the size of the part."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable

import pytest

from posthouse.access.imap.text import body_contains, fold
from posthouse.mail.content import CHUNK, MemoryContent
from posthouse.mail.mime import scan
from posthouse.store.read import Message

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "8bit": lambda octets: octets,
    "base64": lambda octets: base64.encodebytes(octets).replace(b"\n", b"\r\n"),
    "quoted-printable": lambda octets: quopri.encodestring(octets),
}


def message(text: str, charset: str, encoding: str) -> Message:
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return Message(
        b"Received: x\r\n", MemoryContent(head.encode() + ENCODINGS[encoding](text.encode(charset)))
    )


async def contains(where: Message, sought: str) -> bool:
    assert where.data is not None
    return await body_contains(where, scan(where.data), fold(sought))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("charset", "word"),
    [
        ("utf-8", "Träume"),
        ("iso-8859-1", "Träume"),
        ("koi8-r", "сон"),
        ("iso-2022-jp", "夢想"),
        ("gb18030", "梦想"),
    ],
)
async def test_a_word_is_found_across_every_cut(charset: str, word: str, encoding: str) -> None:
    # given a text so large that it is decoded in pieces, and words around the places where it is cut
    for shift in range(0, 12, 3):
        line = "x" * 70 + "\r\n"
        filler = line * (5 * CHUNK // len(line))
        text = "y" * shift + "\r\n" + (filler[: CHUNK // 4 * 3] + word) * 6 + filler
        large = message(text, charset, encoding)
        assert large.size > 256 * 1024
        # then it is found, in capitals too, and another is not
        assert await contains(large, word.upper())
        assert not await contains(large, word + "!")


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_cut_of_one_word(encoding: str) -> None:
    # one word alone, moved octet by octet over the first cut
    for shift in range(-8, 9):
        before = "z" * (CHUNK + shift - 40)
        if encoding == "base64":
            before = "z" * ((CHUNK + shift) // 4 * 3)
        large = message(before + "\r\nnadel\r\n" + "z\r\n" * 200_000, "utf-8", encoding)
        assert await contains(large, "Nadel"), shift


async def test_what_is_no_text_is_not_searched() -> None:
    head = b"Content-Type: application/pdf\r\n\r\n"
    assert not await contains(Message(b"", MemoryContent(head + b"needle")), "needle")


async def test_headers_of_nested_messages_are_part_of_the_body() -> None:
    nested = (
        b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?s=C3=BC=C3=9F?=\r\n"
        b"Content-Type: text/plain\r\n\r\ninner words\r\n"
    )
    where = Message(b"", MemoryContent(nested))
    assert await contains(where, "SÜß")
    assert await contains(where, "inner")


@pytest.mark.parametrize("charset", ["x-unknown", "punycode", "unicode_escape", "\\x00", "base64"])
@pytest.mark.parametrize("size", [10, 400_000])
async def test_strange_charsets_do_no_harm(charset: str, size: int) -> None:
    head = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode()
    where = Message(b"", MemoryContent(head + b"needle " + b"\xff\\u0000 " * (size // 8)))
    assert await contains(where, "needle")
