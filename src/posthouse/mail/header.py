"""Header sections (RFC 5322 §2.2): find, count, remove and add fields; nothing is parsed unasked.

A header section is a run of octets in which each field begins a line and is continued by lines that
begin with white space. `HeaderIndex` searches it when asked; it never changes the octets. A space
before the colon (obsolete, RFC 5322 §4.5) is understood; a line that is no field is passed over. Both
CRLF and a bare LF end a line here, because a stored letter may come from elsewhere than SMTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

from posthouse.mail import charset, words

CONTENT = (
    "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID", "Content-Description",
    "Content-MD5", "Content-Language", "Content-Location",
)  # fmt: skip
"""Fields that say what a part is (RFC 2045 §3 and others)."""

USUAL = (
    "Bcc", "Cc", "Date", "Delivered-To", "From", "In-Reply-To", "Message-ID", "Received", "References",
    "Reply-To", "Sender", "Subject", "To", *CONTENT,
)  # fmt: skip
"""Fields that almost every letter is asked for: by its trace, its journey, its ENVELOPE and its structure."""

FIELDS_LIMIT = 1000
"""Fields that are found of those of `USUAL` together, and of any other name; what follows is passed over."""

_LONG = 16 * 1024
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:.*+(?:\n[ \t].*+)*+\n?", re.MULTILINE)
_NAMES = {name.lower().encode(): name for name in USUAL}
_AS_WRITTEN = _NAMES | {name.encode(): name for name in USUAL}
_VALUE = rb"[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
_USUAL = re.compile(rb"\n(" + b"|".join(sorted(_NAMES)) + rb")" + _VALUE, re.IGNORECASE)
_NONE: list[bytes] = []
_NO_FIELDS = dict.fromkeys(USUAL, _NONE)


@lru_cache(maxsize=256)
def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"\n(" + re.escape(name.encode("ascii", "replace")) + rb")" + _VALUE, re.IGNORECASE)


ContentFields: TypeAlias = tuple[tuple[str, bytes], ...]
"""Name, as in `CONTENT`, and value as it is written."""


class HeaderIndex:
    """Fields of a header section, searched for on demand. Names are compared without regard to case.

    The first question finds the fields of `USUAL` in one pass, since who asks for one of them is soon
    asked for another; any other field is searched for by itself.
    """

    __slots__ = ("_crowded", "_found", "head")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._found: dict[str, list[bytes]] | None = None
        self._crowded = False

    @property
    def usual(self) -> dict[str, list[bytes]]:
        """The values of all fields of `USUAL`, as `as_written` gives them. Not to be changed."""
        found = self._found
        if found is None:
            found = self._found = _NO_FIELDS.copy()
            fields = self._fields(_USUAL)
            self._crowded = len(fields) >= FIELDS_LIMIT
            for written, value in fields:
                known = _AS_WRITTEN.get(written) or _NAMES[written.lower()]
                values = found[known]
                if values is _NONE:
                    found[known] = [value]
                else:
                    values.append(value)
        return found

    def as_written(self, name: str) -> Sequence[bytes]:
        """The values of all such fields from top to bottom, to the octet as they are, but for the last LF."""
        found = self.usual
        some = found.get(name)
        if some is None:
            some = found[name] = [value for _, value in self._fields(_pattern(name))]
        return some

    def _fields(self, pattern: re.Pattern[bytes]) -> list[tuple[bytes, bytes]]:
        """Name and value of the fields that the pattern matches."""
        octets = b"\n" + self.head
        if len(octets) <= _LONG:
            return pattern.findall(octets)[:FIELDS_LIMIT]
        return [(match[1], match[2]) for match in islice(pattern.finditer(octets), FIELDS_LIMIT)]

    def first(self, name: str) -> bytes | None:
        """The value of the first such field, unfolded and stripped; None where there is none."""
        values = self.as_written(name)
        return unfold(values[0]) if values else None

    def all(self, name: str) -> list[bytes]:
        """The values of all such fields from top to bottom, unfolded and stripped."""
        return [unfold(value) for value in self.as_written(name)]

    def count(self, name: str) -> int:
        """How many such fields there are."""
        return len(self.as_written(name))

    @property
    def content(self) -> ContentFields:
        """Of the fields of `CONTENT`, those that are there: the first of each, as it is written."""
        usual = self.usual
        return tuple([(name, values[0]) for name in CONTENT if (values := usual[name])])

    @property
    def crowded(self) -> bool:
        """Whether there may be fields of `USUAL` that were passed over."""
        return bool(self.usual) and self._crowded

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
    return words.decode(charset.eight_bit(raw))


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
