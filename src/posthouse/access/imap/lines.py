"""FETCH responses, put together from columns of byte strings: one join for a batch of messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_STARTS: list[bytes] = []
"""`* 1 FETCH (` and on: the same for all mailboxes."""
_MOST_STARTS = 50_000
_STEP = 1000
_ENDS = [b"%03d FETCH (" % number for number in range(_STEP)]


class Values(NamedTuple):
    """One item of FETCH for each message of a batch."""

    values: Iterable[bytes]
    label: bytes = b""
    """What stands before each value."""
    more: Sequence[Iterable[bytes]] = ()
    """Columns with what follows each value, so that large pieces are copied once only."""


def some(column: Sequence[T], indexes: Sequence[int]) -> Sequence[T]:
    """The values of some messages; those of neighbours at once, where `indexes` is a range."""
    if isinstance(indexes, range):
        return column[indexes.start : indexes.stop]
    return [column[index] for index in indexes]


def starts(indexes: Sequence[int]) -> Sequence[bytes]:
    """`* n FETCH (` for each index, which ascend."""
    end = indexes[-1] + 1 if indexes else 0
    if end > _MOST_STARTS:
        return _many_starts(indexes)
    while len(_STARTS) < end:
        first = len(_STARTS) + 1
        _STARTS.extend([b"* %d FETCH (" % number for number in range(first, first + _STEP)])
    return some(_STARTS, indexes)


def _many_starts(indexes: Sequence[int]) -> Sequence[bytes]:
    """The same for numbers that are not kept: of neighbours only the last digits differ."""
    if not isinstance(indexes, range):
        return [b"* %d FETCH (" % (index + 1) for index in indexes]
    first, end = indexes.start + 1, indexes.stop + 1
    found = [b"* %d FETCH (" % number for number in range(first, min(end, _STEP))]
    for thousands in range(max(first, _STEP) // _STEP, (end - 1) // _STEP + 1):
        start = b"* %d" % thousands
        ends = _ENDS[max(first - thousands * _STEP, 0) : end - thousands * _STEP]
        found += [start + digits for digits in ends]
    return found


def join(openings: Sequence[bytes], items: Sequence[Values]) -> bytes:
    """A line for each message, from how it begins (`starts`)."""
    line = [b""]
    filled: list[tuple[int, Iterable[bytes]]] = [(0, openings)]  # where what differs stands in a line
    separator = b""
    for item in items:
        if before := separator + item.label:
            line.append(before)
        for column in (item.values, *item.more):
            filled.append((len(line), column))
            line.append(b"")
        separator = b" "
    line.append(b")\r\n")
    pieces = line * len(openings)
    for place, column in filled:
        pieces[place :: len(line)] = column
    return b"".join(pieces)
