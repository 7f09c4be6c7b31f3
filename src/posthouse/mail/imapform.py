"""ENVELOPE, BODYSTRUCTURE and BODY as IMAP's FETCH returns them (RFC 9051 §7.5.2, RFC 3501 §7.4.2).

All functions return octets that go on the wire as they are. Printable ASCII is written as a quoted
string, all else (8-bit octets, control characters, long values) as a literal, which every client must
understand; NUL, which IMAP cannot carry, is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache

from posthouse.mail import mailboxes
from posthouse.mail.header import HeaderIndex
from posthouse.mail.mime import Part
from posthouse.mail.parameters import Parameters, without_comments

QUOTED_LIMIT = 1000
"""Octets of a quoted string at most; what is longer becomes a literal."""

NESTED_ADDRESSES_LIMIT = 256 * 1024
"""Octets of address lists in letters within a letter that are read; the lists of what follows are NIL."""

_CACHED_LENGTH = 120
_ADDRESS_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc")
_PLAIN = re.compile(rb"[ !#-\[\]-~]*+\Z")
_PRINTABLE = re.compile(rb"[ -~]*+\Z")
_LETTERS = {("message", "rfc822"), ("message", "global")}
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
    """How much may still be read of the address lists of nested letters."""

    __slots__ = ("octets",)

    def __init__(self) -> None:
        self.octets = NESTED_ADDRESSES_LIMIT

    def take(self, header: HeaderIndex) -> bool:
        """Whether those of one more letter may be read."""
        self.octets -= sum(len(value) for name in _ADDRESS_FIELDS for value in header.all(name))
        return self.octets >= 0


def envelope(header: HeaderIndex) -> bytes:
    """The ENVELOPE of the letter with this header section.

    Fields that are missing are NIL; Sender and Reply-To are then From (RFC 9051 §7.5.2). Repeated
    address fields count as one long list, so that none can hide behind another.
    """
    sent_by = _addresses(header, "From")
    sender = _addresses(header, "Sender")
    reply_to = _addresses(header, "Reply-To")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(header.first("Date")),
        nstring(header.first("Subject")),
        sent_by,
        sent_by if sender == b"NIL" else sender,
        sent_by if reply_to == b"NIL" else reply_to,
        _addresses(header, "To"),
        _addresses(header, "Cc"),
        _addresses(header, "Bcc"),
        nstring(header.first("In-Reply-To")),
        nstring(header.first("Message-ID")),
    )


def _without_addresses(header: HeaderIndex) -> bytes:
    """The ENVELOPE of a letter whose addresses are not looked at."""
    fields = (nstring(header.first(name)) for name in ("Date", "Subject", "In-Reply-To", "Message-ID"))
    return b"(%b %b NIL NIL NIL NIL NIL NIL %b %b)" % tuple(fields)


def _addresses(header: HeaderIndex, name: str) -> bytes:
    values = header.all(name)
    if not values:
        return b"NIL"
    value = values[0] if len(values) == 1 else b", ".join(values)
    return _usual_list(value) if len(value) <= _CACHED_LENGTH else _list(value)


@lru_cache(maxsize=1024)
def _usual_list(value: bytes) -> bytes:
    """The same correspondents write again and again."""
    return _list(value)


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
            _parameters(part.params),
            _disposition_to_location(part),
        )
    written = b"(%b %b %b %b %b %b %d" % (
        string(part.type.encode()),
        string(part.subtype.encode()),
        _parameters(part.params),
        nstring(part.id),
        nstring(part.description),
        string(part.encoding.encode()),
        part.end - part.body_start,
    )
    if part.message is not None:
        header = HeaderIndex(part.message.header)
        written += b" %b %b %d" % (
            envelope(header) if room.take(header) else _without_addresses(header),
            _structure(part.message, extended, room),
            part.lines,
        )
    elif (part.type, part.subtype) in _LETTERS:
        # A letter of which there is not even a header, or one nested too deep to be looked into.
        written += b" (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) %b %d" % (_empty_part(extended), part.lines)
    elif part.type == "text":
        written += b" %d" % part.lines
    if extended:
        written += b" %b %b" % (nstring(part.md5), _disposition_to_location(part))
    return written + b")"


def _empty_part(extended: bool) -> bytes:
    return _EMPTY_PART + (b" NIL NIL NIL NIL)" if extended else b")")


def _parameters(params: Parameters) -> bytes:
    if not params:
        return b"NIL"
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in params]) + b")"


def _disposition_to_location(part: Part) -> bytes:
    """The extension data that all bodies have in common: disposition, language, location."""
    if not part.disposition and part.language is None and part.location is None:
        return b"NIL NIL NIL"
    disposition = b"NIL"
    if part.disposition:
        disposition = b"(%b %b)" % (
            string(part.disposition.encode()),
            _parameters(part.disposition_parameters),
        )
    languages = [tag for tag in re.split(rb"[\s,]+", without_comments(part.language or b"")) if tag]
    language = b"(" + b" ".join(map(string, languages)) + b")" if languages else b"NIL"
    return b"%b %b %b" % (disposition, language, nstring(part.location))
