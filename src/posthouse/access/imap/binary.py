"""BINARY[…] and BINARY.SIZE[…] (RFC 3516): the octets of a part without its transfer encoding.

The message itself, a multipart and a nested message have none of their own (RFC 2045 §6.4), and are
returned as they are. A large part is decoded piece by piece: once to know its size, which is remembered
for the session, and once to send it. A client that fetches it in pieces goes on where it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import NamedTuple

from posthouse.access.imap.sections import NIL, Structures
from posthouse.mail.content import CHUNK
from posthouse.mail.mime import Part
from posthouse.mail.section import find_part
from posthouse.mail.transfer import IDENTITY, KNOWN, cut, decode
from posthouse.protocol.imap.fetching import Binary
from posthouse.store.read import Message

_IN_MEMORY = 1024 * 1024
"""Octets of a large part that are held decoded at once."""
_REMEMBERED = 32


class _Place(NamedTuple):
    """Where decoding stands at the beginning of a piece."""

    part: tuple[int, tuple[int, ...]]
    """Email and part."""
    position: int
    """Of the octets to read next."""
    rest: bytes
    """Read, but not decoded yet."""
    offset: int
    """Octets decoded before."""


class Decoding:
    """What a session remembers of the large parts that it has decoded."""

    __slots__ = ("place", "sizes", "unknown")

    def __init__(self) -> None:
        self.unknown = False
        """A part had a transfer encoding that nobody here can undo; it was answered as if not there."""
        self.place: _Place | None = None
        self.sizes: OrderedDict[tuple[int, tuple[int, ...]], int] = OrderedDict()


def of_data(wanted: Binary, data: bytes, root: Part, decoding: Decoding) -> bytes:
    """The answer for a message in memory."""
    found = _find(root, wanted, decoding)
    if found is None:
        return b"0" if wanted.size_only else NIL
    start, end, encoding = found
    octets = decode(data[start:end], encoding)
    if wanted.size_only:
        return b"%d" % len(octets)
    return _literal(_slice(octets, wanted.partial))


async def of_large(
    wanted: Binary, email: int, message: Message, structures: Structures, decoding: Decoding
) -> AsyncIterator[bytes]:
    """The answer for a large message, in pieces."""
    found = _find(await structures.of(email, message), wanted, decoding)
    if found is None:
        yield b"0" if wanted.size_only else NIL
        return
    key = email, wanted.part
    skip, most = wanted.partial or (0, 2**63)
    if wanted.partial is not None and most <= _IN_MEMORY:
        pieces = [piece async for piece in _decoded(message, key, found, decoding, skip, most)]
        yield _literal(b"".join(pieces))
        return
    size = await _size(message, key, found, decoding)
    if wanted.size_only:
        yield b"%d" % size
        return
    left = max(0, min(size - skip, most))
    yield b"~{%d}\r\n" % left
    async for piece in _decoded(message, key, found, decoding, skip, left):
        left -= len(piece)
        yield piece
    if left:
        raise EOFError("a stored message is shorter than it was")


def _find(root: Part, wanted: Binary, decoding: Decoding) -> tuple[int, int, str] | None:
    """Where a part lies, and how it is encoded."""
    if not wanted.part:
        return root.header_start, root.end, "binary"
    part = find_part(root, wanted.part)
    if part is None:
        return None
    if part.parts or part.message is not None:
        return part.body_start, part.end, "binary"
    if part.encoding not in KNOWN:
        decoding.unknown = True
        return None
    return part.body_start, part.end, part.encoding


async def _size(
    message: Message, key: tuple[int, tuple[int, ...]], found: tuple[int, int, str], decoding: Decoding
) -> int:
    if found[2] in IDENTITY:
        return found[1] - found[0]
    size = decoding.sizes.get(key)
    if size is None:
        size = 0
        async for piece in _decoded(message, key, found, decoding, 0, 2**63):
            size += len(piece)
        decoding.sizes[key] = size
        if len(decoding.sizes) > _REMEMBERED:
            decoding.sizes.popitem(last=False)
    return size


async def _decoded(
    message: Message,
    key: tuple[int, tuple[int, ...]],
    found: tuple[int, int, str],
    decoding: Decoding,
    skip: int,
    most: int,
) -> AsyncIterator[bytes]:
    """The decoded octets from `skip` on, `most` of them at most."""
    start, end, encoding = found
    if encoding in IDENTITY:
        place = _Place(key, start + skip, b"", skip)
    elif decoding.place is not None and decoding.place.part == key and decoding.place.offset <= skip:
        place = decoding.place
    else:
        place = _Place(key, start, b"", 0)
    while (place.position < end or place.rest) and most > 0:
        octets = await message.read(place.position, min(CHUNK, end - place.position))
        position = place.position + len(octets)
        last = position >= end or not octets
        ready, rest = cut(place.rest + octets, encoding, last)
        piece = decode(ready, encoding)
        decoding.place = place
        wanted = piece[max(0, skip - place.offset) :][:most]
        place = _Place(key, end if last else position, rest, place.offset + len(piece))
        most -= len(wanted)
        if wanted:
            yield wanted


def _slice(octets: bytes, partial: tuple[int, int] | None) -> bytes:
    return octets if partial is None else octets[partial[0] : partial[0] + partial[1]]


def _literal(octets: bytes) -> bytes:
    """A literal, or where there is NUL in it a literal8 (RFC 3516 §4.3)."""
    return b"%b{%d}\r\n%b" % (b"~" if b"\0" in octets else b"", len(octets), octets)
