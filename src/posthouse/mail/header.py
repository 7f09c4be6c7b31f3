"""Header sections (RFC 5322 §2.2): find, count, remove and add fields; nothing is parsed unasked.

A header section is a run of octets in which each field begins a line and is continued by lines that
begin with white space. `HeaderIndex` searches it when asked; it never changes the octets. A space
before the colon (obsolete, RFC 5322 §4.5) is understood; a line that is no field is passed over. Both
CRLF and a bare LF end a line here, because a stored letter may come from elsewhere than SMTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

from posthouse.mail import charset, words

USUAL = (
    "Bcc", "Cc", "Date", "Delivered-To", "From", "In-Reply-To", "Message-ID", "Received", "References",
    "Reply-To", "Sender", "Subject", "To",
)  # fmt: skip
"""Fields that almost every letter is asked for: by its trace, its journey and its ENVELOPE."""

FIELDS_LIMIT = 1000
"""Fields that are found of those of `USUAL` together, and of any other name; what follows is passed over."""

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:.*+(?:\n[ \t].*+)*+\n?", re.MULTILINE)
_NAMES = {name.lower().encode(): name for name in USUAL}
_USUAL = re.compile(rb"\n(" + b"|".join(sorted(_NAMES)) + rb")[ \t]*+:")
_END = re.compile(rb"\n(?![ \t])")
_NONE: list[tuple[int, int]] = []
_NO_FIELDS = dict.fromkeys(USUAL, _NONE)


@lru_cache(maxsize=256)
def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"\n(" + re.escape(name.lower().encode("ascii", "replace")) + rb")[ \t]*+:")


class HeaderIndex:
    """Fields of a header section, searched for on demand. Names are compared without regard to case.

    The first question finds the fields of `USUAL` in one pass, since who asks for one of them is soon
    asked for another; any other field is searched for by itself.
    """

    __slots__ = ("_lowered", "_usual", "head")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._lowered = b""
        self._usual: dict[str, list[tuple[int, int]]] | None = None

    def _spans(self, name: str) -> Sequence[tuple[int, int]]:
        """Where the value of each such field begins and ends."""
        usual = self._usual
        spans: list[tuple[int, int]] | None
        if usual is None:
            self._lowered = b"\n" + self.head.lower()  # one octet longer than the head, at its front
            usual = self._usual = _NO_FIELDS.copy()
            for found, start, end in self._search(_USUAL):
                spans = usual[_NAMES[found]]
                if spans is _NONE:
                    spans = usual[_NAMES[found]] = []
                spans.append((start, end))
        spans = usual.get(name)
        if spans is None:
            spans = usual[name] = [(start, end) for _, start, end in self._search(_pattern(name))]
        return spans

    def _search(self, pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, int, int]]:
        """Name, start and end of the value of each field that the pattern matches."""
        lowered = self._lowered
        for match in islice(pattern.finditer(lowered), FIELDS_LIMIT):
            colon = match.end() - 1
            end = lowered.find(b"\n", colon)
            if end >= 0 and lowered.startswith((b" ", b"\t"), end + 1):
                last = _END.search(lowered, end + 1)  # there may be many folds
                end = -1 if last is None else last.start()
            yield match[1], colon, len(self.head) if end < 0 else end

    def first(self, name: str) -> bytes | None:
        """The value of the first such field, unfolded and stripped; None where there is none."""
        spans = self._spans(name)
        if not spans:
            return None
        start, end = spans[0]
        return unfold(self.head[start:end])

    def all(self, name: str) -> list[bytes]:
        """The values of all such fields from top to bottom, unfolded and stripped."""
        spans = self._spans(name)
        if not spans:
            return []
        return [unfold(self.head[start:end]) for start, end in spans]

    def count(self, name: str) -> int:
        """How many such fields there are."""
        return len(self._spans(name))

    @property
    def crowded(self) -> bool:
        """Whether there may be fields of `USUAL` that were passed over."""
        self._spans(USUAL[0])
        usual = self._usual or {}
        return sum([len(usual[name]) for name in USUAL]) >= FIELDS_LIMIT

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
