"""The MIME structure of a letter as octet offsets (RFC 2045, RFC 2046), found in one pass without decoding.

`scan` takes a letter in memory; `Scanner` takes it in chunks of any size and comes to the same result
with bounded memory. Nothing is refused: what is broken is read as IMAP servers commonly do. A boundary
matches the beginning of a line (RFC 2046 §5.1.1); where several that are open match, one with nothing but
white space or two hyphens behind it, then the longest, then the innermost, counts; one that closes an
outer multipart closes all inside it; a boundary ends even a header that has no empty line; a multipart
that never ends, ends with the letter; one without a boundary is text. Nesting beyond `NESTING_LIMIT` and
parts beyond `PARTS_LIMIT` are not looked into.

Offsets count from the first octet of the letter; a part's body lies at `body_start` to `end`, its header,
with the empty line, at `header_start` to `body_start`. The line end before a boundary belongs to the
boundary, so the last line of a part counts as a line only where it has a line end of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from posthouse.mail import parameters
from posthouse.mail.content import end_of_head
from posthouse.mail.header import ContentFields, HeaderIndex, unfold

NESTING_LIMIT = 100
"""Levels of multiparts and nested letters that are looked into."""

PARTS_LIMIT = 10_000
"""Parts of a letter that are told apart; the rest belongs to the last of them."""

PART_HEADER_LIMIT = 64 * 1024
"""Octets of a part's header that are kept; offsets stay exact beyond it."""

ROOT_HEADER_LIMIT = 512 * 1024
"""The same for the letter's own header."""

ALL_HEADERS_LIMIT = 4 * 1024 * 1024
"""Octets of all headers together that are kept."""

BOUNDARY_LIMIT = 256
"""Octets of a boundary (RFC 2046 allows 70); a longer one is taken as none."""

_HEADER_END = re.compile(rb"\n\r?\n")
_HEADER_END_OR_DELIMITER = re.compile(rb"\n(?:\r?\n|--)")
_BEHIND_DELIMITER = (b"", b"\r", b"\n", b" ", b"\t")
_NO_PARAMETERS: tuple[tuple[bytes, bytes], ...] = ()


class Part:
    """One part: the letter itself, a part of a multipart, or the letter inside a message/rfc822 part."""

    __slots__ = (
        "body_start",
        "description",
        "disposition",
        "disposition_parameters",
        "encoding",
        "end",
        "header",
        "header_start",
        "id",
        "language",
        "lines",
        "location",
        "md5",
        "message",
        "params",
        "parts",
        "subtype",
        "type",
    )

    def __init__(self, header_start: int) -> None:
        self.header_start = header_start
        self.body_start = header_start
        self.end = header_start
        self.lines = 0
        """Line feeds in the body."""
        self.header = b""
        """The header's octets, `PART_HEADER_LIMIT` at most."""
        self.type = "text"
        self.subtype = "plain"
        self.params = _NO_PARAMETERS
        """Of Content-Type; names in lower case, continuations joined (RFC 2231 §3), not decoded."""
        self.encoding = "7bit"
        """Content-Transfer-Encoding in lower case."""
        self.disposition = ""
        """The kind of Content-Disposition in lower case; empty where there is none."""
        self.disposition_parameters = _NO_PARAMETERS
        self.id: bytes | None = None
        self.description: bytes | None = None
        self.md5: bytes | None = None
        self.language: bytes | None = None
        self.location: bytes | None = None
        self.parts: list[Part] = []
        """The parts of a multipart."""
        self.message: Part | None = None
        """The letter inside a message/rfc822 or message/global part."""

    @property
    def size(self) -> int:
        """Octets of the body."""
        return self.end - self.body_start

    @property
    def header_complete(self) -> bool:
        """False where `header` was cut off at its limit."""
        return len(self.header) == self.body_start - self.header_start

    def read(self, header: HeaderIndex) -> None:
        """Take the header."""
        self.header = header.head
        self.describe(header.content)

    def describe(self, fields: ContentFields) -> None:
        """Take what the fields that MIME defines say of it."""
        for name, written in fields:
            value = unfold(written)
            if name == "Content-Type":
                self.type, self.subtype, self.params = parameters.content_type(value)
            elif name == "Content-Transfer-Encoding":
                self.encoding = parameters.token(value) or "7bit"
            elif name == "Content-Disposition":
                self.disposition, self.disposition_parameters = parameters.disposition(value)
            elif name == "Content-ID":
                self.id = value
            elif name == "Content-Description":
                self.description = value
            elif name == "Content-MD5":
                self.md5 = value
            elif name == "Content-Language":
                self.language = value
            elif name == "Content-Location":
                self.location = value

    @property
    def divided(self) -> bool:
        """There may be parts in it, or a letter."""
        return self.type in ("multipart", "message")

    def boundary(self) -> bytes:
        """The boundary of a multipart; empty where there is none that can be used."""
        for name, value in self.params:
            if name in (b"boundary", b"boundary*"):
                value = (value if name == b"boundary" else parameters.decoded(value)).rstrip()
                return value if len(value) <= BOUNDARY_LIMIT else b""
        return b""


def scan(data: bytes, header: HeaderIndex | None = None) -> Part:
    """The structure of a letter that lies in memory. `header`: of its head, where that has been looked at."""
    body_start = end_of_head(data)
    if body_start > PART_HEADER_LIMIT:
        scanner = Scanner()
    else:
        part = Part(0)
        header = header or HeaderIndex(data[:body_start])
        part.read(header)
        if not part.divided:  # there is nothing to look for
            part.body_start, part.end = body_start, len(data)
            part.lines = data.count(b"\n", body_start)
            return part
        scanner = Scanner(part)
    scanner.feed(data, last=True)
    return scanner.root


class Scanner:
    """Finds the structure of a letter that arrives in chunks. `feed` them all, then `finish`."""

    __slots__ = (
        "_base",
        "_count",
        "_counted",
        "_delimiters",
        "_headers_kept",
        "_kept",
        "_kept_from",
        "_line_feeds",
        "_lines_before",
        "_longest",
        "_needle",
        "_open",
        "_owners",
        "_position",
        "_state",
        "_tail",
        "root",
    )

    def __init__(self, root: Part | None = None) -> None:
        """`root`: the letter, where its header has been read."""
        self.root = root or Part(0)
        # A line feed before the first octet spares every question "or at the very beginning".
        self._tail = b"\n"
        self._base = -1  # offset of the first octet of the tail
        self._position = -1  # where the search goes on; what lies before is done with
        self._state = _HEADER
        self._open = [self.root]  # from the letter down to the part that is being read
        self._lines_before = [0]  # line feeds before the body, of each open part
        self._delimiters: tuple[bytes, ...] = ()  # boundaries of open multiparts, outermost first
        self._owners: list[int] = []  # index in _open of each delimiter's multipart
        self._needle = b"\n--"
        self._longest = 0
        self._line_feeds = 0  # in [0, _counted)
        self._counted = 0
        self._count = 1
        self._kept = bytearray()  # the header being read, as far as it is not in the tail
        self._kept_from = 0
        self._headers_kept = 0

    def feed(self, chunk: bytes, last: bool = False) -> None:
        """Take the next octets; `last` where no more follow."""
        data = self._tail + chunk
        state: _State | None = self._state
        while state is not None:
            self._state = state
            state = state(self, data, last)
        if last:
            self._close(1, self._base + len(data), self._base + len(data), data)
            self._close_root(self._base + len(data), data)
            self._tail = b""
            return
        self._count_to(self._position, data)
        if self._state is _HEADER:
            self._keep_header(data, self._position)
        # One octet more is kept: the carriage return before a line feed that begins a delimiter.
        cut = max(0, self._position - 1 - self._base)
        self._tail = data[cut:]
        self._base += cut

    def finish(self) -> Part:
        """The structure, when all octets have been fed."""
        self.feed(b"", last=True)
        return self.root

    # Each state reads on from self._position and returns the next state, or None when it needs more octets.

    def _read_header(self, data: bytes, last: bool) -> _State | None:
        base = self._base
        at = self._position - base
        event = _HEADER_END_OR_DELIMITER if self._delimiters else _HEADER_END
        while True:
            match = event.search(data, at)
            if match is None:
                if last:
                    return self._end_header(data, base + len(data))
                self._position = max(base + at, base + len(data) - 2)
                return None
            at = match.start()
            if data[match.end() - 1] == 10:
                self._position = base + match.end() - 1
                return self._end_header(data, base + match.end())
            found = self._match(data, at + 3, last)
            if found == _MORE:
                self._position = base + at
                return None
            if found != _NONE:
                self._take_header(data, max(self._before_line_end(data, at), self._open[-1].header_start))
                self._count_to(base + at, data)
                self._lines_before[-1] = self._line_feeds
                return self._take_delimiter(data, at, found)
            at += 1

    def _read_body(self, data: bytes, last: bool) -> _State | None:
        base = self._base
        if not self._delimiters:
            self._position = base + len(data)
            return None
        at = self._position - base
        while True:
            at = data.find(self._needle, at)
            if at < 0:
                self._position = max(self._position, base + len(data) - len(self._needle) + 1)
                return None
            found = self._match(data, at + 3, last)
            if found >= 0:
                return self._take_delimiter(data, at, found)
            if found == _MORE:
                self._position = base + at
                return None
            at += 1
            self._position = base + at

    def _skip_line(self, data: bytes, last: bool) -> _State | None:
        """The rest of a delimiter line; then a part begins."""
        end = data.find(b"\n", self._position - self._base)
        if end < 0 and not last:
            self._position = self._base + len(data)
            return None
        start = self._base + (end + 1 if end >= 0 else len(data))
        self._count_to(start, data)
        part = Part(start)
        self._open[-1].parts.append(part)
        self._push(part)
        self._position = start - 1
        return _HEADER

    def _match(self, data: bytes, start: int, last: bool) -> int:
        """Index of the delimiter that stands at `start`, after two hyphens; else `_NONE`, or `_MORE`."""
        delimiters = self._delimiters
        if not delimiters:
            return _NONE
        if not last and len(data) < start + self._longest + 2 and data.find(b"\n", start) < 0:
            return _MORE
        if not data.startswith(delimiters, start):
            return _NONE
        best, best_rank = -1, (False, 0)
        for index in range(len(delimiters) - 1, -1, -1):
            delimiter = delimiters[index]
            if data.startswith(delimiter, start):
                end = start + len(delimiter)
                rank = (
                    data[end : end + 1] in _BEHIND_DELIMITER or data[end : end + 2] == b"--",
                    len(delimiter),
                )
                if rank > best_rank:
                    best, best_rank = index, rank
        return best

    def _take_delimiter(self, data: bytes, at: int, index: int) -> _State:
        """A delimiter line whose line feed before it is `data[at]`: close what it closes."""
        owner = self._owners[index]
        self._close(owner + 1, self._before_line_end(data, at), self._base + at, data)
        after = at + 3 + len(self._delimiters[index])
        if data.startswith(b"--", after):
            self._keep_delimiters(index)
            self._position = self._base + after + 2
            return _BODY
        self._keep_delimiters(index + 1)
        if self._count >= PARTS_LIMIT:
            # No more parts are told apart: all that follows belongs to this multipart.
            self._keep_delimiters(0)
            self._position = self._base + after
            return _BODY
        self._position = self._base + after
        return _DELIMITER

    def _before_line_end(self, data: bytes, at: int) -> int:
        """The offset of the line end whose line feed is `data[at]`."""
        return self._base + (at - 1 if at > 0 and data[at - 1] == 13 else at)

    def _end_header(self, data: bytes, body_start: int) -> _State:
        """The header of the innermost part ends at `body_start`: what is its body?"""
        part = self._open[-1]
        self._take_header(data, body_start)
        self._count_to(body_start, data)
        self._lines_before[-1] = self._line_feeds
        deep = len(self._open) > NESTING_LIMIT
        if part.type == "multipart":
            boundary = part.boundary()
            if boundary and not deep and self._count < PARTS_LIMIT:
                self._delimiters += (boundary,)
                self._owners.append(len(self._open) - 1)
                self._keep_delimiters(len(self._owners))
            elif boundary:
                part.type, part.subtype = "application", "octet-stream"
            else:
                part.type, part.subtype, part.params = "text", "plain", _NO_PARAMETERS
        elif part.type == "message" and part.subtype in ("rfc822", "global"):
            if deep or self._count >= PARTS_LIMIT:
                part.type, part.subtype = "application", "octet-stream"
            else:
                part.message = Part(body_start)
                self._push(part.message)
                self._position = body_start - 1
                return _HEADER
        # The line feed that ends the header may be the one before a delimiter.
        self._position = body_start - 1
        return _BODY

    def _push(self, part: Part) -> None:
        self._open.append(part)
        self._lines_before.append(self._line_feeds)
        self._count += 1
        self._kept_from = part.header_start

    def _keep_header(self, data: bytes, end: int) -> None:
        """Move the header's octets up to `end` out of `data`, as far as they are kept."""
        if end > self._kept_from:
            limit = ROOT_HEADER_LIMIT if len(self._open) == 1 else PART_HEADER_LIMIT
            room = min(limit - len(self._kept), ALL_HEADERS_LIMIT - self._headers_kept - len(self._kept))
            start = self._kept_from - self._base
            self._kept += data[start : min(end - self._base, start + max(room, 0))]
            self._kept_from = end

    def _take_header(self, data: bytes, body_start: int) -> None:
        """The innermost part's header ends at `body_start`."""
        part = self._open[-1]
        if (
            self._kept
            or self._headers_kept > ALL_HEADERS_LIMIT // 2
            or body_start - self._kept_from > PART_HEADER_LIMIT
        ):
            self._keep_header(data, body_start)
            header = bytes(self._kept[: body_start - part.header_start])
            self._kept.clear()
        else:
            header = data[part.header_start - self._base : body_start - self._base]
        self._headers_kept += len(header)
        part.body_start = part.end = body_start
        parent = self._open[-2] if len(self._open) > 1 else None
        if parent is not None and parent.subtype == "digest" and parent.type == "multipart":
            part.type, part.subtype = "message", "rfc822"  # RFC 2046 §5.1.5
        if not part.header:
            part.read(HeaderIndex(header))

    def _keep_delimiters(self, count: int) -> None:
        """Only the outermost `count` delimiters stay open."""
        delimiters = self._delimiters[:count]
        del self._owners[count:]
        self._delimiters = delimiters
        self._needle = b"\n--" + (delimiters[0] if count == 1 else _common_prefix(delimiters))
        self._longest = max(map(len, delimiters), default=0)

    def _close(self, depth: int, end: int, counted_to: int, data: bytes) -> None:
        """Close the open parts from the innermost out to `depth`; line feeds count up to `counted_to`."""
        self._count_to(counted_to, data)
        while len(self._open) > depth:
            part = self._open.pop()
            end = max(end, part.end)
            part.end = end
            part.lines = max(0, self._line_feeds - self._lines_before.pop())

    def _close_root(self, end: int, data: bytes) -> None:
        self._count_to(end, data)
        self.root.end = max(end, self.root.body_start)
        self.root.lines = max(0, self._line_feeds - self._lines_before[0])

    def _count_to(self, offset: int, data: bytes) -> None:
        """Count line feeds up to `offset`."""
        if offset > self._counted:
            self._line_feeds += data.count(b"\n", self._counted - self._base, offset - self._base)
            self._counted = offset


def _common_prefix(delimiters: tuple[bytes, ...]) -> bytes:
    if not delimiters:
        return b""
    least, greatest = min(delimiters), max(delimiters)
    length = 0
    while length < len(least) and least[length] == greatest[length]:
        length += 1
    return least[:length]


_State: TypeAlias = Callable[[Scanner, bytes, bool], "_State | None"]

_NONE = -1
_MORE = -2
_HEADER: _State = Scanner._read_header
_BODY: _State = Scanner._read_body
_DELIMITER: _State = Scanner._skip_line
