"""Content in the store: octets as received, once for all copies of a letter.

The head lies in one row and a body of up to `INLINE_LIMIT` octets in another, so that who reads heads
never touches bodies. A larger letter lies, head and body, in one blob that was durable before its row.
Content is never changed. It goes when neither a message nor the queue refers to it; the blob's name is
then remembered, in the same transaction, for the collector.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from posthouse.db.blobs import is_abandoned
from posthouse.db.errors import DatabaseAway
from posthouse.mail.content import CHUNK, Content, MemoryContent
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.db.blobs import Blobs


BLOBS: Final = ("content", "blob", "size", "hash")
"""The table whose rows name blobs, and its columns with the name, the size and the hash."""


class NoSuchContent(LookupError):
    """The content was released meanwhile."""


class New(NamedTuple):
    """Content to be stored."""

    id: int
    head: bytes
    body: bytes | None
    """Inline; None where `blob` names the object with head and body."""
    size: int
    """Octets of both."""
    hash: bytes = b""
    """Their BLAKE2b-256 where there is a blob."""
    blob: str | None = None


def put(
    tx: Tx, id: int, head: bytes, body: bytes | None, *, size: int, hash: bytes = b"", blob: str | None = None
) -> None:
    """`put_all` of one."""
    put_all(tx, [New(id, head, body, size, hash, blob)])


def put_all(tx: Tx, contents: Sequence[New]) -> None:
    """Store them. Raises DatabaseAway where an object is so old that it may be taken for forgotten."""
    for new in contents:
        if new.blob is not None and is_abandoned(new.blob, tx.now()):
            raise DatabaseAway("a large body waited too long for its row")
    tx.many(
        "INSERT INTO content (id, size, hash, blob, head) VALUES (?, ?, ?, ?, ?)",
        [(id, size, hash, blob, head) for id, head, _, size, hash, blob in contents],
    )
    tx.many(
        "INSERT INTO content_body (content, body) VALUES (?, ?)",
        [(new.id, new.body) for new in contents if new.body is not None],
    )


def find(reader: Tx | Reader, blobs: Blobs, id: int) -> Content:
    """The content `id`, inline ones at once in memory. Raises `NoSuchContent`."""
    row = reader.one(
        "SELECT c.size, c.head, c.blob, b.body FROM content c"
        " LEFT JOIN content_body b ON b.content = c.id WHERE c.id = ?",
        (id,),
    )
    if row is None:
        raise NoSuchContent(id)
    return from_row(blobs, *row)


def from_row(blobs: Blobs, size: int, head: bytes, blob: str | None, body: bytes | None) -> Content:
    """Content of columns already read."""
    if blob is None:
        return MemoryContent(head + body if body else head)
    return BlobContent(blobs, blob, head, size)


class BlobContent:
    """Content that lies in a blob and is read in slices."""

    __slots__ = ("_blobs", "head", "name", "size")

    def __init__(self, blobs: Blobs, name: str, head: bytes, size: int) -> None:
        self._blobs = blobs
        self.name = name
        self.head = head
        self.size = size

    async def read(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        return await self._blobs.read(self.name, offset, min(length, max(0, self.size - offset)))

    async def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        while offset < self.size:
            chunk = await self.read(offset, CHUNK)
            if not chunk:
                raise EOFError(f"blob {self.name} ends at octet {offset} of {self.size}")
            yield chunk
            offset += len(chunk)


def named(reader: Reader, names: Sequence[str]) -> set[str]:
    """Which of these blobs a row names, for `db.blobs.collect`."""
    found: set[str] = set()
    for name in names:
        if reader.one("SELECT 1 FROM content WHERE blob = ?", (name,)) is not None:
            found.add(name)
    return found


class Contents:
    """Lets content go when its last reference is gone."""

    def __init__(
        self,
        in_queue: Callable[[Tx, Sequence[int]], Collection[int]],
        remember: Callable[[Tx, Sequence[str]], object],
    ) -> None:
        """`in_queue` tells which of some contents the queue still needs (that table is another room's);
        `remember` notes names of blobs to be deleted (`db.blobs.discard`), within the transaction."""
        self._in_queue = in_queue
        self._remember = remember

    def release(self, tx: Tx, ids: Collection[int]) -> int:
        """Delete those of `ids` to which nothing refers any more; returns their number.

        The caller has deleted its own reference before.
        """
        if not ids:
            return 0
        wanted = sorted(set(ids))
        # Of two that let go of it at the same time, the second must see that the first has.
        tx.lock("content", "id", wanted)
        queued = set(self._in_queue(tx, wanted))
        free = [id for id in wanted if id not in queued]
        gone: list[int] = []
        names: list[str] = []
        for condition, some in listed(free, "id"):
            for id, blob in tx.all(
                f"DELETE FROM content WHERE {condition}"
                " AND NOT EXISTS (SELECT 1 FROM email WHERE email.content = content.id) RETURNING id, blob",
                some,
            ):
                gone.append(id)
                if blob is not None:
                    names.append(blob)
        for condition, some in listed(gone, "content"):
            tx.run(f"DELETE FROM content_body WHERE {condition}", some)
        if names:
            self._remember(tx, names)
        return len(gone)
