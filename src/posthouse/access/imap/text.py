"""The text of a message, decoded: what SEARCH BODY and SEARCH TEXT look into.

Text parts are decoded from their transfer encoding and charset, and headers of nested messages from
RFC 2047, piece by piece: a large attachment of text never sits whole in memory. Markup of HTML is left
as it is. Comparison ignores case and, for what is beyond ASCII, compatibility forms (RFC 5051 in spirit:
the empty refinement of i;unicode-casemap is a substring of folded text).
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import AsyncIterator, Iterator

from posthouse.access.imap.transfer import cut, decode
from posthouse.mail.content import CHUNK
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.mime import Part
from posthouse.mail.words import decode_octets
from posthouse.store.read import Message

_IN_MEMORY = 256 * 1024
"""Octets of a part that are decoded at once."""

# What is looked up for a large text: other names in mail may be no charsets, or dangerous to decode.
_CODECS = {
    name: name
    for name in (
        "utf-8", "utf-7", "utf-16", "us-ascii", "big5", "gb2312", "gbk", "gb18030", "euc-jp", "euc-kr",
        "iso-2022-jp", "iso-2022-kr", "shift-jis", "koi8-r", "koi8-u", "tis-620",
        *(f"iso-8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
        *(f"windows-{number}" for number in range(1250, 1259)),
    )
}  # fmt: skip


def fold(text: str) -> str:
    """Text as it is compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


def header_text(head: bytes) -> str:
    """All fields of a header section, decoded, one a line."""
    index = HeaderIndex(head)
    lines = []
    for name, start, end in index.fields:
        colon = head.index(b":", start)
        value = head[colon + 1 : end].replace(b"\r\n", b"").replace(b"\n", b"")
        lines.append(f"{name.decode('latin-1')}: {field_value_text(value.strip())}")
    return "\n".join(lines)


async def body_contains(message: Message, root: Part, sought: str) -> bool:
    """Whether the folded text `sought` is in the body: in a text part, or a nested message's header."""
    for part in _parts(root):
        if part.message is not None:
            if sought in fold(header_text(part.message.header)):
                return True
        elif part.type == "text":
            async for text in _text_of(message, part, len(sought)):
                if sought in text:
                    return True
    return False


def _parts(root: Part) -> Iterator[Part]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += reversed(part.parts)
        if part.message is not None:
            waiting.append(part.message)


async def _text_of(message: Message, part: Part, overlap: int) -> AsyncIterator[str]:
    """The folded text of a part in pieces, each of which repeats the end of the one before."""
    charset = _charset(part)
    if part.size <= _IN_MEMORY:
        octets = await message.read(part.body_start, part.size)
        yield fold(decode_octets(decode(octets, part.encoding), charset))
        return
    decoder = _incremental(charset)
    rest = b""
    tail = ""
    position = part.body_start
    while position < part.end:
        octets = await message.read(position, min(CHUNK, part.end - position))
        if not octets:
            return
        position += len(octets)
        ready, rest = cut(rest + octets, part.encoding, position >= part.end)
        text = decoder.decode(decode(ready, part.encoding), position >= part.end)
        tail = tail[-overlap:] + fold(text)
        yield tail


def _charset(part: Part) -> str:
    for name, value in part.params:
        if name == b"charset":
            return value.decode("ascii", "replace")
    return "utf-8"


def _incremental(charset: str) -> codecs.IncrementalDecoder:
    codec = _CODECS.get(charset.lower().replace("_", "-"), "utf-8")
    return codecs.getincrementaldecoder(codec)("replace")
