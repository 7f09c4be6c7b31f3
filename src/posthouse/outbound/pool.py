"""Sessions that live longer than one letter, and how many there may be to one next hop.

A session that has done its work waits `cache_time` seconds for the next letter, then says QUIT; when
somebody waits for it already, it is handed over at once. No more than `limit` connections to one next
hop are open at a time; who comes later waits in line.
"""

from __future__ import annotations

import asyncio
from collections import deque

from posthouse.outbound.connection import Connection
from posthouse.outbound.hop import NextHop


class _Destination:
    """The connections to one next hop."""

    __slots__ = ("idle", "open", "waiting")

    def __init__(self) -> None:
        self.open = 0
        """Connections, those being opened included."""
        self.idle: list[tuple[Connection, float]] = []
        """With the time at which each is let go, the latest last."""
        self.waiting: deque[asyncio.Future[Connection | None]] = deque()


class Pool:
    """All sessions of one worker. Times are the loop's, in seconds."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, limit: int, cache_time: float, reuse_time: float = 300.0
    ) -> None:
        """`reuse_time`: the age at which a connection is used no more (smtp_connection_reuse_time_limit)."""
        self._loop = loop
        self._limit = limit
        self._cache_time = cache_time
        self._reuse_time = reuse_time
        self._destinations: dict[NextHop, _Destination] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def take(self, hop: NextHop) -> Connection | asyncio.Future[Connection | None] | None:
        """An idle session; None: open one, its place is reserved; or a future of either.

        Whoever got something gives it back by `give_back` or `give_up`.
        """
        destination = self._destinations.get(hop)
        if destination is None:
            destination = self._destinations[hop] = _Destination()
        while destination.idle:
            connection, _ = destination.idle.pop()
            if connection.usable:
                return connection
            destination.open -= 1
        if destination.open < self._limit:
            destination.open += 1
            return None
        future: asyncio.Future[Connection | None] = self._loop.create_future()
        destination.waiting.append(future)
        return future

    def give_back(self, hop: NextHop, connection: Connection) -> None:
        """The session has done its work, and may do more."""
        now = self._loop.time()
        if not connection.usable or now - connection.opened > self._reuse_time:
            connection.quit()
            self.give_up(hop)
            return
        destination = self._destinations[hop]
        waiter = _next_waiter(destination)
        if waiter is not None:
            waiter.set_result(connection)
        elif self._cache_time > 0:
            destination.idle.append((connection, now + self._cache_time))
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(self._cache_time, self._sweep)
        else:
            connection.quit()
            self.give_up(hop)

    def give_up(self, hop: NextHop) -> None:
        """A reserved place is free again: nothing was opened, or it is gone."""
        destination = self._destinations[hop]
        waiter = _next_waiter(destination)
        if waiter is not None:
            waiter.set_result(None)
            return
        destination.open -= 1
        if not destination.open:
            del self._destinations[hop]

    @property
    def sessions(self) -> int:
        """Connections that are open or being opened."""
        return sum(destination.open for destination in self._destinations.values())

    def close(self) -> None:
        """Say QUIT on everything that is idle; what is at work is cached no more."""
        self._cache_time = 0.0
        self._let_go(float("inf"))

    def _sweep(self) -> None:
        self._sweeper = None
        next_time = self._let_go(self._loop.time())
        if next_time is not None:
            self._sweeper = self._loop.call_at(next_time, self._sweep)

    def _let_go(self, now: float) -> float | None:
        """QUIT on what has waited until `now`; gives the time at which the next is due."""
        next_time: float | None = None
        for hop, destination in list(self._destinations.items()):
            idle, destination.idle = destination.idle, []
            for connection, until in idle:
                if until <= now or not connection.usable:
                    connection.quit()
                    self.give_up(hop)
                else:
                    destination.idle.append((connection, until))
                    next_time = until if next_time is None else min(next_time, until)
        return next_time


def _next_waiter(destination: _Destination) -> asyncio.Future[Connection | None] | None:
    while destination.waiting:
        waiter = destination.waiting.popleft()
        if not waiter.done():
            return waiter
    return None
