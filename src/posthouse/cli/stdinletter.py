"""A letter as programs write it to sendmail's standard input, made ready for SMTP.

Lines may end with LF, CRLF, CR CR LF or a lone CR; they come out with CRLF. An mbox line ("From bob Sat …")
at the top is dropped. A line that is no header field ends the header section. However long the letter is,
no more than its head and a megabyte are held in memory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from posthouse.mail.content import HEAD_LIMIT

IN_MEMORY = 1 << 20
_PIECE = 64 * 1024
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


class LetterProblem(Exception):
    """Standard input holds no letter that could be sent; the text says why."""


class StdinLetter:
    """The header section without the empty line that ends it, and the body behind it."""

    def __init__(self, head: bytes = b"") -> None:
        self.head = head
        self.eight_bit = not head.isascii()
        self._body_size = 0
        self._body = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> StdinLetter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._body.close()

    @property
    def size(self) -> int:
        """Octets of the whole letter."""
        return len(self.head) + 2 + self._body_size

    def add_field(self, line: bytes) -> None:
        """Put a field, with its CRLF, at the top."""
        self.head = line + self.head
        self.eight_bit = self.eight_bit or not line.isascii()

    def append(self, octets: bytes) -> None:
        """More of the body."""
        self._body.write(octets)
        self._body_size += len(octets)
        self.eight_bit = self.eight_bit or not octets.isascii()

    def pieces(self) -> Iterator[bytes]:
        """The whole letter."""
        yield self.head + b"\r\n"
        self._body.seek(0)
        while piece := self._body.read(_PIECE):
            yield piece

    def read(self) -> bytes:
        """The whole letter at once."""
        return b"".join(self.pieces())


def read_letter(stream: BinaryIO, *, dot_ends: bool) -> StdinLetter:
    """The letter in `stream`, up to its end, or to a line with a single dot. Raises LetterProblem."""
    lines = _lines(stream, dot_ends=dot_ends)
    head = bytearray()
    rest = b""
    at_start = True
    for line in lines:
        if at_start and not head and line.startswith((b"From ", b">From ")):
            continue
        if line == b"\r\n" and at_start:
            break
        is_field = _FIELD.match(line) is not None or (bool(head) and line[:1] in b" \t")
        if at_start and not is_field:
            rest = line
            break
        head += line
        if len(head) > HEAD_LIMIT:
            raise LetterProblem(f"the header section has more than {HEAD_LIMIT} octets")
        at_start = line.endswith(b"\n")
    if head and not head.endswith(b"\r\n"):
        head += b"\r\n"
    letter = StdinLetter(bytes(head))
    letter.append(rest)
    for line in lines:
        letter.append(line)
    return letter


def _lines(stream: BinaryIO, *, dot_ends: bool) -> Iterator[bytes]:
    """Lines that end with CRLF; a very long one, and a last one without end, in pieces that do not."""
    held = 0
    """CRs at the end of the last piece: of no meaning where LF follows, else each the end of a line."""
    at_start = True
    while piece := stream.readline(_PIECE):
        if dot_ends and at_start and piece in (b".\n", b".\r\n", b"."):
            return
        ended = piece.endswith(b"\n")
        text = (piece[:-1] if ended else piece).rstrip(b"\r")
        if held and text:
            yield b"\r\n" * held
        trailing = held * (not text) + len(piece) - len(text) - ended
        held = 0 if ended else trailing
        *whole, last = text.split(b"\r")
        for line in whole:
            yield line + b"\r\n"
        if ended or last:
            yield last + b"\r\n" if ended else last
        at_start = ended
    if held:
        yield b"\r\n" * held
