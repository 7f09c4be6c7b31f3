"""What a long APPEND brings is stored while more of it comes; the messages are there with the last, or not.

Contents go to the disk in pieces (`store.uploads`), each in a transaction of its own; the last transaction
makes messages of them. One piece is under way at a time, so where the disk is slow the pieces are larger.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from posthouse.observe import log
from posthouse.store import uploads

if TYPE_CHECKING:
    from posthouse.access.services import Services
    from posthouse.db import Tx
    from posthouse.store.content import New

PIECE: Final = 1024 * 1024
"""Octets that are worth a transaction."""
MOST_HELD: Final = 4 * 1024 * 1024
"""Octets in memory beyond which the client has to wait."""
OVERHEAD: Final = 512
"""What a message counts beside its octets."""

_log = log.get("access")


class Uploading:
    """The contents of one APPEND."""

    __slots__ = ("_contents", "_held", "_services", "_under_way", "_uploads")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._contents: list[New] = []
        self._held = 0
        self._uploads: list[int] = []
        self._under_way: asyncio.Future[int] | None = None

    def add(self, new: New) -> None:
        """Take the content of one message."""
        self._contents.append(new)
        self._held += OVERHEAD + (new.size if new.blob is None else len(new.head))

    async def go_on(self) -> None:
        """Store what has come, where it is enough for that. Raises DatabaseError."""
        if self._held < PIECE:
            return
        if self._under_way is not None:
            if not self._under_way.done() and self._held < MOST_HELD:
                return
            await self._written()
        contents, self._contents, self._held = self._contents, [], 0
        self._uploads.append(contents[0].id)
        put = partial(uploads.put, contents=contents)
        self._under_way = self._services.database.write([], put, long=True)

    async def _written(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            await under_way

    async def rest(self) -> list[New]:
        """What has not been stored yet, when all else is. Raises DatabaseError."""
        await self._written()
        return self._contents

    def claim(self, tx: Tx) -> None:
        """Within the transaction that makes messages of them. Raises DatabaseAway."""
        uploads.claim(tx, self._uploads)

    def claimed(self) -> None:
        """That transaction is durable: nothing is left to abandon."""
        self._uploads = []

    def abandon(self) -> None:
        """There will be no messages."""
        if not self._uploads:
            return
        if self._under_way is not None:
            self._under_way.add_done_callback(_forget)
        abandon = partial(uploads.abandon, contents=self._services.contents, uploads=self._uploads)
        self._uploads = []
        done = self._services.database.write([], abandon, long=True)  # in one line with the pieces
        done.add_done_callback(_forget)


def _forget(done: asyncio.Future[Any]) -> None:
    """Nobody waits for it; what is left of it goes with the next sweep."""
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.warning("cannot clear away an upload now", reason=str(error))
