"""Blobs in an S3 bucket: `s3://bucket/prefix?endpoint=https://host:port&region=…`.

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from the files and services that
Amazon's own programs ask, or from nowhere (`skip_signature=true`).

A name is new, so that nothing is ever overwritten; up to `PART` octets go in one conditional PUT, which
the server refuses if the name exists; larger ones in parts, of which nobody sees anything before the
last. Names begin with the moment they were made, so that a list is in the order of time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from posthouse.db import blobs
from posthouse.db.blobs import forsake, is_name, moment_of, new_name
from posthouse.db.errors import DatabaseAway, DatabaseError, NoSuchBlob

T = TypeVar("T")

SCHEME: Final = "s3://"
PART: Final = 5 * 1024 * 1024
"""Octets sent at once; S3 takes no smaller parts, but for the last."""
AT_ONCE: Final = 2
"""Parts of one object on their way at the same time: with `PART`, what an upload holds in memory."""
SLOWEST: Final = 500_000
"""Octets a second that an upload must manage beyond that."""
UPLOADS: Final = 8
"""Objects that one process sends at the same time; the others wait for as long as an answer may take."""
NAMES_ATTEMPTS: Final = 3
_LAST_RESORT: Final = "/latest/api/token"
"""What the machine itself is asked for credentials by, where there are none elsewhere."""


class S3Blobs:
    """See `posthouse.db.blobs.Blobs`."""

    def __init__(self, url: str, spool_directory: Path, seconds: float) -> None:
        """`seconds`: the deadline of anything small, with all its retries."""
        self.spool_directory = spool_directory
        spool_directory.mkdir(parents=True, exist_ok=True)
        self._store = _open(url, seconds)
        self._seconds = seconds
        self._room = asyncio.Semaphore(UPLOADS)

    async def store(self, path: Path, name: str = "") -> str:
        try:
            return await asyncio.create_task(self._when_there_is_room(path, name))
        finally:
            forsake(path)

    async def _when_there_is_room(self, path: Path, name: str) -> str:
        try:
            async with asyncio.timeout(self._seconds):
                await self._room.acquire()
        except TimeoutError as error:
            raise DatabaseAway("too many objects are on their way to the object store") from error
        try:
            return await self._send(path, name)
        finally:
            self._room.release()

    async def _send(self, path: Path, name: str) -> str:
        size = (await asyncio.to_thread(path.stat)).st_size
        seconds = self._seconds + size / SLOWEST
        for _ in range(NAMES_ATTEMPTS):
            stored = name or new_name()
            try:
                await self._in_time(self._put(stored, path, size), seconds)
            except AlreadyExistsError:
                if not name:
                    continue  # an attempt whose answer was lost has stored it; the collector finds that one
            return stored
        raise DatabaseAway("the object store says of new names that they exist")

    def _put(self, name: str, path: Path, size: int) -> Awaitable[Any]:
        if size <= PART:
            return obstore.put_async(self._store, name, path, mode="create", use_multipart=False)
        return obstore.put_async(
            self._store, name, path, use_multipart=True, chunk_size=PART, max_concurrency=AT_ONCE
        )

    async def read(self, name: str, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        try:
            found = await self._in_time(
                obstore.get_range_async(self._store, _known(name), start=offset, length=length)
            )
        except DatabaseAway:
            # A range beyond the end is an error in S3; here it is nothing.
            if offset and offset >= await self._size(name):
                return b""
            raise
        return bytes(found)

    def at_hand(self, name: str, offset: int, length: int) -> None:
        """Nothing ever is: it lies beyond a network."""

    async def _size(self, name: str) -> int:
        meta = await self._in_time(obstore.head_async(self._store, name))
        return int(meta["size"])

    async def chunks(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        size = await self._size(_known(name))
        while offset < size:
            chunk = await self.read(name, offset, min(blobs.CHUNK, size - offset))
            if not chunk:
                raise DatabaseError(f"the blob {name} ends at octet {offset} of {size}")
            yield chunk
            offset += len(chunk)

    async def delete(self, name: str) -> None:
        try:
            await self._in_time(obstore.delete_async(self._store, _known(name)))
        except FileNotFoundError:
            return

    async def names_before(self, epoch: float, after: str = "") -> AsyncIterator[list[str]]:
        pages = obstore.list(self._store, offset=after or None, chunk_size=1000)
        while True:
            try:
                page = await self._in_time(anext(pages))
            except StopAsyncIteration:
                return
            names = [meta["path"] for meta in page]
            if old := [name for name in names if is_name(name) and moment_of(name) < epoch]:
                yield old

    async def close(self) -> None:
        """Connections end by themselves."""

    def _in_time(self, work: Awaitable[T], seconds: float = 0.0) -> asyncio.Task[T]:
        """A task of its own: what awaits it may have been begun outside of any, and there are no timeouts."""
        return asyncio.create_task(self._limited(work, seconds or self._seconds))

    async def _limited(self, work: Awaitable[T], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as error:
            raise DatabaseAway("the object store does not answer") from error
        except AlreadyExistsError:
            raise
        except (NotFoundError, FileNotFoundError) as error:
            raise NoSuchBlob("no such blob") from error
        except (BaseError, OSError) as error:
            raise DatabaseAway(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0].partition(": <?xml")[0]
    if _LAST_RESORT in text:
        return f"nobody has given the credentials of the object store: {text}"
    return text


def _known(name: str) -> str:
    if not is_name(name):
        raise DatabaseError(f"not the name of a blob: {name!r}")
    return name


_SETTINGS: Final = ("endpoint", "region", "skip_signature", "virtual_hosted_style_request")


def _open(url: str, seconds: float) -> S3Store:
    parts = urlsplit(url)
    settings: dict[str, Any] = dict(parse_qsl(parts.query))
    unknown = settings.keys() - set(_SETTINGS)
    if not parts.netloc or unknown:
        known = "&".join(f"{key}=…" for key in _SETTINGS)
        raise DatabaseError(f"database.blobs must be {SCHEME}BUCKET/PREFIX?{known}")
    plain = settings.get("endpoint", "").startswith("http://")
    settings.setdefault("region", "us-east-1")
    try:
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "timeout": f"{seconds + PART / SLOWEST:g}s",
                "connect_timeout": f"{min(5.0, seconds):g}s",
                "allow_http": plain,
            },
            retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=seconds)},
            **settings,
        )
    except (BaseError, ValueError) as error:
        raise DatabaseError(f"database.blobs: {_first_line(error)}") from error
