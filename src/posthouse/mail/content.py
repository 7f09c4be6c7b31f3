"""Content: the octets of a letter as received, never changed, never whole in memory when large.

A `Content` is what rooms hand to each other: the head (header section with the empty line that ends
it), the size, and ways to read the rest. Behind it stand bytes in memory (the usual case), a spool
file while a large letter is being received, and a stored body. Reading may wait, hence the `async`;
who wants speed asks for `MemoryContent` and takes its `data`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

INLINE_LIMIT = 64 * 1024
"""Octets of body up to which content stays in memory and in the database row."""

HEAD_LIMIT = 512 * 1024
"""Octets of header section at most; a letter with more is refused."""

CHUNK = 64 * 1024
"""Octets handed out at a time by `chunks`."""


class Content(Protocol):
    """Octets of one letter. Offsets count from the first octet of the head."""

    @property
    def head(self) -> bytes:
        """The header section, with the empty line that ends it if there is one."""

    @property
    def size(self) -> int:
        """All octets, head and body."""

    async def read(self, offset: int, length: int) -> bytes:
        """Octets `offset` to `offset + length`; shorter at the end."""

    def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The octets from `offset` on, in pieces of at most `CHUNK`."""


def end_of_head(data: bytes | bytearray) -> int:
    """Length of the header section with the empty line that ends it; all of `data` where there is none.

    Lines may end with a line feed alone, as in messages that a client has taken from a file.
    """
    if data[:2] == b"\r\n":
        return 2
    if data[:1] == b"\n":
        return 1
    end = data.find(b"\n\r\n")
    bare = data.find(b"\n\n", 0, len(data) if end < 0 else end + 1)
    if bare >= 0:
        return bare + 2
    return len(data) if end < 0 else end + 3


class MemoryContent:
    """Content held in memory."""

    __slots__ = ("data", "head")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.head = data[: end_of_head(data)]

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    async def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        for start in range(offset, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]
