"""What a letter says: its text without transfer encodings, charsets and markup, for searching and previews.

The header's text is that of its fields; beside it stands that of its parts' headers, at which TEXT looks as
well (RFC 9051 §6.4.4). The body's text is that of all its text parts, HTML as a reader sees it, in their
order, with the names and descriptions of attachments and the headers of nested letters where they stand.
It comes in pieces, so that
a large text never sits whole in memory, and the same letter gives the same text whichever way it is read:
`BodyText` reads nothing itself but says which octets it wants next; `body_text` gives it those of a letter
in memory, `read_body_text` those of any `Content`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

from posthouse.mail import charset
from posthouse.mail.charset import eight_bit
from posthouse.mail.content import CHUNK, Content
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.markup import Markup
from posthouse.mail.mime import Part
from posthouse.mail.parameters import Parameters
from posthouse.mail.transfer import Decoding
from posthouse.mail.words import decode

Range: TypeAlias = tuple[int, int]

PREVIEW_OCTETS = 16 * 1024
"""Of the part from which a preview is made, as stored."""


# Transfer encodings, encoded words, markup, and charsets that write other characters in ASCII.
_HIDES = (
    b"quoted-printable", b"base64", b"=?", b"html", b"enriched", b"name*", b"utf-7", b"utf7",
    b"utf-16", b"utf16", b"utf-32", b"utf32", b"iso-2022", b"iso2022", b"hz-gb", b"=hz", b'="hz',
)  # fmt: skip


class PartText:
    """The text of one text part, from its octets as stored, piece by piece."""

    __slots__ = ("_charset", "_markup", "_transfer")

    def __init__(self, part: Part) -> None:
        self._transfer = Decoding(part.encoding)
        self._charset = charset.Decoder(eight_bit(_first(part.params, b"charset")))
        self._markup = Markup() if part.subtype in ("html", "xhtml", "enriched") else None

    def feed(self, octets: bytes, last: bool) -> str:
        """The text of the next octets, as far as it is certain. There is no NUL in it."""
        text = self._charset.decode(self._transfer.decode(octets, last), last)
        if "\0" in text:
            text = text.replace("\0", "\ufffd")
        return text if self._markup is None else self._markup.feed(text, last)


class BodyText:
    """The text of a letter's body. While `wanted` is a range, hand its octets to `feed`."""

    __slots__ = ("_part", "_position", "_said", "_segments", "wanted")

    def __init__(self, root: Part) -> None:
        self._segments = _segments(root)
        self._part: PartText | None = None
        self._said: list[str] = []
        self._position = (0, 0)
        self.wanted: Range | None = None
        """Octets to be read next; None: that was all."""
        self._advance()

    def feed(self, octets: bytes) -> str:
        """The text up to the end of the octets that were wanted."""
        assert self._part is not None
        start, end = self._position
        last = start + len(octets) >= end or not octets
        said = [*self._said, self._part.feed(octets, last)]
        self._said = []
        if last:
            said.append("\n")
            self._advance()
        else:
            self._position = start + len(octets), end
            self.wanted = self._position[0], min(end, self._position[0] + CHUNK)
        return "".join(said)

    def rest(self) -> str:
        """What is still to be said once nothing is wanted."""
        said, self._said = self._said, []
        return "".join(said)

    def _advance(self) -> None:
        for segment in self._segments:
            if isinstance(segment, str):
                self._said.append(segment + "\n")
                continue
            self._part = PartText(segment)
            self._position = segment.body_start, segment.end
            self.wanted = segment.body_start, min(segment.end, segment.body_start + CHUNK)
            return
        self.wanted = None


def body_text(data: bytes, root: Part) -> Iterator[str]:
    """The text of the body of a letter in memory, in pieces."""
    body = BodyText(root)
    while body.wanted is not None:
        start, end = body.wanted
        yield body.feed(data[start:end])
    yield body.rest()


async def read_body_text(content: Content, root: Part) -> AsyncIterator[str]:
    """The text of the body of any letter, in pieces."""
    body = BodyText(root)
    while body.wanted is not None:
        start, end = body.wanted
        yield body.feed(await content.read(start, end - start))
    yield body.rest()


def header_text(head: bytes) -> str:
    """All fields of a header section, decoded and unfolded, one a line; what is no field, where it stands."""
    lines = []
    position = 0
    for name, start, end in HeaderIndex(head).fields:
        if position < start:
            lines.append(field_value_text(head[position:start].strip()))
        position = end
        colon = head.index(b":", start)
        value = head[colon + 1 : end].replace(b"\r\n", b"").replace(b"\n", b"")
        lines.append(f"{name.decode('latin-1')}: {field_value_text(value.strip())}")
    if rest := head[position:].strip():
        lines.append(field_value_text(rest))
    return "\n".join(lines).replace("\0", "\ufffd")


def part_headers(root: Part) -> Iterator[str]:
    """The text of the header of each part; that of a nested letter belongs to the body's text."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield from (header_text(child.header) for child in part.parts)
        waiting += part.parts
        if part.message is not None:
            waiting.append(part.message)


async def preview(content: Content, root: Part, characters: int) -> str:
    """How the text that a reader sees first begins, on one line; empty where there is none."""
    for part in _shown(root):
        read = min(part.size, PREVIEW_OCTETS)
        octets = await content.read(part.body_start, read)
        said = " ".join(PartText(part).feed(octets, read == part.size).split())
        if said:
            return said[:characters].rstrip()
    return ""


def surely_lacks(data: bytes, sought: str) -> bool:
    """Whether it is plain to see, without decoding, that a letter does not hold a folded string.

    That takes a word of ASCII, and a letter in which nothing could hide it.
    """
    word = max(sought.split(), key=len, default="")
    if not word or not word.isascii() or not data.isascii():
        return False
    lowered = data.lower()
    return word.encode() not in lowered and not any(mark in lowered for mark in _HIDES)


def part_name(part: Part) -> str:
    """The file name of a part, decoded (RFC 2183 §2.3, RFC 2231, and RFC 2047 as many do); empty: none."""
    return _decoded(part.disposition_parameters, b"filename") or _decoded(part.params, b"name")


def _segments(root: Part) -> Iterator[str | Part]:
    """What the body consists of: text, and parts that hold text."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part is not root:
            caption = f"{part_name(part)}\n{field_value_text(part.description or b'')}".strip()
            if caption:
                yield caption.replace("\0", "\ufffd")
        if part.message is not None:
            yield header_text(part.message.header)
        elif part.type in ("text", "message") and part.size:
            yield part  # such as message/delivery-status, which is lines of text
        waiting += reversed(part.parts)
        if part.message is not None:
            waiting.append(part.message)


def _shown(root: Part) -> Iterator[Part]:
    """Text parts as a reader meets them: plain text before its alternatives, attachments never."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.disposition == "attachment":
            continue
        if part.type == "text" and not part.message:
            yield part
        children = part.parts
        if part.subtype == "alternative":
            children = sorted(children, key=lambda child: (child.type, child.subtype) != ("text", "plain"))
        waiting += reversed(children)
        if part.message is not None:
            waiting.append(part.message)


def _first(params: Parameters, wanted: bytes) -> bytes:
    return next((value for name, value in params if name == wanted), b"")


def _decoded(params: Parameters, wanted: bytes) -> str:
    for name, value in params:
        if name == wanted:
            return decode(eight_bit(value))
        if name == wanted + b"*":
            return _extended(value)
    return ""


def _extended(value: bytes) -> str:
    """RFC 2231 §4: charset'language'octets in %XX."""
    pieces = value.split(b"'", 2)
    named, octets = (pieces[0], pieces[2]) if len(pieces) == 3 else (b"", value)
    first, *escaped = octets.split(b"%")
    found = bytearray(first)
    for piece in escaped:
        try:
            found += bytes.fromhex(piece[:2].decode("ascii")) + piece[2:]
        except ValueError:
            found += b"%" + piece
    return charset.decode(bytes(found), eight_bit(named))
