"""Multi-line responses of POP3: byte-stuffing and TOP, chunk by chunk (RFC 1939 §3, §7).

A message goes through in pieces of any size and is never held; what is kept between two pieces is a
few octets of state. The octets that come out are the same however the message was cut.
"""

from __future__ import annotations

TERMINATOR = b".\r\n"


class ByteStuffer:
    """Puts a dot before each line that begins with one, and ends the response.

    A line begins at the start and after each line feed. Where the message does not end with a line
    ending, one is added, so that the terminating dot stands on a line of its own.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\r\n"

    def feed(self, chunk: bytes) -> bytes:
        """The wire octets of the next piece of the message."""
        if not chunk:
            return b""
        stuffed = chunk.replace(b"\n.", b"\n..") if b"\n." in chunk else chunk
        if chunk[:1] == b"." and self._last[-1:] == b"\n":
            stuffed = b"." + stuffed
        self._last = (self._last + chunk[-2:])[-2:]
        return stuffed

    def finish(self) -> bytes:
        """The octets that end the response."""
        if self._last == b"\r\n":
            return TERMINATOR
        if self._last[-1:] == b"\r":
            return b"\n" + TERMINATOR
        return b"\r\n" + TERMINATOR


class TopOfMessage:
    """The header section, the empty line, and the first lines of the body (RFC 1939 §7, TOP)."""

    __slots__ = ("_at_line_start", "_carriage_return", "_in_header", "_left", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_header = True
        self._at_line_start = True
        self._carriage_return = False
        self.done = False
        """True once all has been handed out; further pieces come back empty."""

    def feed(self, chunk: bytes) -> bytes:
        """As much of the next piece of the message as belongs to the answer."""
        if self.done:
            return b""
        body = self._end_of_header(chunk) if self._in_header else 0
        if self._in_header:
            return chunk
        end = body
        while self._left > 0:
            line_feed = chunk.find(b"\n", end)
            if line_feed < 0:
                return chunk
            end = line_feed + 1
            self._left -= 1
        self.done = True
        return chunk[:end]

    def _end_of_header(self, chunk: bytes) -> int:
        """Offset in `chunk` where the body begins; `_in_header` stays set where it is not reached."""
        position = 0
        while position < len(chunk):
            if self._at_line_start:
                octet = chunk[position : position + 1]
                if octet == b"\r" and not self._carriage_return:
                    self._carriage_return = True
                    position += 1
                    continue
                if octet == b"\n":
                    self._in_header = False
                    return position + 1
                self._at_line_start = self._carriage_return = False
            line_feed = chunk.find(b"\n", position)
            if line_feed < 0:
                return len(chunk)
            self._at_line_start = True
            position = line_feed + 1
        return position
