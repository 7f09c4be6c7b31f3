"""What an IMAP server says, as a client reads it (RFC 9051 §7, RFC 3501 §7): strict, and bounded.

    * 3 FETCH (UID 7 BODY[] {300}␍␊ … 300 octets … FLAGS (\\Seen))␍␊

Octets of a message body, the one thing that may be large, pass through in pieces (`Octets`) before the
response that they belong to; everything else is small and comes whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from posthouse.protocol.lines import LineBuffer, LineError

LINE_LIMIT: Final = 1024 * 1024
"""Octets of a line: an old server tells UIDs of a mailbox in one."""
LITERAL_LIMIT: Final = 64 * 1024
RESPONSE_LIMIT: Final = 2 * 1024 * 1024
BODY_LIMIT: Final = 2 * 1024 * 1024 * 1024
DEPTH_LIMIT: Final = 32

Token: TypeAlias = "bytes | list[Token] | None"
"""An atom or a string, NIL, or a list."""


class ImapProtocolError(Exception):
    """The server does not speak IMAP; the connection is of no more use."""


class Octets(NamedTuple):
    """A piece of the body that the next `Data` is about."""

    octets: bytes


class Data(NamedTuple):
    """An untagged response: `number` and `name` as in `3 FETCH`, and what follows. A body that passed
    through stands as an empty string."""

    name: str
    number: int
    tokens: list[Token]


class Status(NamedTuple):
    """OK, NO, BAD, BYE or PREAUTH; `tag` is empty where it is untagged, `+` where the server waits."""

    tag: str
    status: str
    code: str
    """The response code without its brackets; empty: none."""
    text: str


Response: TypeAlias = "Octets | Data | Status"

_LITERAL = re.compile(rb"\{(\d{1,12})\}\Z")
_BODY = re.compile(rb"\* \d+ FETCH \(.*BODY\[\] \{\d+\}\Z", re.I | re.S)
_STATUS = re.compile(
    rb"(\*|\+|[A-Za-z0-9]{1,30}) (?:(OK|NO|BAD|BYE|PREAUTH)(?: |\Z))?(?:\[([^\r\n\]]*)\] ?)?(.*)\Z",
    re.I | re.S,
)
_NUMBERED = re.compile(rb"\* (\d{1,10}) ([A-Z]+)(?: |\Z)", re.I)
_NAMED = re.compile(rb"\* ([A-Z-]+)(?: |\Z)", re.I)
_TOKEN = re.compile(rb' *(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|([^ ()"{\x00-\x1f]+))', re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)


class ResponseReader:
    """Octets in, responses out. Raises ImapProtocolError."""

    def __init__(self) -> None:
        self._buffer = LineBuffer()
        self._pieces: list[bytes | _Literal] = []
        self._held = 0
        self._literal: _Literal | None = None

    def receive(self, octets: bytes) -> None:
        """Take what has arrived."""
        self._buffer.feed(octets)

    def next(self) -> Response | None:
        """The next response, or None until more has arrived."""
        while True:
            if self._literal is not None:
                piece = self._read_literal(self._literal)
                if piece is not None:
                    return piece
                if self._literal is not None:
                    return None
            try:
                line = self._buffer.next_line(LINE_LIMIT)
            except LineError as error:
                raise ImapProtocolError("a line is too long, or ends strangely") from error
            if line is None:
                return None
            self._hold(line)
            match = _LITERAL.search(line)
            if match is None:
                pieces, self._pieces, self._held = self._pieces, [], 0
                return _parse(pieces)
            self._begin_literal(int(match[1]), line)

    def _hold(self, octets: bytes) -> None:
        self._pieces.append(octets)
        self._held += len(octets)
        if self._held > RESPONSE_LIMIT:
            raise ImapProtocolError("a response is too long")

    def _begin_literal(self, size: int, line: bytes) -> None:
        self._pieces[-1] = line[: line.rindex(b"{")]
        before = b"".join(piece for piece in self._pieces if isinstance(piece, bytes))
        is_body = _BODY.match(before + b"{0}") is not None
        if size > (BODY_LIMIT if is_body else LITERAL_LIMIT):
            raise ImapProtocolError(f"a literal of {size} octets is too long")
        self._literal = _Literal(size, is_body)

    def _read_literal(self, literal: _Literal) -> Octets | None:
        buffer = self._buffer
        taken = bytes(memoryview(buffer.octets)[buffer.start : buffer.start + literal.left])
        buffer.start += len(taken)
        literal.left -= len(taken)
        if not literal.is_body:
            literal.octets += taken
            self._held += len(taken)
        if not literal.left:
            self._pieces.append(literal)
            self._literal = None
        return Octets(taken) if literal.is_body and taken else None


class _Literal:
    __slots__ = ("is_body", "left", "octets")

    def __init__(self, size: int, is_body: bool) -> None:
        self.left = size
        self.is_body = is_body
        self.octets = b""


def _parse(pieces: list[bytes | _Literal]) -> Response:
    first = pieces[0]
    assert isinstance(first, bytes)
    numbered = _NUMBERED.match(first)
    if numbered is not None:
        return Data(numbered[2].decode().upper(), int(numbered[1]), _tokens(pieces, numbered.end()))
    status = _STATUS.match(first)
    if status is not None and (status[2] is not None or status[1] == b"+"):
        tag = "" if status[1] == b"*" else status[1].decode()
        code, text = (part.decode("utf-8", "replace") for part in (status[3] or b"", status[4]))
        return Status(tag, (status[2] or b"").decode().upper(), code, text)
    named = _NAMED.match(first)
    if named is None:
        raise ImapProtocolError(f"this is no response of IMAP: {first[:60]!r}")
    return Data(named[1].decode().upper(), 0, _tokens(pieces, named.end()))


def _tokens(pieces: list[bytes | _Literal], start: int) -> list[Token]:
    """The tokens behind `start` of the first piece."""
    top: list[Token] = []
    open_lists = [top]
    for token in _flat(pieces, start):
        if token is _OPEN:
            inner: list[Token] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif token is _CLOSE:
            open_lists.pop()
        else:
            open_lists[-1].append(token)
        if not 0 < len(open_lists) <= DEPTH_LIMIT:
            raise ImapProtocolError("the parentheses of a response do not match, or are too deep")
    if len(open_lists) != 1:
        raise ImapProtocolError("the parentheses of a response do not match")
    return top


_OPEN: Final = list[Token]()
_CLOSE: Final = list[Token]()


def _flat(pieces: list[bytes | _Literal], start: int) -> Iterator[Token]:
    for piece in pieces:
        if isinstance(piece, _Literal):
            yield piece.octets
            continue
        end = len(piece.rstrip(b" "))
        while start < end:
            match = _TOKEN.match(piece, start)
            if match is None:
                raise ImapProtocolError(f"a response cannot be read at {piece[start : start + 40]!r}")
            start = match.end()
            opening, closing, quoted, atom = match.groups()
            if opening:
                yield _OPEN
            elif closing:
                yield _CLOSE
            elif atom is not None:
                yield None if atom.upper() == b"NIL" else atom
            else:
                yield _ESCAPE.sub(rb"\1", quoted)
        start = 0
