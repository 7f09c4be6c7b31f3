"""Replies of other people's servers, read with patience and within bounds (RFC 5321 §4.2, RFC 2034).

A line may end with LF alone: nothing follows from where a reply ends but the next reply. What is no
reply at all, or has no end, is `BadReply`; the connection is of no use after it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from posthouse.mail.reply import Reply

LINE_LIMIT = 4096
"""Octets of one line; RFC 5321 §4.5.3.1.5 has 512."""

REPLY_LIMIT = 64 * 1024
"""Octets of one reply, all its lines."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")  # RFC 2034 §4
_CONTROLS = dict.fromkeys((*range(32), 127), " ")


class BadReply(ValueError):
    """What the server sent is no SMTP reply; the message says why."""


class _Line(NamedTuple):
    code: int
    enhanced: str
    text: str
    last: bool


class ReplyReader:
    """Cuts replies out of what a server sends."""

    __slots__ = ("_lines", "_octets", "_size")

    def __init__(self) -> None:
        self._octets = b""
        self._lines: list[_Line] = []
        self._size = 0

    def __len__(self) -> int:
        """Octets held that make no complete reply yet."""
        return len(self._octets) + self._size

    def feed(self, data: bytes) -> None:
        self._octets = self._octets + data if self._octets else data

    def clear(self) -> None:
        self._octets = b""
        self._lines.clear()
        self._size = 0

    def next_reply(self) -> Reply | None:
        """The next complete reply, or None. Raises BadReply."""
        while True:
            octets = self._octets
            end = octets.find(b"\n")
            if end < 0:
                if len(octets) > LINE_LIMIT:
                    raise BadReply("a line of its reply has no end")
                return None
            line = octets[: end - 1] if end and octets[end - 1] == 13 else octets[:end]
            self._octets = octets[end + 1 :]
            if len(line) > LINE_LIMIT:
                raise BadReply("a line of its reply is too long")
            read = _read_line(line)
            if read.last and not self._lines:
                return Reply(read.code, read.enhanced, read.text)
            self._lines.append(read)
            self._size += end + 1
            if read.code != self._lines[0].code:
                raise BadReply("the lines of its reply have different codes")
            if self._size > REPLY_LIMIT:
                raise BadReply("its reply is too long")
            if read.last:
                return self._assemble()

    def _assemble(self) -> Reply:
        lines = self._lines
        enhanced = next((line.enhanced for line in lines if line.enhanced), "")
        reply = Reply(lines[0].code, enhanced, "\n".join(line.text for line in lines))
        self._lines = []
        self._size = 0
        return reply


@lru_cache(maxsize=512)
def _read_line(line: bytes) -> _Line:
    match = _LINE.match(line)
    if match is None:
        shown = line[:80].decode("ascii", "replace").translate(_CONTROLS)
        raise BadReply(f'it said what is no reply: "{shown}"')
    code, mark, rest = match.groups()
    text = (rest or b"").decode("utf-8", "replace").translate(_CONTROLS)
    found = _ENHANCED.match(text)
    enhanced = ""
    if found is not None and text[0] == chr(code[0]):  # RFC 2034 §4: the classes agree
        enhanced, text = found[1], text[found.end() :]
    return _Line(int(code), enhanced, text, mark != b"-")
