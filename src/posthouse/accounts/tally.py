"""A tally: how often something has happened, and when last; one for all workers of a host.

It is a table of fixed size, in a file that every worker has mapped: nobody is asked, nobody is told, and a
restart forgets nothing. A name has its place in one of many buckets of a few slots; where a bucket is full,
the slot goes whose last event is the oldest. What the file holds of a name is a hash under a key of its own.

A change is made under a lock of its bucket alone, held for some microseconds, so that two workers never
count the same event as one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

_MAGIC: Final = b"tally 1\n"
_KEY_OCTETS: Final = 16
_HEADER: Final = 4096
_SLOT: Final = struct.Struct("<QdQ")
"""Hash of the name, time of the last event, number. A number of 0: the slot is free."""
_SLOTS: Final = 8
"""Of a bucket."""
_BUCKET: Final = _SLOTS * _SLOT.size
_NUMBER_LIMIT: Final = 2**32


class Count(NamedTuple):
    number: int
    last: float
    """Seconds since 1970 UTC."""


class Tally:
    """`capacity` counts, rounded up to whole buckets, in the file at `path`; None: of this process alone."""

    def __init__(self, capacity: int, path: Path | None = None) -> None:
        """Makes the file where there is none, or something else. Raises OSError."""
        self._buckets = -(-capacity // _SLOTS)
        size = _HEADER + self._buckets * _BUCKET
        self._file = -1
        if path is None:
            self._map = mmap.mmap(-1, size)
            self._begin()
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with self._locked(0, 1):
                known = os.fstat(self._file).st_size == size and os.pread(self._file, 8, 0) == _MAGIC
                if not known:
                    os.ftruncate(self._file, 0)
                    os.ftruncate(self._file, size)
                self._map = mmap.mmap(self._file, size)
                if not known:
                    self._begin()
        self._key = bytes(self._map[len(_MAGIC) : len(_MAGIC) + _KEY_OCTETS])

    def _begin(self) -> None:
        self._map[len(_MAGIC) : len(_MAGIC) + _KEY_OCTETS] = os.urandom(_KEY_OCTETS)
        self._map[: len(_MAGIC)] = _MAGIC

    def close(self) -> None:
        """Let go of the file; from now on nothing is counted."""
        self._map.close()
        if self._file >= 0:
            os.close(self._file)

    def get(self, name: tuple[str, str]) -> Count | None:
        """What is known of a name."""
        found: list[Count | None] = [None]

        def look(count: Count | None) -> Count | None:
            found[0] = count
            return count

        self.change(name, look)
        return found[0]

    def change(self, name: tuple[str, str], change: Callable[[Count | None], Count | None]) -> None:
        """Put what `change` makes of a name's count in its place; None: there is none (any more)."""
        if self._map.closed:
            return
        digest = blake2b("\0".join(name).encode(), digest_size=16, key=self._key).digest()
        hash, place = struct.unpack("<QQ", digest)
        start = _HEADER + place % self._buckets * _BUCKET
        with self._locked(start, _BUCKET):
            slots = list(_SLOT.iter_unpack(self._map[start : start + _BUCKET]))
            at = next((at for at, slot in enumerate(slots) if slot[2] and slot[0] == hash), -1)
            before = Count(slots[at][2], slots[at][1]) if at >= 0 else None
            after = change(before)
            if after == before:
                return
            if at < 0:
                at = min(range(_SLOTS), key=lambda at: slots[at][1] if slots[at][2] else 0.0)
            number, last = after or (0, 0.0)
            _SLOT.pack_into(self._map, start + at * _SLOT.size, hash, last, min(number, _NUMBER_LIMIT))

    def __len__(self) -> int:
        return sum(number > 0 for _, _, number in _SLOT.iter_unpack(self._map[_HEADER:]))

    @contextmanager
    def _locked(self, start: int, length: int) -> Iterator[None]:
        if self._file < 0:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX, length, start)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)
