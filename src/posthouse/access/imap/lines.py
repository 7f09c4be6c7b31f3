"""FETCH responses, put together from columns of byte strings: one join for a batch of messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_STARTS: list[bytes] = []
"""`* 1 FETCH (` and on: the same for all mailboxes."""
_MOST_STARTS = 50_000
_STEP = 1000


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
        return [b"* %d FETCH (" % (index + 1) for index in indexes]
    while len(_STARTS) < end:
        first = len(_STARTS) + 1
        _STARTS.extend([b"* %d FETCH (" % number for number in range(first, first + _STEP)])
    return some(_STARTS, indexes)


def join(openings: Sequence[bytes], items: Sequence[Values]) -> bytes:
    """A line for each message, from how it begins (`starts`)."""
    count = len(openings)
    columns: list[Iterable[Any]] = [openings]
    separator = b""
    for item in items:
        columns += [repeat(separator + item.label, count), item.values, *item.more]
        separator = b" "
    columns.append(repeat(b")\r\n", count))
    return b"".join(chain.from_iterable(zip(*columns, strict=True)))
