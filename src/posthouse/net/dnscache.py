"""What DNS has told us, for as long as it allows: bounded in number, least recently stored goes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from posthouse.ports import Clock, Found, LookupFailed, NotFound

Result: TypeAlias = Found[Any] | NotFound | LookupFailed
Key: TypeAlias = tuple[str, int]
"""Name (A-labels, lower case, no final dot) and type."""

LONGEST = 86_400
"""Seconds for which an answer is kept at most."""
LONGEST_NEGATIVE = 3 * 3600
"""The same for "there is none" (RFC 2308 §5 finds one to three hours to work well)."""


class DnsCache:
    """Positive and negative answers by name and type. Failures are never kept."""

    def __init__(self, clock: Clock, size: int = 20_000) -> None:
        self._clock = clock
        self._size = size
        self._kept: dict[Key, tuple[float, Found[Any] | NotFound]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Found[Any] | NotFound | None:
        """What is known, its TTL counted down; None when nothing is."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        expires, result = kept
        left = expires - self._clock.now()
        if left <= 0 or left > LONGEST:  # the latter: the clock was set back
            del self._kept[key]
            return None
        return replace(result, ttl=int(left)) if isinstance(result, Found) else result

    def put(self, key: Key, result: Found[Any] | NotFound, ttl: int) -> None:
        """Keep `result` for `ttl` seconds, within the bounds; 0 keeps nothing."""
        ttl = min(ttl, LONGEST if isinstance(result, Found) else LONGEST_NEGATIVE)
        self._kept.pop(key, None)
        if ttl <= 0:
            return
        while len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock.now() + ttl, result)

    def clear(self) -> None:
        self._kept.clear()
