"""What FETCH asks for: its items, their grammar, and the names they are answered under (RFC 3501 §6.4.5).

`RFC822`, `RFC822.HEADER` and `RFC822.TEXT` are sections like `BODY[…]`, answered under their own name.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from posthouse.protocol.imap.sequence import LARGEST
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, quoted


class Item(Enum):
    """Items without arguments; the value is the name on the wire."""

    FLAGS = "FLAGS"
    UID = "UID"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    MODSEQ = "MODSEQ"  # RFC 7162 §3.1.4.2
    EMAILID = "EMAILID"  # RFC 8474 §5.3
    THREADID = "THREADID"
    SAVEDATE = "SAVEDATE"  # RFC 8514 §4.2

    __hash__ = object.__hash__  # items are keys of what is remembered of each FETCH


class Text(Enum):
    """What of a part is meant (RFC 3501 §9, section-text); the value is the name on the wire."""

    WHOLE = ""
    HEADER = "HEADER"
    FIELDS = "HEADER.FIELDS"
    FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"

    __hash__ = object.__hash__


class Section(NamedTuple):
    """Octets of a message: `BODY[1.2.HEADER.FIELDS (From)]<0.512>`."""

    part: tuple[int, ...] = ()
    text: Text = Text.WHOLE
    fields: tuple[bytes, ...] = ()
    partial: tuple[int, int] | None = None
    """First octet and greatest number of octets."""
    peek: bool = False
    """Does not set \\Seen."""
    name: bytes = b""
    """RFC822 and its like: the name it is answered under; empty for BODY[…]."""

    def label(self) -> bytes:
        """The name of the answer, up to the string."""
        if self.name:
            return self.name
        pieces = [str(number).encode() for number in self.part]
        if self.text is not Text.WHOLE:
            pieces.append(self.text.value.encode())
        label = b"BODY[" + b".".join(pieces)
        if self.text in (Text.FIELDS, Text.FIELDS_NOT):
            label += b" (" + b" ".join(_astring(field) for field in self.fields) + b")"
        label += b"]"
        return label if self.partial is None else label + b"<%d>" % self.partial[0]


class Binary(NamedTuple):
    """A part without its transfer encoding: `BINARY[1.2]<0.512>` and `BINARY.SIZE[1.2]` (RFC 3516 §4.2)."""

    part: tuple[int, ...]
    partial: tuple[int, int] | None = None
    """First octet and greatest number of octets, decoded."""
    peek: bool = True
    size_only: bool = False

    def label(self) -> bytes:
        """The name of the answer, up to its value."""
        name = b"BINARY.SIZE" if self.size_only else b"BINARY"
        label = b"%b[%b]" % (name, b".".join([b"%d" % number for number in self.part]))
        return label if self.partial is None else label + b"<%d>" % self.partial[0]


class Preview(NamedTuple):
    """PREVIEW (RFC 8970 §3): how the text begins."""

    lazy: bool = False
    """Only where it takes no reading of large messages."""


FetchItem: TypeAlias = Item | Section | Binary | Preview

_MACROS: dict[str, tuple[FetchItem, ...]] = {
    "FAST": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE),
    "ALL": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE, Item.ENVELOPE),
    "FULL": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE, Item.ENVELOPE, Item.BODY),
}
_PLAIN: dict[str, FetchItem] = {
    **{item.value: item for item in Item},
    "RFC822": Section(name=b"RFC822"),
    "RFC822.HEADER": Section(text=Text.HEADER, peek=True, name=b"RFC822.HEADER"),
    "RFC822.TEXT": Section(text=Text.TEXT, name=b"RFC822.TEXT"),
}
_BINARY = ("BINARY", "BINARY.PEEK", "BINARY.SIZE")
_TEXTS = {text.value: text for text in Text if text.value}
_NAME = re.compile(rb"[A-Za-z0-9.]+")
_LAZY = re.compile(rb" \(LAZY(?: LAZY)*+\)", re.IGNORECASE)
_PARTS = re.compile(rb"[0-9]{1,10}(?:\.[0-9]{1,10})*")
_SECTION_TEXT = re.compile(rb"[A-Za-z.]+")
_PLAIN_FIELD = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
_DEEPEST_PART = 100
MOST_ITEMS = 256
_REMEMBERED_LENGTH = 300


def parse_fetch_items(parser: Parser) -> tuple[FetchItem, ...]:
    """The items of FETCH: a macro, one item, or a list in parentheses."""
    known = known_items(bytes(parser.data[parser.position :]))
    if known is not None:
        parser.position = len(parser.data)
        return known
    return _items(parser)


def known_items(octets: bytes) -> tuple[FetchItem, ...] | None:
    """The items that some octets are, nothing else; None where they are more, or break the grammar."""
    return _whole(octets) if len(octets) <= _REMEMBERED_LENGTH else None


def parse_fetch_list(parser: Parser) -> tuple[FetchItem, ...]:
    """Items in parentheses, with something behind them."""
    return tuple(dict.fromkeys(parser.listed(lambda: _item(parser), empty=False)))


@lru_cache(maxsize=256)
def _whole(octets: bytes) -> tuple[FetchItem, ...] | None:
    """Octets that are items and nothing else; clients ask for the same ones again and again."""
    parser = Parser(octets)
    try:
        items = _items(parser)
        parser.end()
    except SyntaxProblem:
        return None
    return items


def _items(parser: Parser) -> tuple[FetchItem, ...]:
    if parser.next_is(b"("):
        items = parser.listed(lambda: _item(parser), empty=False)
        if len(items) > MOST_ITEMS:
            raise SyntaxProblem("Too many items")
        return tuple(dict.fromkeys(items))
    start = parser.position
    name = _name(parser)
    if name in _MACROS:
        return _MACROS[name]
    parser.position = start
    return (_item(parser),)


def _name(parser: Parser) -> str:
    found = _NAME.match(parser.data, parser.position)
    if found is None:
        raise SyntaxProblem(f"Expected a FETCH item at octet {parser.position + 1}")
    parser.position = found.end()
    return found.group().decode("ascii").upper()


def _item(parser: Parser) -> FetchItem:
    name = _name(parser)
    if name in ("BODY", "BODY.PEEK") and parser.skip(b"["):
        return _section(parser, peek=name == "BODY.PEEK")
    if name in _BINARY and parser.skip(b"["):
        part = _part(parser)
        parser.expect(b"]")
        size_only = name == "BINARY.SIZE"
        return Binary(part, None if size_only else _partial(parser), name != "BINARY", size_only)
    if name == "PREVIEW":
        found = _LAZY.match(parser.data, parser.position)
        parser.position = found.end() if found else parser.position
        return Preview(found is not None)
    item = _PLAIN.get(name)
    if item is None:
        raise SyntaxProblem(f"Unknown FETCH item {name}")
    return item


def _part(parser: Parser) -> tuple[int, ...]:
    """The number of a part; empty where there is none."""
    numbers = _PARTS.match(parser.data, parser.position)
    if numbers is None:
        return ()
    parser.position = numbers.end()
    digits = numbers.group().split(b".")
    part = tuple(map(int, digits))
    if max(part) > LARGEST or len(part) > _DEEPEST_PART or any(map(_begins_with_zero, digits)):
        raise SyntaxProblem("There is no such part")
    return part


def _begins_with_zero(digits: bytes) -> bool:
    return digits.startswith(b"0")  # RFC 9051 §9, nz-number


def _section(parser: Parser, *, peek: bool) -> Section:
    part = _part(parser)
    text = Text.WHOLE
    if (part and parser.skip(b".")) or (not part and not parser.next_is(b"]")):
        text = _section_text(parser, part)
    fields: tuple[bytes, ...] = ()
    if text in (Text.FIELDS, Text.FIELDS_NOT):
        parser.space()
        fields = tuple(parser.listed(parser.astring, empty=False))
    parser.expect(b"]")
    return Section(part, text, fields, _partial(parser), peek)


def _section_text(parser: Parser, part: tuple[int, ...]) -> Text:
    found = _SECTION_TEXT.match(parser.data, parser.position)
    text = _TEXTS.get(found.group().decode("ascii").upper()) if found else None
    if found is None or text is None or (text is Text.MIME and not part):
        raise SyntaxProblem("Unknown section")
    parser.position = found.end()
    return text


def _partial(parser: Parser) -> tuple[int, int] | None:
    if not parser.skip(b"<"):
        return None
    start = parser.number64()
    parser.expect(b".")
    length = parser.number64()
    if length == 0:
        raise SyntaxProblem("A partial fetch needs a length above zero")
    parser.expect(b">")
    return start, length


def _astring(value: bytes) -> bytes:
    return value if _PLAIN_FIELD.fullmatch(value) else quoted(value)
