"""A dictionary of bounded size that forgets what has not been asked for longest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Entries of a weight of `capacity` in all; a new one pushes out those unused longest."""

    __slots__ = ("_capacity", "_entries", "_extra", "_heavy")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a cache holds at least one entry")
        self._capacity = capacity
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._heavy: dict[K, int] = {}
        self._extra = 0

    def get(self, key: K) -> V | None:
        """What was put under `key`, or None."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Remember `value`, which is not None, under `key`; it takes the room of `weight` entries."""
        entries = self._entries
        if self._heavy:
            self._lighten(key)
        entries[key] = value
        entries.move_to_end(key)
        if weight > 1:
            self._heavy[key] = weight - 1
            self._extra += weight - 1
        while len(entries) + self._extra > self._capacity:
            self._lighten(entries.popitem(last=False)[0])

    def drop(self, key: K) -> None:
        """Forget one entry, if it is there."""
        self._entries.pop(key, None)
        self._lighten(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._heavy.clear()
        self._extra = 0

    def _lighten(self, key: K) -> None:
        self._extra -= self._heavy.pop(key, 0)

    def __len__(self) -> int:
        return len(self._entries)
