"""Masks: for each message of a view one octet, 1 where something holds. All at once, in a few calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from posthouse.access.imap.selected import Runs

_INVERSE = bytes([1]) + bytes(255)


def both(one: bytes, other: bytes) -> bytes:
    if 0 not in one:
        return other
    if 0 not in other:
        return one
    return (int.from_bytes(one, "little") & int.from_bytes(other, "little")).to_bytes(len(one), "little")


def either(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def inverse(mask: bytes) -> bytes:
    return mask.translate(_INVERSE)


def every(count: int) -> bytes:
    return b"\1" * count


def of_runs(runs: Runs, count: int) -> bytes:
    mask = bytearray(count)
    for first, end in runs:
        mask[first:end] = b"\1" * (end - first)
    return bytes(mask)


def of_flag(flags: bytearray, bit: int) -> bytes:
    return bytes(flags.translate(_table(bit)))


@lru_cache(maxsize=32)
def _table(bit: int) -> bytes:
    return bytes(bool(flags & bit) for flags in range(256))


def where(holds: Callable[[Any], bool], column: Sequence[Any]) -> bytes:
    """Where `holds` is true of a value; it is asked for each."""
    return bytes(map(holds, column))


def where_distinct(holds: Callable[[Any], bool], column: Sequence[Any]) -> bytes:
    """The same for a column of few different values, each of which is asked for once."""
    known = {value: holds(value) for value in set(column)}
    return bytes(map(known.__getitem__, column))


def indexes(mask: bytes) -> Sequence[int]:
    """Where a mask has 1, ascending; a range, if that is one run."""
    first, end = mask.find(1), mask.rfind(1) + 1
    if first < 0 or mask.find(0, first, end) < 0:
        return range(max(first, 0), end)
    return list(compress(range(len(mask)), mask))


def of_indexes(chosen: Iterable[int], count: int) -> bytes:
    mask = bytearray(count)
    for index in chosen:
        mask[index] = 1
    return bytes(mask)
