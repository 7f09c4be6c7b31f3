"""Octets as they arrive, and the lines in them: a line ends with CRLF and with nothing else.

`LineBuffer` keeps what a peer has sent and nobody has consumed yet. It promises never to take a bare
CR or a bare LF for the end of a line (RFC 5321 §2.3.8), and never to hold more than one line's limit
of an unfinished line: what is too long, or has a bare line ending, is reported once and thrown away
as it comes, up to and with the next CRLF.
"""

from __future__ import annotations

CRLF = b"\r\n"


class LineError(ValueError):
    """A line that cannot be taken; the buffer has already skipped it, or will."""


class LineTooLong(LineError):
    """More octets than the limit before the CRLF."""


class BareLineEnding(LineError):
    """A CR without LF, or an LF without CR."""


def has_bare_line_ending(octets: bytes) -> bool:
    """Whether there is a CR not followed by LF, or an LF not preceded by CR.

    Exact: where every line ending is CRLF, dropping each CR and putting one before each LF changes
    nothing; any bare CR is lost by that, any bare LF gains one. A third of the cost of counting.
    """
    return octets.replace(b"\r", b"").replace(b"\n", CRLF) != octets


class LineBuffer:
    """Unconsumed octets: `octets` from `start` on. Readers of other things than lines use both directly."""

    __slots__ = ("_skipping", "octets", "start")

    def __init__(self) -> None:
        self.octets: bytes | bytearray = b""
        self.start = 0
        self._skipping = False

    def __len__(self) -> int:
        return len(self.octets) - self.start

    def feed(self, data: bytes) -> None:
        """Add what has arrived. Costs no copy when everything before was consumed."""
        octets = self.octets
        if self.start >= len(octets):
            self.octets = data
        elif isinstance(octets, bytearray):
            del octets[: self.start]
            octets += data
        else:
            self.octets = bytearray(memoryview(octets)[self.start :])
            self.octets += data
        self.start = 0

    def clear(self) -> None:
        """Forget everything not yet consumed."""
        self.octets = b""
        self.start = 0
        self._skipping = False

    def next_line(self, limit: int) -> bytes | None:
        """The next line without its CRLF, or None until one is complete.

        `limit` counts octets with the CRLF. Raises LineTooLong or BareLineEnding, once for each such line.
        """
        if self._skipping and not self._skip():
            return None
        octets, start = self.octets, self.start
        end = octets.find(b"\n", start)
        if end < 0:
            if len(octets) - start >= limit:
                self._skipping = True
                self._skip()
                raise LineTooLong
            return None
        bare = end == start or octets[end - 1] != 13
        self.start = end + 1
        self._skipping = bare
        if end - start >= limit:
            raise LineTooLong
        if bare:
            raise BareLineEnding
        line = bytes(octets[start : end - 1])
        if b"\r" in line:
            raise BareLineEnding
        return line

    def _skip(self) -> bool:
        """Drop octets up to and with the next CRLF. True when it was found."""
        end = self.octets.find(CRLF, self.start)
        if end >= 0:
            self.start = end + 2
            self._skipping = False
            return True
        keep = 1 if self.octets.endswith(b"\r") and len(self) else 0
        self.octets = b"\r" if keep else b""
        self.start = 0
        return False
