"""Header sections (RFC 5322 §2.2): find, count, remove and add fields; nothing is parsed unasked.

A header section is a run of octets in which each field begins a line and is continued by lines that
begin with white space. `HeaderIndex` searches it when asked; it never changes the octets. A space
before the colon (obsolete, RFC 5322 §4.5) is understood; a line that is no field is passed over. Both
CRLF and a bare LF end a line here, because a stored letter may come from elsewhere than SMTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from posthouse.mail import words

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:.*+(?:\n[ \t].*+)*+\n?", re.MULTILINE)


class HeaderIndex:
    """Fields of a header section, searched for on demand. Names are compared without regard to case."""

    __slots__ = ("_lowered", "head")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._lowered = b"\n" + head.lower()

    def _values(self, name: str) -> Iterator[tuple[int, int, int]]:
        """Start of the field, start of its value and end of the field (after its line end), for each."""
        lowered = self._lowered  # one octet longer than the head, at its front
        wanted = b"\n" + name.lower().encode("ascii", "replace")
        length = len(wanted)
        at = lowered.find(wanted)
        while at >= 0:
            colon = at + length
            if lowered[colon : colon + 1] != b":":
                while lowered[colon : colon + 1] in (b" ", b"\t"):
                    colon += 1
                if lowered[colon : colon + 1] != b":":
                    at = lowered.find(wanted, at + 1)
                    continue
            end = lowered.find(b"\n", colon)
            while end >= 0 and lowered[end + 1 : end + 2] in (b" ", b"\t"):
                end = lowered.find(b"\n", end + 1)
            if end < 0:
                yield at, colon, len(self.head)
                return
            yield at, colon, end
            at = lowered.find(wanted, end)

    def first(self, name: str) -> bytes | None:
        """The value of the first such field, unfolded and stripped; None where there is none."""
        for _, value, end in self._values(name):
            return unfold(self.head[value:end])
        return None

    def all(self, name: str) -> list[bytes]:
        """The values of all such fields from top to bottom, unfolded and stripped."""
        return [unfold(self.head[value:end]) for _, value, end in self._values(name)]

    def count(self, name: str) -> int:
        """How many such fields there are."""
        return sum(1 for _ in self._values(name))

    @property
    def fields(self) -> list[tuple[bytes, int, int]]:
        """Name as written, start and end (line end included) of each field, in order."""
        return [(match[1], match.start(), match.end()) for match in _FIELD.finditer(self.head)]


def unfold(value: bytes) -> bytes:
    """A field's value on one line (RFC 5322 §2.2.3), without white space around it."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip()


def field_value_text(raw: bytes) -> str:
    """What a value says: encoded words decoded, other 8-bit octets read as UTF-8 or Windows-1252."""
    return words.decode(words.eight_bit(raw))


def remove_fields(head: bytes, names: Iterable[str]) -> bytes:
    """The header section without the fields of these names; all else to the octet as it was."""
    unwanted = {name.lower().encode() for name in names}
    kept: list[bytes] = []
    position = 0
    for name, start, end in HeaderIndex(head).fields:
        if name.lower() in unwanted:
            kept.append(head[position:start])
            position = end
    kept.append(head[position:])
    return b"".join(kept)


def add_fields(head: bytes, lines: bytes) -> bytes:
    """The header section with whole fields (each ended by CRLF) put before the empty line that ends it."""
    if head == b"\r\n" or head.endswith(b"\n\r\n"):
        return head[:-2] + lines + b"\r\n"
    if not head or head.endswith(b"\n"):
        return head + lines
    return head + b"\r\n" + lines
