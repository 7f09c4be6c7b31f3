"""Reader threads: each has a connection of its own, and takes the next question that waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from posthouse.db.errors import DatabaseAway, Overloaded
from posthouse.db.interface import Reader
from posthouse.db.writer import Failure

T = TypeVar("T")

BACKLOG = 10_000


class Reading(Protocol):
    """A driver's part of it: one reading connection."""

    def look(self, fn: Callable[[Reader], T]) -> T:
        """`fn` at one moment of the database."""

    def close(self) -> None: ...


class Readers:
    """Threads are started when there is something to read, `most` at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connect: Callable[[], Reading], most: int) -> None:
        """`connect` runs in the reader's thread."""
        self._loop = loop
        self._connect = connect
        self._most = most
        self._waiting: SimpleQueue[tuple[Callable[[Reader], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._stopped = False

    def submit(self, fn: Callable[[Reader], T]) -> asyncio.Future[T]:
        """What `fn` finds. Fails with DatabaseAway, Overloaded."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._stopped:
            future.set_exception(DatabaseAway("the database is closed"))
        elif self._waiting.qsize() >= BACKLOG:
            future.set_exception(Overloaded("too many reads are waiting"))
        else:
            self._busy += 1
            if len(self._threads) < min(self._busy, self._most):
                thread = threading.Thread(target=self._work, name="posthouse-reader", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._waiting.put((fn, future))
        return future

    def stop(self) -> list[threading.Thread]:
        """Read what is waiting, and nothing more; the threads to wait for."""
        self._stopped = True
        for _ in self._threads:
            self._waiting.put(None)
        return self._threads

    def _work(self) -> None:
        reading: Reading | None = None
        while (job := self._waiting.get()) is not None:
            fn, future = job
            answer: Any
            try:
                if reading is None:
                    reading = self._connect()
                answer = reading.look(fn)
            except Exception as error:  # noqa: BLE001 (whoever waits is told)
                answer = Failure(error)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._settle, future, answer)
        if reading is not None:
            reading.close()

    def _settle(self, future: asyncio.Future[Any], answer: Any) -> None:
        self._busy -= 1
        if future.done():
            return
        if type(answer) is Failure:
            future.set_exception(answer.error)
        else:
            future.set_result(answer)
