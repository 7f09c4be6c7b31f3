"""Destinations: how many attempts go to one next hop at once, and to all of them.

Each destination has a few workers, coroutines that take one errand after the other and end when there is
none. The first ones start at once; more come only when errands pile up, until there are as many as allowed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from posthouse.runner.errand import Errand

AT_ONCE = 5
"""Workers of a destination that start without further reason."""
PILE = 4
"""Waiting errands for each worker that call for one more."""
WORKERS = 200
"""Workers of all destinations together."""


class Destination:
    """One next hop, as long as it has errands."""

    __slots__ = ("next_hop", "starved", "waiting", "workers")

    def __init__(self, next_hop: str) -> None:
        self.next_hop = next_hop
        self.waiting: deque[Errand] = deque()
        self.workers = 0
        self.starved = False


class Destinations:
    """All next hops with errands. `attempt` is called with each errand; it raises nothing."""

    def __init__(self, limit: int, attempt: Callable[[Errand], Awaitable[None]]) -> None:
        """`limit`: attempts at one destination at once."""
        self._limit = limit
        self._attempt = attempt
        self._destinations: dict[str, Destination] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starved: deque[Destination] = deque()
        self._stopped = False

    def add(self, errand: Errand) -> None:
        """Try the errand as soon as its destination has a worker free."""
        destination = self._destinations.get(errand.next_hop)
        if destination is None:
            destination = self._destinations[errand.next_hop] = Destination(errand.next_hop)
        destination.waiting.append(errand)
        self._staff(destination)

    def take_waiting(self, next_hop: str) -> list[Errand]:
        """Jobs for this next hop that were not begun; they are the caller's now."""
        destination = self._destinations.get(next_hop)
        if destination is None:
            return []
        errands = list(destination.waiting)
        destination.waiting.clear()
        return errands

    def take_all_waiting(self) -> list[Errand]:
        """The same for all next hops."""
        return [errand for next_hop in list(self._destinations) for errand in self.take_waiting(next_hop)]

    def halt(self) -> None:
        """Begin no more errands."""
        self._stopped = True

    async def stop(self, seconds: float) -> None:
        """Give what is under way this long, then cut it off."""
        self.halt()
        for destination in self._destinations.values():
            destination.waiting.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _staff(self, destination: Destination) -> None:
        workers = destination.workers
        if workers >= self._limit or (workers >= AT_ONCE and len(destination.waiting) < PILE * workers):
            return
        if len(self._tasks) >= WORKERS:
            if not destination.starved and not workers:
                destination.starved = True
                self._starved.append(destination)
            return
        destination.workers += 1
        task = asyncio.get_running_loop().create_task(self._work(destination))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _work(self, destination: Destination) -> None:
        waiting = destination.waiting
        try:
            while waiting and not self._stopped:
                await self._attempt(waiting.popleft())
                if self._starved and destination.workers > 1:
                    break
        finally:
            destination.workers -= 1
            if not destination.workers and not waiting:
                self._destinations.pop(destination.next_hop, None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._starved and not self._stopped:
            destination = self._starved.popleft()
            destination.starved = False
            if destination.waiting:
                self._staff(destination)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
