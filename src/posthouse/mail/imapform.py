"""ENVELOPE, BODYSTRUCTURE and BODY as IMAP's FETCH returns them (RFC 9051 §7.5.2, RFC 3501 §7.4.2).

All functions return octets that go on the wire as they are. Printable ASCII is written as a quoted
string, all else (8-bit octets, control characters, long values) as a literal, which every client must
understand; NUL, which IMAP cannot carry, is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice

from posthouse.mail import mailboxes
from posthouse.mail.header import ContentFields, HeaderIndex, unfold
from posthouse.mail.mime import PART_HEADER_LIMIT, Part, scan
from posthouse.mail.parameters import Parameters, without_comments

QUOTED_LIMIT = 1000
"""Octets of a quoted string at most; what is longer becomes a literal."""

PIECES_LIMIT = 30_000
"""How much is said of what a letter may have any number of: parameters, languages, signs in address lists.

A list is begun while there is room; those of what follows are NIL.
"""

LANGUAGES_LIMIT = 100
"""Languages of one part; what follows is passed over."""

_CACHED_LENGTH = 160
_PLAIN = re.compile(rb"[ !#-\[\]-~]*+\Z")
_PRINTABLE = re.compile(rb"[ -~]*+\Z")
_LETTERS = {("message", "rfc822"), ("message", "global")}
_LANGUAGE = re.compile(rb"[^\s,]++")
_EMPTY_PART = b'("text" "plain" NIL NIL NIL "7bit" 0 0'


def string(value: bytes) -> bytes:
    """A quoted string, or a literal."""
    if len(value) <= QUOTED_LIMIT:
        if _PLAIN.match(value):
            return b'"' + value + b'"'
        if _PRINTABLE.match(value):
            return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    value = value.replace(b"\0", b"")
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL."""
    return b"NIL" if value is None else string(value)


class _Room:
    """How many pieces may still be read and written."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces = PIECES_LIMIT

    def take(self, pieces: int) -> bool:
        """Whether there is room to begin a list of so many."""
        left = self.pieces
        self.pieces -= pieces
        return left > 0


def envelope(header: HeaderIndex) -> bytes:
    """The ENVELOPE of the letter with this header section.

    Fields that are missing are NIL; Sender and Reply-To are then From (RFC 9051 §7.5.2). Repeated
    address fields count as one long list, so that none can hide behind another.
    """
    return _envelope(header, _Room())


def _envelope(header: HeaderIndex, room: _Room) -> bytes:
    usual = header.usual
    sent_by = _addresses(usual["From"], room)
    sender = _addresses(usual["Sender"], room)
    reply_to = _addresses(usual["Reply-To"], room)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _text(usual["Date"]),
        _text(usual["Subject"]),
        sent_by,
        sent_by if sender == b"NIL" else sender,
        sent_by if reply_to == b"NIL" else reply_to,
        _addresses(usual["To"], room),
        _addresses(usual["Cc"], room),
        _addresses(usual["Bcc"], room),
        _text(usual["In-Reply-To"]),
        _text(usual["Message-ID"]),
    )


def _text(values: list[bytes]) -> bytes:
    """Of the fields of one name, the first."""
    return string(unfold(values[0])) if values else b"NIL"


def _addresses(values: list[bytes], room: _Room) -> bytes:
    """All fields of one name as one list."""
    if not values:
        return b"NIL"
    if len(values) == 1 and len(values[0]) <= _CACHED_LENGTH:
        signs, written = _usual_list(values[0])
        return written if room.take(signs) else b"NIL"
    value = b", ".join(map(unfold, values))
    return _list(value) if room.take(mailboxes.signs(value)) else b"NIL"


@lru_cache(maxsize=1024)
def _usual_list(as_written: bytes) -> tuple[int, bytes]:
    """Its signs, and the list: the same correspondents write again and again."""
    value = unfold(as_written)
    return mailboxes.signs(value), _list(value)


def _list(value: bytes) -> bytes:
    found = mailboxes.parse(value)
    if not found:
        return b"NIL"
    if len(found) == 1:
        return b"((%b %b %b %b))" % tuple(map(nstring, found[0]))
    return b"(" + b"".join([b"(%b %b %b %b)" % tuple(map(nstring, mailbox)) for mailbox in found]) + b")"


def bodystructure(part: Part) -> bytes:
    """BODYSTRUCTURE, with extension data."""
    return _structure(part, True, _Room())


def bodystructure_of(header: HeaderIndex, data: bytes) -> bytes:
    """The same of a letter in memory: `header` is of its head.

    Most letters have no parts, and most heads say of their content what others have said before.
    """
    fields = header.content
    short = sum([len(value) for _, value in fields]) <= _CACHED_LENGTH
    if short and len(header.head) <= PART_HEADER_LIMIT and not (fields and b"oundary" in fields[0][1]):
        usual = _usual_body(fields)
        if usual is not None:
            opening, text, closing = usual
            start = len(header.head)
            size = len(data) - start
            if text:
                lines = size - len(data[start:].replace(b"\n", b""))  # twice as fast as to count them
                return b"%b %d %d%b" % (opening, size, lines, closing)
            return b"%b %d%b" % (opening, size, closing)
    return bodystructure(scan(data, header))


@lru_cache(maxsize=1024)
def _usual_body(fields: ContentFields) -> tuple[bytes, bool, bytes] | None:
    """What stands before and behind the numbers of a body that is so described, and whether it is text.

    None: there may be parts in it.
    """
    part, room = Part(0), _Room()
    part.describe(fields)
    return None if part.divided else (_opening(part, room), part.type == "text", _closing(part, room))


def body(part: Part) -> bytes:
    """BODY, which is BODYSTRUCTURE without extension data."""
    return _structure(part, False, _Room())


def _structure(part: Part, extended: bool, room: _Room) -> bytes:
    if part.type == "multipart":
        # body-type-mpart = 1*body: a multipart in which there is nothing has one empty part.
        inner = b"".join([_structure(child, extended, room) for child in part.parts])
        inner = inner or _empty_part(extended)
        if not extended:
            return b"(%b %b)" % (inner, string(part.subtype.encode()))
        return b"(%b %b %b %b)" % (
            inner,
            string(part.subtype.encode()),
            _parameters(part.params, room),
            _disposition_to_location(part, room),
        )
    written = b"%b %d" % (_opening(part, room), part.size)
    if part.message is not None:
        written += b" %b %b %d" % (
            _envelope(HeaderIndex(part.message.header), room),
            _structure(part.message, extended, room),
            part.lines,
        )
    elif (part.type, part.subtype) in _LETTERS:
        # A letter of which there is not even a header, or one nested too deep to be looked into.
        written += b" (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) %b %d" % (_empty_part(extended), part.lines)
    elif part.type == "text":
        written += b" %d" % part.lines
    return written + (_closing(part, room) if extended else b")")


def _opening(part: Part, room: _Room) -> bytes:
    """A body that is not a multipart, up to its size."""
    return b"(%b %b %b %b %b %b" % (
        string(part.type.encode()),
        string(part.subtype.encode()),
        _parameters(part.params, room),
        nstring(part.id),
        nstring(part.description),
        string(part.encoding.encode()),
    )


def _closing(part: Part, room: _Room) -> bytes:
    """Its extension data."""
    return b" %b %b)" % (nstring(part.md5), _disposition_to_location(part, room))


def _empty_part(extended: bool) -> bytes:
    return _EMPTY_PART + (b" NIL NIL NIL NIL)" if extended else b")")


def _parameters(params: Parameters, room: _Room) -> bytes:
    if not params or not room.take(len(params)):
        return b"NIL"
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in params]) + b")"


def _disposition_to_location(part: Part, room: _Room) -> bytes:
    """The extension data that all bodies have in common: disposition, language, location."""
    if not part.disposition and part.language is None and part.location is None:
        return b"NIL NIL NIL"
    disposition = b"NIL"
    if part.disposition:
        disposition = b"(%b %b)" % (
            string(part.disposition.encode()),
            _parameters(part.disposition_parameters, room),
        )
    language = b"NIL"
    if part.language is not None and room.take(0):
        tags = islice(_LANGUAGE.finditer(without_comments(part.language)), LANGUAGES_LIMIT)
        languages = [string(tag[0]) for tag in tags]
        room.take(len(languages))
        language = b"(" + b" ".join(languages) + b")" if languages else b"NIL"
    return b"%b %b %b" % (disposition, language, nstring(part.location))
