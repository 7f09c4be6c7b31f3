"""The lexical grammar of IMAP: a bounded parser over one whole command, and the writing of strings.

`Parser` reads one command as it came on the wire, literals included (`{3}\\r\\nabc`); the messages of
APPEND are not among them, they are streamed (see `framing`). Each method takes one production of
RFC 3501 §9 at the current position, moves on and returns its value, or raises `SyntaxProblem`, whose
text goes to the client with BAD. Nothing backtracks over more than one production, so the time is
linear in the length of the command; nesting is bounded by the callers.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import TypeVar

from posthouse.protocol.imap import utf7
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.sequence import LARGEST, STAR, SequenceSet, parse_sequence_set

T = TypeVar("T")

ATOM = rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+'
TAG = rb'[^\x00-\x20(){%*"\\+\x7f-\xff]+'
_ATOM = re.compile(ATOM)
_ASTRING = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+')
_TAG = re.compile(TAG)
_LIST_MAILBOX = re.compile(rb'[^\x00-\x20(){"\\\x7f-\xff]+')
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"\{([0-9]{1,10})\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_PARTIAL = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})")
_SEQUENCE = re.compile(rb"[0-9*:,$]+")
_FLAG = re.compile(rb'\\?[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1(?=[ )\r]|$)')
# One digit is none of the grammar's days, but there are clients that write it.
_DATE_TIME = re.compile(
    rb'"([ 0-9]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_SPECIAL = re.compile(rb'[\x00\r\n\x80-\xff"\\]')
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_LARGEST_NUMBER64 = 2**63 - 1

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
_SYSTEM_FLAGS = {flag.lower(): flag for flag in SYSTEM_FLAGS}


class SyntaxProblem(ValueError):
    """A command that does not follow the grammar; answered with BAD."""


class LiteralExpected(SyntaxProblem):
    """The text ends where a string would stand: it may go on with a literal."""

    def __init__(self) -> None:
        super().__init__("Missing argument")


class Parser:
    """A cursor over the octets of one command, without the CRLF that ends it."""

    __slots__ = ("data", "enabled", "position")

    def __init__(self, data: bytes, position: int = 0, enabled: Enabled | None = None) -> None:
        self.data = data
        self.position = position
        self.enabled = enabled or Enabled()

    # Structure

    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def end(self) -> None:
        """Nothing may follow."""
        if self.position < len(self.data):
            raise SyntaxProblem("Too much after the last argument")

    def next_is(self, octets: bytes) -> bool:
        return self.data.startswith(octets, self.position)

    def skip(self, octets: bytes) -> bool:
        """Moves over `octets` if they come next."""
        if self.data.startswith(octets, self.position):
            self.position += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        if not self.skip(octets):
            raise SyntaxProblem(f"Expected {octets.decode()!r} at octet {self.position + 1}")

    def space(self) -> None:
        if not self.skip(b" "):
            raise SyntaxProblem(
                "Missing argument" if self.at_end() else f"Expected a space at octet {self.position + 1}"
            )

    def listed(self, item: Callable[[], T], *, empty: bool = True) -> list[T]:
        """`(` items parted by single spaces `)`."""
        self.expect(b"(")
        items: list[T] = []
        if self.skip(b")"):
            if not empty:
                raise SyntaxProblem("The list must not be empty")
            return items
        items.append(item())
        while not self.skip(b")"):
            self.space()
            items.append(item())
        return items

    def _match(self, pattern: re.Pattern[bytes], name: str) -> re.Match[bytes]:
        found = pattern.match(self.data, self.position)
        if found is None:
            raise SyntaxProblem(f"Expected {name} at octet {self.position + 1}")
        self.position = found.end()
        return found

    # Strings

    def tag(self) -> bytes:
        return self._match(_TAG, "a tag").group()

    def atom(self) -> bytes:
        return self._match(_ATOM, "an atom").group()

    def word(self) -> str:
        """An atom that is a name of the protocol, in capitals."""
        return self.atom().decode("ascii").upper()

    def at_string(self) -> bool:
        return self.next_is(b'"') or self.next_is(b"{")

    def string(self) -> bytes:
        """A quoted string or a literal."""
        if self.next_is(b"{"):
            return self._literal()
        value = self._match(_QUOTED, "a string").group(1)
        if not value.isascii():
            _must_be_utf8(value)
        return _ESCAPE.sub(rb"\1", value) if b"\\" in value else value

    def nstring8(self) -> bytes | None:
        """The same, or a literal8, in which NUL may be (RFC 3516 §5)."""
        if self.skip(b"~"):
            return self._literal(nul=True)
        return self.nstring()

    def _literal(self, *, nul: bool = False) -> bytes:
        found = self._match(_LITERAL, "a literal")
        start, length = found.end(), int(found.group(1))
        if start + length > len(self.data):
            raise SyntaxProblem("The literal is cut short")
        self.position = start + length
        value = self.data[start : self.position]
        if b"\0" in value and not nul:
            raise SyntaxProblem("NUL is not allowed in a literal")  # RFC 3501 §9, CHAR8
        return value

    def astring(self) -> bytes:
        return self.string() if self.at_string() else self._match(_ASTRING, "a string").group()

    def nstring(self) -> bytes | None:
        if self.at_string():
            return self.string()
        if self.word() != "NIL":
            raise SyntaxProblem("Expected a string or NIL")
        return None

    def text(self) -> str:
        """An astring in UTF-8 (login names and passwords)."""
        try:
            return self.astring().decode("utf-8")
        except UnicodeDecodeError:
            raise SyntaxProblem("Expected UTF-8") from None

    # Mailbox names

    def mailbox(self) -> str:
        """A mailbox name, decoded; INBOX in capitals whatever its case (RFC 3501 §5.1)."""
        return _mailbox_name(self._decoded(self.astring()))

    def list_mailbox(self) -> str:
        """A pattern of LIST, decoded."""
        octets = self.string() if self.at_string() else self._match(_LIST_MAILBOX, "a pattern").group()
        return self._decoded(octets)

    def _decoded(self, octets: bytes) -> str:
        """RFC 6855 §3: a name with 8-bit octets is in UTF-8, whether that has been enabled or not."""
        try:
            return (
                octets.decode("utf-8") if self.enabled.utf8 or not octets.isascii() else utf7.decode(octets)
            )
        except ValueError:
            form = "UTF-8" if self.enabled.utf8 else "modified UTF-7"
            raise SyntaxProblem(f"The mailbox name is not in {form}") from None

    # Numbers and dates

    def number64(self) -> int:
        """A number below 2^63: sizes and offsets (RFC 9051 §9)."""
        value = int(self._match(_NUMBER, "a number").group())
        if value > _LARGEST_NUMBER64:
            raise SyntaxProblem("The number is too large")
        return value

    def at_sequence_set(self) -> bool:
        return _SEQUENCE.match(self.data, self.position) is not None

    def sequence_set(self) -> SequenceSet:
        octets = self._match(_SEQUENCE, "a sequence set").group()
        try:
            return parse_sequence_set(octets)
        except ValueError as problem:
            raise SyntaxProblem(str(problem)) from None

    def number_set(self) -> SequenceSet:
        """Numbers alone, neither `$` nor `*`."""
        numbers = self.sequence_set()
        if numbers.has_saved or any(STAR in bounds for bounds in numbers.ranges):
            raise SyntaxProblem("Expected a set of numbers")
        return numbers

    def partial_range(self) -> tuple[int, int]:
        """`partial-range` of RFC 9394 §4: places counted from the first, or with minus from the last."""
        found = self._match(_PARTIAL, "a range such as 1:100 or -1:-100")
        if found[1] != found[3]:
            raise SyntaxProblem("A range counts from one end")
        first, last = int(found[2]), int(found[4])
        if max(first, last) > LARGEST:
            raise SyntaxProblem("The number is too large")
        return (-first, -last) if found[1] else (first, last)

    def date(self) -> datetime.date:
        """`date` of RFC 3501 §9: a day without time or zone."""
        found = self._match(_DATE, "a date such as 1-Feb-2003")
        try:
            return datetime.date(int(found.group(4)), _month(found.group(3)), int(found.group(2)))
        except ValueError:
            raise SyntaxProblem("There is no such date") from None

    def date_time(self) -> float:
        """`date-time` of RFC 3501 §9, as seconds since 1970-01-01 UTC."""
        found = self._match(_DATE_TIME, 'a date and time such as " 1-Feb-2003 04:05:06 +0700"')
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
        offset = datetime.timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        try:
            moment = datetime.datetime(
                int(year), _month(month), int(day), int(hour), int(minute), min(int(second), 59),
                tzinfo=datetime.timezone(-offset if sign == b"-" else offset),
            )  # fmt: skip
            return moment.astimezone(datetime.UTC).timestamp()  # which has years 1 to 9999 too
        except (ValueError, OverflowError):
            raise SyntaxProblem("There is no such date and time") from None

    # Flags

    def flag(self) -> str:
        """A system flag in its usual spelling, or a keyword as the client spells it."""
        text = self._match(_FLAG, "a flag").group().decode("ascii")
        if text[0] != "\\":
            return text
        known = _SYSTEM_FLAGS.get(text.lower())
        if known is None:
            raise SyntaxProblem(f"There is no flag {text} that a client can set")
        return known

    def attribute(self) -> str:
        """`\\Sent` and its like, as the client spells it."""
        self.expect(b"\\")
        return "\\" + self.atom().decode("ascii")

    def flag_list(self) -> tuple[str, ...]:
        return tuple(self.listed(self.flag))


def read_tag(octets: bytes) -> bytes:
    """The tag of a command, or `*` where it has none: what its BAD is answered under."""
    try:
        parser = Parser(octets)
        tag = parser.tag()
        return tag if parser.next_is(b" ") or parser.at_end() else b"*"
    except SyntaxProblem:
        return b"*"


def _must_be_utf8(octets: bytes) -> None:
    """RFC 6855 §3: what a quoted string may hold beyond ASCII."""
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxProblem("A quoted string is in UTF-8; what is not comes as a literal") from None


def _month(name: bytes) -> int:
    return _MONTHS.index(name.lower()) + 1


def _mailbox_name(name: str) -> str:
    if name[:5].lower() == "inbox" and (len(name) == 5 or name[5] == "/"):
        return "INBOX" + name[5:]
    return name


def quoted(value: bytes) -> bytes:
    """`value` as a string: quoted, or a literal where quoting cannot hold it (RFC 3501 §4.3)."""
    if _SPECIAL.search(value) is None and len(value) < 1024:
        return b'"' + value + b'"'
    if value.isascii() and len(value) < 1024 and not set(value) & {0, 10, 13}:
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(value), value)


def mailbox_octets(name: str, enabled: Enabled) -> bytes:
    """A mailbox name as a string on the wire: in UTF-8 for those who can read it, else in modified UTF-7."""
    if not enabled.utf8:
        return quoted(utf7.encode(name))
    value = name.encode()
    if len(value) < 1024 and not set(value) & {0, 10, 13}:
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(value), value)
