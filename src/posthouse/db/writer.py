"""Group commit: what is waiting becomes one transaction, and one fsync answers for all of it.

The road of a closure:

    submit ── the loop reads every ready socket ── begin ── apply ── commit (in a thread) ── answers

One batch is in flight at a time; what arrives meanwhile is the next. Where the database is in this
process, closures run in the loop's thread, because a second Python thread making many small calls would
fight it for the interpreter; waiting for the lock and for the disk happens in the writer's thread.
Closures that take long, and those whose every question goes over a network, run there as a whole.

A batch first runs without savepoints, and together those closures that say how. If one fails, everything
is rolled back and the batch runs again with a savepoint each, so that only the bad one fails; if an error
has destroyed the transaction itself, they run again one by one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeAlias

from posthouse.db.errors import DatabaseAway, Overloaded
from posthouse.db.interface import Together, Tx

BATCH = 256
"""Closures in one transaction at most."""
LONG_BATCH = 8
APPLY_SECONDS = 0.008
"""The loop is given back after this long; the rest of the batch waits for the next."""
HOLD_SECONDS = 0.0005
BACKLOG = 10_000
LATER_BACKLOG = 10_000
LATER_BATCH = 64
LATER_SECONDS = 1.0

Closure: TypeAlias = Callable[[Tx], Any]


class Waiting(NamedTuple):
    """A closure that waits to be written."""

    closure: Closure
    future: asyncio.Future[Any] | None
    keys: Sequence[int] = ()
    """The accounts it touches."""
    together: Together | None = None


def runs(batch: Sequence[Waiting], most: int) -> Iterator[Sequence[Waiting]]:
    """The closures in their order: those in a row that may run together, at most so many, or one."""
    start = 0
    while start < len(batch):
        together = batch[start].together
        end = start + 1
        if together is not None:
            while end < len(batch) and end - start < most and batch[end].together is together:
                end += 1
        yield batch[start:end]
        start = end


def run(tx: Tx, waiting: Sequence[Waiting]) -> Sequence[Any]:
    """The answers of closures that are run together, or of one."""
    together = waiting[0].together
    if together is None or len(waiting) == 1:
        return [one.closure(tx) for one in waiting]
    return together(tx, [one.closure for one in waiting])


class Failure(NamedTuple):
    """The answer of a closure that raised."""

    error: Exception


class Engine(Protocol):
    """A driver's part of it, in the writer's thread."""

    def whole(self, batch: list[Waiting]) -> list[Any]:
        """Run a batch and commit it; its answers. It raises when nothing of it was done."""

    def close(self) -> None: ...


class LoopEngine(Engine, Protocol):
    """A driver that runs closures in the loop's thread. `begin`, `one_by_one` and `commit` may block."""

    def try_begin(self) -> bool:
        """Begin if that is possible without waiting."""

    def begin(self) -> None: ...

    def apply(self, batch: list[Waiting], seconds: float) -> list[Any]:
        """Answers of as many closures as fit into `seconds`. Raises when the transaction is lost."""

    def one_by_one(self, batch: list[Waiting]) -> list[Any]:
        """The same in a transaction each, committed."""

    def commit(self) -> None: ...

    def abandon(self) -> None:
        """Undo, whatever the state."""


class TransactionLost(Exception):
    """An error has ended the transaction under its closures."""


class FatalError(DatabaseAway):
    """This process must write no more."""


class GroupCommit:
    """Collects closures on the loop and commits them in batches."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, on_loop: LoopEngine | None) -> None:
        """`on_loop`: the same engine, if it runs closures in the loop's thread."""
        self.hold: Callable[[], int] | None = None
        self.on_fatal: Callable[[BaseException], object] | None = None
        self.after_commit: Callable[[], object] | None = None
        self.batches = 0
        self.closures = 0
        self.dropped = 0
        """Closures of `later` that were not taken, or failed."""
        self._loop = loop
        self._engine = engine
        self._on_loop = on_loop
        self._waiting: deque[Waiting] = deque()
        self._long: deque[Waiting] = deque()
        self._later: deque[Waiting] = deque()
        self._later_timer: asyncio.TimerHandle | None = None
        self._idle = True
        self._after_long = False
        self._held_since = 0.0
        self._held_with = 0
        self._dead: Exception | None = None
        self._drained: asyncio.Future[None] | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="posthouse-writer", daemon=True)
        self._thread.start()

    # What the database offers

    def submit(
        self, closure: Closure, long: bool = False, keys: Sequence[int] = (), together: Together | None = None
    ) -> asyncio.Future[Any]:
        """The closure's value, once durable."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._dead is not None:
            future.set_exception(self._dead)
            return future
        line = self._long if long else self._waiting
        if len(line) >= BACKLOG:
            future.set_exception(Overloaded("too many writes are waiting"))
            return future
        line.append(Waiting(closure, future, keys, together))
        if self._idle:
            self._wake()
        return future

    def later(
        self, closure: Closure, future: asyncio.Future[Any] | None = None, keys: Sequence[int] = ()
    ) -> bool:
        """Take the closure along with the next batch, or after a second; False: there are too many."""
        if self._dead is not None or len(self._later) >= LATER_BACKLOG:
            self.dropped += 1
            return False
        self._later.append(Waiting(closure, future, keys))
        if self._later_timer is None:
            self._later_timer = self._loop.call_later(LATER_SECONDS, self._later_is_due)
        return True

    async def close(self) -> None:
        """Write what is waiting; then nothing is taken any more."""
        while self._dead is None and (self._waiting or self._long or self._later or not self._idle):
            if self._idle:
                self._wake()
            self._drained = self._loop.create_future()
            await self._drained
        if self._dead is None:
            self._dead = DatabaseAway("the database is closed")
        if self._later_timer is not None:
            self._later_timer.cancel()
        self._jobs.put(None)
        while self._thread.is_alive():
            self._thread.join(0.001)
            await asyncio.sleep(0)
        self._engine.close()

    # On the loop

    def _later_is_due(self) -> None:
        self._later_timer = None
        if self._later and self._idle:
            self._wake()

    def _wake(self) -> None:
        self._idle = False
        self._held_since = 0.0
        self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Every socket that was ready has been read; wait a little for sessions in the middle of a letter."""
        if self.hold is not None and len(self._waiting) < BATCH and self.hold() > 0:
            now = perf_counter()
            if not self._held_since:
                self._held_since, self._held_with = now, 0
            if now - self._held_since < HOLD_SECONDS and len(self._waiting) > self._held_with:
                self._held_with = len(self._waiting)
                self._loop.call_soon(self._gather)
                return
        self._begin()

    def _begin(self) -> None:
        if self._long and (self._after_long is False or not self._waiting):
            self._after_long = True
            batch = [self._long.popleft() for _ in range(min(len(self._long), LONG_BATCH))]
            self._jobs.put(lambda: self._run(self._engine.whole, batch))
            return
        self._after_long = False
        engine = self._on_loop
        if engine is None:
            short = self._take_batch()
            self._jobs.put(lambda: self._run(self._engine.whole, short))
            return
        try:
            begun = engine.try_begin()
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self._cannot_begin(error)
            return
        if begun:
            self._apply(engine)
        else:
            self._jobs.put(lambda: self._begin_in_thread(engine))

    def _cannot_begin(self, error: Exception) -> None:
        self._fail(self._take_batch(), error)

    def _take_batch(self) -> list[Waiting]:
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH))]
        if self._later:
            batch += [self._later.popleft() for _ in range(min(len(self._later), LATER_BATCH))]
        return batch

    def _apply(self, engine: LoopEngine) -> None:
        batch = self._take_batch()
        try:
            answers = engine.apply(batch, APPLY_SECONDS)
        except TransactionLost:
            self._jobs.put(lambda: self._run(engine.one_by_one, batch))
            return
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self._fail(batch, error)
            return
        if len(answers) < len(batch):
            self._waiting.extendleft(reversed(batch[len(answers) :]))
            del batch[len(answers) :]
        self._jobs.put(lambda: self._commit(engine, batch, answers))

    def _answer(self, batch: list[Waiting], answers: list[Any]) -> None:
        self.batches += 1
        self.closures += len(batch)
        for (_, future, *_), answer in zip(batch, answers, strict=True):
            if future is None:
                self.dropped += type(answer) is Failure
            elif not future.done():
                if type(answer) is Failure:
                    future.set_exception(answer.error)
                else:
                    future.set_result(answer)
        if self.after_commit is not None:
            self.after_commit()
        self._next()

    def _fail(self, batch: list[Waiting], error: Exception) -> None:
        for _, future, *_ in batch:
            if future is not None and not future.done():
                future.set_exception(error)
        if isinstance(error, FatalError) and self._dead is None:
            self._die(error)
        self._next()

    def _die(self, error: FatalError) -> None:
        self._dead = error
        rest = [*self._waiting, *self._long, *self._later]
        for line in (self._waiting, self._long, self._later):
            line.clear()
        for _, future, *_ in rest:
            if future is not None and not future.done():
                future.set_exception(error)
        if self.on_fatal is not None:
            self.on_fatal(error)

    def _next(self) -> None:
        if self._waiting or self._long:
            self._wake()
            return
        self._idle = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # In the writer's thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _begin_in_thread(self, engine: LoopEngine) -> None:
        try:
            engine.begin()
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self._call(self._cannot_begin, error)
        else:
            self._call(self._apply, engine)

    def _commit(self, engine: LoopEngine, batch: list[Waiting], answers: list[Any]) -> None:
        try:
            engine.commit()
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self._call(self._fail, batch, error)
        else:
            self._call(self._answer, batch, answers)

    def _run(self, function: Callable[[list[Waiting]], list[Any]], batch: list[Waiting]) -> None:
        try:
            answers = function(batch)
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self._call(self._fail, batch, error)
        else:
            self._call(self._answer, batch, answers)
