"""How the octets of a letter arrive: in memory while it is small, in a spool file beyond that.

An `Intake` takes chunks and gives a `Content` at the end. As soon as the header section is complete
it may be edited once (submission adds Date and removes Bcc there); the body is never changed. What
exceeds `INLINE_LIMIT` goes to a spool file, hashed and scanned for its MIME structure on the way, so
that a letter of 50 MB never sits whole in memory. The spool file becomes the stored body by renaming.

Refuses: a header section of more than `HEAD_LIMIT` octets.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, TypeAlias

from posthouse.mail import imapform
from posthouse.mail.content import CHUNK, HEAD_LIMIT, INLINE_LIMIT, MemoryContent, end_of_head
from posthouse.mail.header import HeaderIndex
from posthouse.mail.mime import Part, Scanner

HeadEdit: TypeAlias = Callable[[bytes], bytes]
"""Takes the header section as received, with its closing empty line; returns the one to keep."""


class HeadTooLong(Exception):
    """The header section has more than `HEAD_LIMIT` octets."""


class SpooledContent:
    """Content in a spool file, on its way into the store."""

    __slots__ = ("digest", "head", "part", "path", "size")

    def __init__(self, path: Path, head: bytes, size: int, digest: bytes, part: Part) -> None:
        self.path = path
        self.head = head
        self.size = size
        self.digest = digest
        """BLAKE2b-256 of all octets."""
        self.part = part

    async def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    async def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk


ArrivedContent: TypeAlias = MemoryContent | SpooledContent


def structure_of(header: HeaderIndex, content: ArrivedContent) -> bytes:
    """BODYSTRUCTURE, as FETCH returns it; `header` is of the content's head."""
    if isinstance(content, MemoryContent):
        return imapform.bodystructure_of(header, content.data)
    return imapform.bodystructure(content.part)


class Intake:
    """Collects one letter. Call `feed` for each chunk, then either `finish` or `discard`."""

    __slots__ = (
        "_digest", "_edit", "_file", "_head", "_held", "_held_until", "_path", "_scanner", "_size", "_spool",
    )  # fmt: skip

    def __init__(self, spool_directory: Path, edit_head: HeadEdit | None = None) -> None:
        self._spool = spool_directory
        self._edit = edit_head
        self._held: list[bytes] = []
        self._held_until = INLINE_LIMIT
        self._size = 0
        self._head: bytes | None = None
        self._file: BinaryIO | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next octets. Raises HeadTooLong, and OSError where the spool cannot be written."""
        self._size += len(chunk)
        if self._file is not None:
            self._write(chunk)
            return
        self._held.append(chunk)
        if self._size > self._held_until:
            self._begin_spool()

    def finish(self) -> ArrivedContent:
        """The letter. Raises HeadTooLong, and OSError where the spool cannot be written."""
        if self._file is None:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            return MemoryContent(data if self._edit is None else self._edited(data))
        with self._file as file:
            file.flush()
        self._file = None
        assert self._head is not None
        return SpooledContent(
            self._path, self._head, self._size, self._digest.digest(), self._scanner.finish()
        )

    def discard(self) -> None:
        """Forget the letter and remove its spool file."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _edited(self, data: bytes) -> bytes:
        assert self._edit is not None
        end = end_of_head(data)
        return self._edit(data[:end]) + data[end:]

    def _begin_spool(self) -> None:
        data = b"".join(self._held)
        end = end_of_head(data)
        if end == len(data) and not data.endswith(b"\r\n\r\n"):  # the head has not ended yet
            if len(data) > HEAD_LIMIT:
                raise HeadTooLong
            self._held = [data]
            self._held_until = len(data) + CHUNK  # a chunk may be one octet, so do not look after each
            return
        if end > HEAD_LIMIT:
            raise HeadTooLong
        if self._edit is not None:
            data = self._edited(data)
            end = end_of_head(data)
        self._head = data[:end]
        self._held.clear()
        self._size = 0
        descriptor, name = tempfile.mkstemp(dir=self._spool)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._digest = hashlib.blake2b(digest_size=32)
        self._scanner = Scanner()
        self._size = len(data)
        self._write(data)

    def _write(self, chunk: bytes) -> None:
        assert self._file is not None
        self._file.write(chunk)
        self._digest.update(chunk)
        self._scanner.feed(chunk)
