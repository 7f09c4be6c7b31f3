"""The automaton that finds the end of a command: lines, and literals between them (RFC 3501 §4.3, RFC 7888).

A command is a line; where the line ends in `{n}`, `{n+}` or `~{n}`, n octets of literal follow and the
command goes on with another line. What becomes of a literal is the session's choice, made when its header is
seen: `collect` it into the command, `stream` it out in pieces (the message of an APPEND), `skip` it, or
`refuse` it, which ends the command (possible only while the client still waits for permission).

The octets of a command are kept as they came, bounded by `limit`; a streamed or skipped literal is
never kept. Nothing is scanned twice but the line that is not complete yet.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from posthouse.protocol.lines import LineBuffer, LineTooLong

_LITERAL = re.compile(rb"(~?)\{([0-9]{1,19})(\+?)\}\Z")
_LONGEST_MARKER = 25
_READY = re.compile(rb"([^\r\n{~]{0,1000})\{([0-9]{1,9})\+\}\r\n")
"""A line, or the rest of one, whose literal comes without being asked for."""


class CommandText(NamedTuple):
    """A whole command, collected literals in their place, without the last CRLF."""

    octets: bytes


class LiteralHeader(NamedTuple):
    """A literal is announced. `before`: the octets of the command up to its `{`."""

    before: bytes
    size: int
    synchronizing: bool
    """The client waits for a continuation request."""
    binary: bool
    """A literal8, which may contain NUL (RFC 3516 §5)."""


class LiteralPiece(NamedTuple):
    """Octets of a streamed literal."""

    octets: bytes
    last: bool


class ReadyLiteral(NamedTuple):
    """A literal that has arrived whole, and that the client has not asked about; it is not taken yet."""

    before: bytes
    """The octets of the command up to its `{`."""
    start: int
    end: int
    """Where it lies in the octets that have arrived."""


Frame: TypeAlias = CommandText | LiteralHeader | LiteralPiece


class Framer:
    """Cuts what arrives in `lines` into frames."""

    __slots__ = ("_collecting", "_command", "_header", "_lines", "_literal_left", "_streaming", "limit")

    def __init__(self, lines: LineBuffer, limit: int) -> None:
        self.limit = limit
        """Octets of a command at most."""
        self._lines = lines
        self._command = bytearray()
        self._header: LiteralHeader | None = None
        self._literal_left = 0
        self._streaming = False
        self._collecting = True

    @property
    def has_input(self) -> bool:
        """Whether there may be another frame: octets, or the end of a literal without any."""
        return self._streaming or self._lines.start < len(self._lines.octets)

    def next_frame(self) -> Frame | None:
        """The next frame; None until more octets come, or while a `LiteralHeader` awaits its fate.

        Raises LineTooLong where the command exceeds its limit, and BareLineEnding; both end the command.
        """
        if self._header is not None:
            return None
        if self._streaming:
            return self._stream()
        if self._literal_left and not self._swallow():
            return None
        try:
            line = self._lines.next_line(max(self.limit - len(self._command), 1))
        except ValueError:
            self._command.clear()
            raise
        if line is None:
            return None
        return self._line(line)

    def ready(self, most: int) -> ReadyLiteral | None:
        """The literal that the command goes on with, if it lies here whole and has at most so many octets.

        Only of a command of which nothing is kept: after a streamed literal. `take` takes it.
        """
        if self._command or self._streaming or self._literal_left or self._header is not None:
            return None
        octets = self._lines.octets
        line = _READY.match(octets, self._lines.start)
        if line is None:
            return None
        before, size = line.groups()
        start = line.end()
        end = start + int(size)
        return ReadyLiteral(before, start, end) if start < end <= min(len(octets), start + most) else None

    def take(self, literal: ReadyLiteral) -> bytes:
        """The octets of what is `ready`; the command goes on behind it."""
        _, start, end = literal
        self._lines.start = end
        return bytes(memoryview(self._lines.octets)[start:end])

    def _line(self, line: bytes) -> Frame:
        marker = None
        if line.endswith(b"}"):
            marker = _LITERAL.search(line, max(len(line) - _LONGEST_MARKER, 0))
        if marker is None:
            # White space at the very end says nothing; there are clients that send it.
            line = line.rstrip(b" ")
            octets = bytes(self._command) + line if self._command else line
            self._command.clear()
            return CommandText(octets)
        before = bytes(self._command) + line[: marker.start()]
        self._command += line + b"\r\n"
        self._header = LiteralHeader(before, int(marker[2]), not marker[3], bool(marker[1]))
        return self._header

    # The fate of a literal

    def collect(self) -> None:
        """The literal becomes part of the command. Raises LineTooLong where it does not fit."""
        header = self._announced()
        if len(self._command) + header.size >= self.limit:
            self._command.clear()
            raise LineTooLong
        self._literal_left = header.size
        self._collecting = True

    def skip(self) -> None:
        """The literal is thrown away as it comes, and leaves no trace in the command."""
        header = self._announced()
        self._command[:] = header.before
        self._literal_left = header.size
        self._collecting = False

    def stream(self) -> None:
        """The literal comes out in `LiteralPiece` frames; the command goes on empty."""
        header = self._announced()
        self._command.clear()
        self._literal_left = header.size
        self._streaming = True

    def refuse(self) -> None:
        """The client does not send the literal: the command has ended."""
        self._announced()
        self._command.clear()

    def _announced(self) -> LiteralHeader:
        header, self._header = self._header, None
        assert header is not None
        return header

    def _take(self) -> bytes:
        """Octets of the literal that have arrived."""
        lines = self._lines
        octets, start = lines.octets, lines.start
        end = min(start + self._literal_left, len(octets))
        lines.start = end
        self._literal_left -= end - start
        return bytes(octets) if start == 0 and end == len(octets) else bytes(memoryview(octets)[start:end])

    def _swallow(self) -> bool:
        """Collects or skips; True once the literal is complete."""
        octets = self._take()
        if self._collecting:
            self._command += octets
        return self._literal_left == 0

    def _stream(self) -> LiteralPiece | None:
        if self._literal_left and not len(self._lines):
            return None
        octets = self._take()
        self._streaming = self._literal_left > 0
        return LiteralPiece(octets, last=not self._streaming)
