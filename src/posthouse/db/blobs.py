"""Blobs: large bodies as immutable objects with unique names, durable before the row that names them.

    spool file (in `spool_directory`) ── store ── object ── row commits
    row deleted ── discard, in the same transaction ── an hour ── collect_remembered ── object deleted

An object is never shared between two acceptances, so a deleted row's object has no other use; it stays
for `GRACE_SECONDS` for the sake of those who have begun to read it. One that was stored but whose
transaction never committed is found by its age: nobody commits a name after `ABANDONED_SECONDS`, and
`collect_unnamed` deletes unnamed objects only after twice that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, NoSuchBlob, reason_is_space
from posthouse.db.interface import Database, Reader, Tx

T = TypeVar("T")

ABANDONED_SECONDS = 24 * 3600.0
"""An upload not committed within this is given up with 451."""
UNNAMED_SECONDS = 48 * 3600.0
GRACE_SECONDS = 3600.0
"""An object outlives its row by this: who has begun to read it, over a slow line, comes to the end."""
TIMEOUT_SECONDS = 10.0
CHUNK = 256 * 1024
COLLECT = 200
"""Objects looked at in one step of a collection."""
SCHEME = "file:"


class Blobs(Protocol):
    """Where objects are kept. All raise DatabaseAway, DiskFull, or NoSuchBlob."""

    @property
    def spool_directory(self) -> Path:
        """Where a large body is written while it arrives."""

    async def store(self, path: Path, name: str = "") -> str:
        """Adopt a finished file of the spool directory; its name, once durable.

        The file is gone afterwards, even if it could not be stored.
        `name`: the one that it has in another store, which is free in this one.
        """

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Octets `offset` to `offset + length`, fewer at the end."""

    def at_hand(self, name: str, offset: int, length: int) -> bytes | bytearray | None:
        """All these octets, where neither a disk nor a network has to be waited for; else None."""

    def chunks(self, name: str, offset: int = 0) -> AsyncIterator[bytes]: ...

    async def delete(self, name: str) -> None:
        """Delete; nothing happens when it is gone already."""

    def names_before(self, epoch: float, after: str = "") -> AsyncIterator[list[str]]:
        """Names greater than `after` of the objects stored before that moment, some at a time."""

    async def close(self) -> None: ...


def new_name() -> str:
    """A name that no object ever had: 12 hex digits of milliseconds and 20 of chance."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def is_name(name: str) -> bool:
    """Whether it can be the name of an object."""
    return len(name) == 32 and not name.strip("0123456789abcdef")


def moment_of(name: str) -> float:
    """When an object got its name, seconds since 1970 UTC."""
    return int(name[:12], 16) / 1000


def is_abandoned(name: str, now: float) -> bool:
    """Whether it is too late to commit a row with this name."""
    return now - moment_of(name) > ABANDONED_SECONDS


class FileBlobs:
    """Objects as files in a directory: `NAME` lies in a folder named by its last two characters.

    The spool directory lies within, so that adopting a file is a rename.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool_directory = directory / "spool"
        self.spool_directory.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(4, "posthouse-blobs")

    async def store(self, path: Path, name: str = "") -> str:
        try:
            return await self._in_thread(self._store, path, name or new_name())
        except BaseException:
            forsake(path)
            raise

    async def read(self, name: str, offset: int, length: int) -> bytes:
        return await self._in_thread(self._read, name, offset, length)

    def at_hand(self, name: str, offset: int, length: int) -> bytes | bytearray | None:
        """What the kernel has in memory. What it has not it begins to read, and may have soon."""
        octets = bytearray(length)
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = os.preadv(descriptor, [octets], offset, os.RWF_NOWAIT)
            finally:
                os.close(descriptor)
        except OSError:
            return None  # `read` waits, or says what is wrong
        return octets if found == length else None

    async def chunks(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        while chunk := await self.read(name, offset, CHUNK):
            yield chunk
            offset += len(chunk)

    async def delete(self, name: str) -> None:
        await self._in_thread(_remove, self._path(name))

    async def names_before(self, epoch: float, after: str = "") -> AsyncIterator[list[str]]:
        for shard in await self._in_thread(self._shards):
            names = await self._in_thread(self._names, shard, after)
            if old := [name for name in names if moment_of(name) < epoch]:
                yield old

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, partial(function, *arguments)
            )
        except FileNotFoundError as error:
            raise NoSuchBlob(f"no such blob: {error.filename}") from error
        except OSError as error:
            raise (DiskFull if reason_is_space(error.errno) else DatabaseAway)(str(error)) from error

    def _path(self, name: str) -> str:
        if not is_name(name):
            raise DatabaseError(f"not the name of a blob: {name!r}")
        return f"{self.directory}/{name[-2:]}/{name}"

    def _store(self, path: Path, name: str) -> str:
        target = Path(self._path(name))
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _fsync_directory(self.directory)
        os.rename(path, target)
        _fsync_directory(target.parent)
        return name

    def _read(self, name: str, offset: int, length: int) -> bytes:
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def _shards(self) -> list[str]:
        return [entry.path for entry in os.scandir(self.directory) if len(entry.name) == 2 and entry.is_dir()]

    def _names(self, shard: str, after: str) -> list[str]:
        return sorted(name for name in os.listdir(shard) if is_name(name) and name > after)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_blobs(url: str, directory: Path, seconds: float = TIMEOUT_SECONDS) -> Blobs:
    """The blobs that `database.blobs` names; a relative path lies under the data directory.

    `seconds`: how long an object store is waited for.
    """
    if url.startswith("s3://"):
        try:
            from posthouse.db.blobs_s3 import S3Blobs
        except ImportError as error:
            raise DatabaseError(
                f"S3 needs more packages: pip install posthouse[cluster] ({error})"
            ) from error
        return S3Blobs(url, directory / "spool", seconds)
    if not url.startswith(SCHEME) or len(url) == len(SCHEME):
        raise DatabaseError(
            f"database.blobs must be {SCHEME}DIRECTORY or s3://BUCKET, not {url.split(':')[0]}:…"
        )
    return FileBlobs(directory / url[len(SCHEME) :])


def discard(tx: Tx, name: str, now: float) -> None:
    """The row that named this object is deleted in this transaction; remember to delete the object."""
    tx.run("INSERT INTO blob_garbage (name, since) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, now))


async def collect_remembered(database: Database, blobs: Blobs, now: float) -> int:
    """Delete the objects whose row was deleted an hour ago; how many. For the holder of the lease."""
    before = now - GRACE_SECONDS
    deleted = 0
    while garbage := [
        str(name)
        for (name,) in await database.read(
            lambda reader: reader.all(
                "SELECT name FROM blob_garbage WHERE since < ? ORDER BY since, name LIMIT ?",
                (before, COLLECT),
            )
        )
    ]:
        for name in garbage:
            await blobs.delete(name)
        rows = [(name,) for name in garbage]
        await database.write([], partial(_forget, rows=rows))
        deleted += len(garbage)
    return deleted


class Collected(NamedTuple):
    """How far a collection of unnamed objects has come."""

    deleted: int
    upto: str
    """All objects with lesser names have been looked at."""


async def collect_unnamed(
    database: Database,
    blobs: Blobs,
    now: float,
    named: Callable[[Reader, Sequence[str]], set[str]],
    after: str = "",
) -> Collected:
    """Delete the objects older than 48 h that no row ever named. For the holder of the lease, now and then.

    named: which of these names a row still has (the store knows). after: `upto` of the time before. An
    object that was named when it was 48 h old is remembered when its row goes, so one look is enough.
    """
    before = now - UNNAMED_SECONDS
    deleted = 0
    async for old in blobs.names_before(before, after):
        for start in range(0, len(old), COLLECT):
            some = old[start : start + COLLECT]
            kept = await database.read(partial(_kept, named, some))
            for name in some:
                if name not in kept:
                    await blobs.delete(name)
                    deleted += 1
    return Collected(deleted, max(after, f"{int(before * 1000):012x}"))


def forsake(path: Path) -> None:
    """Remove a file of the spool directory, if it is there, at once: whoever stores it may be cancelled."""
    path.unlink(missing_ok=True)


def sweep_spool(spool: Path, now: float) -> None:
    """Remove files of the spool directory that nobody has written to for 48 h: a crash has left them.

    Every host has a spool directory of its own. Raises OSError.
    """
    before = now - UNNAMED_SECONDS
    with os.scandir(spool) as entries:
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue  # adopted meanwhile


def _kept(named: Callable[[Reader, Sequence[str]], set[str]], names: list[str], reader: Reader) -> set[str]:
    """Those that a row names, and those whose row is gone: they have their time (`collect_remembered`)."""
    kept = named(reader, names)
    for name in names:
        if name not in kept and reader.one("SELECT 1 FROM blob_garbage WHERE name = ?", (name,)) is not None:
            kept.add(name)
    return kept


def _forget(tx: Tx, rows: list[tuple[str]]) -> None:
    tx.many("DELETE FROM blob_garbage WHERE name = ?", rows)
