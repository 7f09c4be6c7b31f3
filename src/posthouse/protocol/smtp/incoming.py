"""One letter as it arrives at a server: its pieces, its limit, and why it is refused.

A letter that is too long, or has a bare CR or LF in it, is read to its end and thrown away as it comes;
the refusal is told where the client expects a reply.
"""

from __future__ import annotations

from posthouse.mail.reply import BAD_LINE_ENDINGS_IN_DATA, MESSAGE_TOO_BIG, Reply
from posthouse.protocol.lines import LineBuffer, has_bare_line_ending
from posthouse.protocol.smtp.data import ChunkReader, DotReader


class IncomingLetter:
    """Reads a letter, by DATA or by BDAT."""

    __slots__ = ("_fetched", "_limit", "_reader", "received", "refusal")

    def __init__(self, reader: DotReader | ChunkReader, limit: int, refusal: Reply | None = None) -> None:
        """`limit` is in octets, 0 for none; a letter `refused` from the start is only thrown away."""
        self._reader = reader
        self._limit = limit
        self._fetched: LineBuffer | None = None
        self.received = 0
        """Octets so far, dot-stuffing undone."""
        self.refusal = refusal

    @property
    def complete(self) -> bool:
        """No more chunks follow the present one."""
        return isinstance(self._reader, DotReader) or self._reader.last

    def expect(self, size: int, *, last: bool) -> None:
        """A BDAT chunk of `size` octets follows."""
        if isinstance(self._reader, ChunkReader):
            self._reader.expect(size, last=last)
        if self.refusal is None and self._limit and self.received + size > self._limit:
            self.refusal = MESSAGE_TOO_BIG

    def read(self, buffer: LineBuffer) -> bytes | None:
        """The next piece to keep; None until more arrives; empty at the end of the data or of the chunk."""
        reader = self._reader
        while not reader.finished:
            piece = reader.read(buffer)
            if piece is None:
                return None
            if piece and self._admit(piece):
                return piece
        return b""

    def take(self, octets: bytes) -> bytes:
        """Octets of a chunk from elsewhere than the client, none at its end; gives those to keep now."""
        self._fetched = self._fetched or LineBuffer()
        self._fetched.feed(octets)
        pieces = []
        while piece := self.read(self._fetched):
            pieces.append(piece)
        return b"".join(pieces)

    def _admit(self, piece: bytes) -> bool:
        self.received += len(piece)
        if self.refusal is not None:
            return False
        if self._limit and self.received > self._limit:
            self.refusal = MESSAGE_TOO_BIG
        elif has_bare_line_ending(piece):
            self.refusal = BAD_LINE_ENDINGS_IN_DATA
        return self.refusal is None
