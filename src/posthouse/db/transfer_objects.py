"""The objects of a transfer: each under the name it had, durable before the row that names it is written.

An object is hashed on its way and once more as it lies at its new place. One that is there already, from
a run that was interrupted, is only hashed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from posthouse.db.blobs import Blobs
from posthouse.db.errors import DatabaseError, NoSuchBlob

AT_ONCE: Final = 8
"""Objects on their way; each goes through a file, so that none lies in memory whole."""


class Wanted(NamedTuple):
    """An object that a row names."""

    name: str
    size: int
    hash: bytes
    """BLAKE2b-256."""


class ObjectMismatch(DatabaseError):
    """An object is not what its row says."""


class Objects:
    """Brings objects from one store to another."""

    def __init__(self, source: Blobs, target: Blobs) -> None:
        self.brought = 0
        self.octets = 0
        self._source = source
        self._target = target

    async def bring(self, wanted: Sequence[Wanted]) -> set[str]:
        """Have these at their new place; the names of those that are not at the old one.

        Raises ObjectMismatch, and what `Blobs` raises.
        """
        room = asyncio.Semaphore(AT_ONCE)
        missing: set[str] = set()

        async def one(object: Wanted) -> None:
            async with room:
                if not await self._bring(object):
                    missing.add(object.name)

        try:
            async with asyncio.TaskGroup() as group:
                for object in wanted:
                    group.create_task(one(object))
        except* DatabaseError as errors:
            raise errors.exceptions[0] from None
        return missing

    async def _bring(self, object: Wanted) -> bool:
        try:
            await _require(object, self._target.chunks(object.name))
        except NoSuchBlob:
            if not await self._move(object):
                return False
            await _require(object, self._target.chunks(object.name))
            self.brought += 1
            self.octets += object.size
        return True

    async def _move(self, object: Wanted) -> bool:
        path = self._target.spool_directory / f"transfer-{object.name}"
        try:
            await _require(object, _written(path, self._source.chunks(object.name)))
            await self._target.store(path, object.name)
        except NoSuchBlob:
            return False
        finally:
            await asyncio.to_thread(path.unlink, True)
        return True


async def _written(path: Path, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on what goes into the file as well."""
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
            yield chunk


async def _require(object: Wanted, chunks: AsyncIterator[bytes]) -> None:
    digest = hashlib.blake2b(digest_size=32)
    size = 0
    async for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    if size != object.size or digest.digest() != object.hash:
        raise ObjectMismatch(f"the object {object.name} is not what it was: {size} octets of {object.size}")
