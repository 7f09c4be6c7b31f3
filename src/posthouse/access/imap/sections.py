"""The octets of `BODY[…]`: found in a message, cut to the wanted part, large ones in pieces.

A message is prefix and content as one; offsets count from the prefix on. The structure of a message is
found by scanning it. That of a large one, which has to be read for it, is remembered for the session, so
that a client which fetches an attachment piece by piece has it scanned once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from posthouse.mail import section
from posthouse.mail.content import CHUNK
from posthouse.mail.mime import Part, Scanner, scan
from posthouse.mail.section import Range
from posthouse.protocol.imap.fetching import Section, Text
from posthouse.store.read import Message

_REMEMBERED = 4

NIL = b"NIL"


class Structures:
    """The structures of large messages, by email id."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[int, Part] = OrderedDict()

    async def of(self, email: int, message: Message) -> Part:
        """The structure of a message."""
        data = message.data
        if data is not None:
            return scan(data)
        known = self._known.get(email)
        if known is None:
            scanner = Scanner()
            async for chunk in message.chunks():
                scanner.feed(chunk)
            known = scanner.finish()
            self._known[email] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(email)
        return known


def only_head(wanted: Section) -> bool:
    """Whether the header of the message is all that is needed."""
    return not wanted.part and wanted.text in (Text.HEADER, Text.FIELDS, Text.FIELDS_NOT)


def of_heads(wanted: Section, heads: Sequence[bytes]) -> Sequence[bytes]:
    """The octets of a section of which `only_head` is true, of each message."""
    texts = heads
    if wanted.text is Text.FIELDS:
        texts = section.named_fields(wanted.fields, heads)
    elif wanted.text is Text.FIELDS_NOT:
        texts = [_other_fields(wanted, head) for head in heads]
    return cut(wanted, texts)


def cut(wanted: Section, texts: Sequence[bytes]) -> Sequence[bytes]:
    """The part of each text that is wanted."""
    return texts if wanted.partial is None else [_cut(text, wanted.partial) for text in texts]


def _other_fields(wanted: Section, head: bytes) -> bytes:
    root = Part(0)
    root.header = head
    root.body_start = root.end = len(head)
    ranges = section.ranges(root, _for_mail(wanted)) or []
    return b"".join([head[start:end] for start, end in ranges])


def of_data(wanted: Section, data: bytes, head_size: int, root: Part | None) -> bytes:
    """A section of a message in memory: a literal, or NIL. `root` where `needs_structure`."""
    if root is None:
        return literal(_cut(data if wanted.text is Text.WHOLE else data[head_size:], wanted.partial))
    found = section.ranges(root, _for_mail(wanted), lambda start, end: data[start:end])
    if found is None:
        return NIL
    if len(found) == 1 and wanted.partial is None:
        return literal(data[found[0][0] : found[0][1]])
    return literal(b"".join([data[start:end] for start, end in cut_ranges(found, wanted.partial)]))


def needs_structure(wanted: Section) -> bool:
    """Whether MIME parts have to be known."""
    return bool(wanted.part) or wanted.text not in (Text.WHOLE, Text.TEXT)


class Pieces(NamedTuple):
    """Octets of a large message, as ranges."""

    message: Message
    ranges: list[Range]

    @property
    def size(self) -> int:
        return sum(end - start for start, end in self.ranges)

    async def read(self) -> AsyncIterator[bytes]:
        """The octets. Where the stored message is too short, EOFError: the literal has promised more."""
        for start, end in self.ranges:
            while start < end:
                chunk = await self.message.read(start, min(CHUNK, end - start))
                if not chunk:
                    raise EOFError("a stored message is shorter than its row says")
                yield chunk
                start += len(chunk)


async def of_large(wanted: Section, email: int, message: Message, structures: Structures) -> Pieces | None:
    """The ranges of a section of a large message; None where there is no such part."""
    if not needs_structure(wanted):
        start = 0 if wanted.text is Text.WHOLE else len(message.head)
        return Pieces(message, cut_ranges([(start, message.size)], wanted.partial))
    root = await structures.of(email, message)
    found = section.ranges(root, _for_mail(wanted))
    return None if found is None else Pieces(message, cut_ranges(found, wanted.partial))


def cut_ranges(ranges: list[Range], partial: tuple[int, int] | None) -> list[Range]:
    """Octets `partial` of the octets in `ranges` taken as one run."""
    if partial is None:
        return ranges
    skip, left = partial
    found: list[Range] = []
    for start, end in ranges:
        passed = min(skip, end - start)
        skip -= passed
        taken = min(left, end - start - passed)
        if taken:
            found.append((start + passed, start + passed + taken))
            left -= taken
    return found


def _cut(octets: bytes, partial: tuple[int, int] | None) -> bytes:
    return octets if partial is None else octets[partial[0] : partial[0] + partial[1]]


def literal(octets: bytes) -> bytes:
    """The octets as a literal, which carries whatever a message holds."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def _for_mail(wanted: Section) -> section.Section:
    fields = tuple(field.decode("latin-1") for field in wanted.fields)
    return section.Section(wanted.part, wanted.text.value, fields)
