"""The octets of a letter on the wire: dots and BDAT chunks, each an automaton of its own.

Receiving, `DotReader` finds the end of data and undoes dot-stuffing, `ChunkReader` counts a BDAT chunk.
Both take octets from a LineBuffer, hand out pieces as soon as they are large or complete, and hold back
nothing but what may belong to a line ending. Sending, `DotWriter` stuffs dots across any piece borders.

The end of data is CRLF.CRLF and nothing else (RFC 5321 §4.1.1.4): no bare CR or LF ever takes part.
"""

from __future__ import annotations

from posthouse.protocol.lines import CRLF, LineBuffer

PIECE = 64 * 1024
"""Octets that are collected before a piece of an unfinished letter is handed out."""


class DotReader:
    """Reads data up to the end of data (RFC 5321 §4.1.1.4), dot-stuffing undone (§4.5.2)."""

    __slots__ = ("_at_line_start", "_scanned", "finished")

    def __init__(self) -> None:
        self._at_line_start = True
        """The octet before the buffer's start was the LF of a CRLF; so it is after DATA itself."""
        self._scanned = 0
        """Octets from the buffer's start that surely hold no beginning of CRLF.CRLF."""
        self.finished = False

    def read(self, buffer: LineBuffer) -> bytes | None:
        """The next piece; None until more has arrived. May be empty when `finished`.

        Pieces consist of whole lines but where one line is longer than PIECE; none ends with a CR.
        """
        octets, start = buffer.octets, buffer.start
        first = start
        if self._at_line_start:
            if octets[start : start + 3] == b".\r\n":
                buffer.start = start + 3
                self.finished = True
                return b""
            if octets[start : start + 1] == b".":
                if len(octets) - start < 3:
                    return None
                first = start + 1
        searched = start + self._scanned
        last = len(octets) - 5
        # The usual letter has come whole and has no line that begins with a dot. Backward is twice as quick.
        if last >= searched and octets.endswith(b"\r\n.\r\n") and octets.rfind(b"\r\n.", searched, last) < 0:
            buffer.start = last + 5
            self.finished = True
            return self._unstuffed(octets, start, first, last + 2, self._scanned > 0)
        dot = octets.find(b"\r\n.", searched)
        if dot >= 0:
            if octets[dot + 3 : dot + 5] == CRLF:
                buffer.start = dot + 5
                self.finished = True
                return self._unstuffed(octets, start, first, dot + 2, self._scanned > 0)
            end = octets.find(b"\r\n.\r\n", dot)
            if end >= 0:
                buffer.start = end + 5
                self.finished = True
                return self._unstuffed(octets, start, first, end + 2, True)
        self._scanned = max(0, len(octets) - start - 4)
        return self._line_piece(buffer, first) if len(octets) - start >= PIECE else None

    def _line_piece(self, buffer: LineBuffer, first: int) -> bytes | None:
        """What can be handed out of a letter whose end is not in sight."""
        octets, start = buffer.octets, buffer.start
        end = octets.rfind(CRLF, start) + 2
        whole_lines = end > 1
        if not whole_lines:
            end = len(octets) - (1 if octets.endswith(b"\r") else 0)
        piece = self._unstuffed(octets, start, first, end, True)
        self._at_line_start = whole_lines
        self._scanned = 0
        buffer.start = end
        return piece

    @staticmethod
    def _unstuffed(octets: bytes | bytearray, start: int, first: int, end: int, look: bool) -> bytes:
        piece = bytes(octets[first:end])
        return piece.replace(b"\r\n.", CRLF) if look else piece


class ChunkReader:
    """Reads the octets of BDAT chunks (RFC 3030 §2), the chunks of one letter one after another."""

    __slots__ = ("_held_cr", "_remaining", "last")

    def __init__(self) -> None:
        self._remaining = 0
        self._held_cr = False
        self.last = False

    def expect(self, size: int, *, last: bool) -> None:
        """A chunk of `size` octets follows."""
        self._remaining = size
        self.last = last

    @property
    def finished(self) -> bool:
        """Whether all of the present chunk has been read, and handed out as far as it can be."""
        return not self._remaining and not (self.last and self._held_cr)

    def read(self, buffer: LineBuffer) -> bytes | None:
        """The next piece of the chunk; None until more has arrived. A CR at its end waits for its LF."""
        octets, start = buffer.octets, buffer.start
        available = len(octets) - start
        if available < min(self._remaining, PIECE):
            return None
        taken = min(available, self._remaining)
        piece = bytes(octets[start : start + taken])
        buffer.start = start + taken
        self._remaining -= taken
        if self._held_cr:
            piece = b"\r" + piece
        self._held_cr = piece.endswith(b"\r") and not (self.last and not self._remaining)
        return piece[:-1] if self._held_cr else piece


class DotWriter:
    """Stuffs dots (RFC 5321 §4.5.2) into a letter that comes in pieces of any size."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = CRLF
        """The last two octets written; the letter itself begins at the start of a line."""

    def write(self, piece: bytes) -> bytes:
        """`piece` as it goes on the wire."""
        if not piece:
            return b""
        stuffed = piece.replace(b"\r\n.", b"\r\n..") if b"\r\n." in piece else piece
        tail = self._tail
        if tail == CRLF:
            if piece[0] == 46:
                stuffed = b"." + stuffed
        elif tail[1] == 13 and piece[:2] == b"\n.":
            stuffed = b"\n.." + stuffed[2:]
        self._tail = piece[-2:] if len(piece) > 1 else tail[1:] + piece
        return stuffed

    def finish(self) -> bytes:
        """What ends the data: the last line's CRLF if it had none, then the dot."""
        if self._tail == CRLF:
            return b".\r\n"
        return b"\n.\r\n" if self._tail[1] == 13 else b"\r\n.\r\n"
