"""Checkpoints: the WAL's pages go into the database file, off the commit path.

Whoever holds the lease row `checkpoint` does it, in a thread and connection of its own, when the WAL has
grown; the lease is taken along with a batch that is written anyway, so an idle server writes nothing.
A passive checkpoint disturbs nobody but never catches up with busy writers; so when the WAL is large, the
last few pages are done while holding the writers' lock, which takes milliseconds, and the next
transaction begins the WAL afresh. Past the ceiling, readers are waited for as well.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

import apsw

from posthouse.db import leases
from posthouse.db.connection import connect
from posthouse.db.lockfile import LockFile

if TYPE_CHECKING:
    from posthouse.db.writer import GroupCommit

PASSIVE_PAGES = 6_000
"""Pages written since the last checkpoint that ask for another: 24 MB."""
RESTART_PAGES = 12_000
"""Pages in the WAL from which on it is made to begin afresh: 48 MB."""
CEILING_PAGES = 64_000
"""Pages in the WAL that are worth waiting for readers: 256 MB."""
LEASE = "checkpoint"


class Checkpointer:
    """Told of the WAL's size after each commit; does nothing until it has grown."""

    def __init__(self, path: Path, lock_path: Path, group: GroupCommit, holder: int) -> None:
        self.checkpoints = 0
        self.restarts = 0
        self._path = path
        self._lock_path = lock_path
        self._group = group
        self._holder = holder
        self._held_until = 0.0
        self._asking = False
        self._busy = False
        self._done_pages = 0
        self._thread: threading.Thread | None = None
        self._jobs: SimpleQueue[int | None] = SimpleQueue()

    def notice(self, pages: int) -> None:
        """The WAL holds `pages` pages."""
        if pages < self._done_pages:
            self._done_pages = 0
        if self._busy or pages - self._done_pages < PASSIVE_PAGES:
            return
        now = monotonic()
        if now > self._held_until - leases.RENEW_SECONDS * 2 and not self._asking:
            self._ask(now)
        if now < self._held_until:
            self._busy = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="posthouse-checkpoint", daemon=True)
                self._thread.start()
            self._jobs.put(pages)

    def stop(self) -> list[threading.Thread]:
        """The thread to wait for, if there is one."""
        self._jobs.put(None)
        return [] if self._thread is None else [self._thread]

    def _ask(self, now: float) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(future: asyncio.Future[Any]) -> None:
            self._asking = False
            if not future.cancelled() and future.exception() is None and future.result():
                self._held_until = now + leases.LEASE_SECONDS

        future.add_done_callback(answered)
        self._asking = self._group.later(lambda tx: leases.take(tx, LEASE, self._holder), future)

    def _work(self) -> None:
        connection = connect(self._path, cache_mebibytes=2)
        lock = LockFile(self._lock_path)
        while (pages := self._jobs.get()) is not None:
            try:
                self._done_pages = self._checkpoint(connection, lock, pages)
            except apsw.Error:
                # Busy, or the disk is full: nothing is lost, the next commit asks again.
                self._done_pages = 0
            self._busy = False
        connection.close(True)
        lock.close()

    def _checkpoint(self, connection: apsw.Connection, lock: LockFile, pages: int) -> int:
        """Pages of the WAL that need no further checkpoint."""
        size, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self.checkpoints += 1
        if max(size, pages) < RESTART_PAGES:
            return done
        mode = apsw.SQLITE_CHECKPOINT_PASSIVE if size < CEILING_PAGES else apsw.SQLITE_CHECKPOINT_TRUNCATE
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        lock.take()
        try:
            size, done = connection.wal_checkpoint(mode=mode)
        finally:
            lock.release()
        self.restarts += 1
        return done
