"""Sets of UIDs: as ranges, and as conditions of a query.

A set is a list of ranges `(first, last)`, both included, in any order, and it does no harm if they
overlap. One range is one condition; lone UIDs are gathered into lists of a few fixed lengths, so that
a database sees few different statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

Ranges: TypeAlias = Sequence[tuple[int, int]]

ALL: Ranges = ((1, 0xFFFFFFFF),)
"""Every UID there can be (RFC 9051 §2.3.1.1: 32 bits)."""

_LENGTHS = (1, 8, 64, 500)


def ranges_of(uids: Iterable[int]) -> list[tuple[int, int]]:
    """The set of `uids`, which come in ascending order; of positions, too, which begin with 0."""
    found: list[tuple[int, int]] = []
    first = last = -2
    for uid in uids:
        if uid == last + 1:
            last = uid
            continue
        if first >= 0:
            found.append((first, last))
        first = last = uid
    if first >= 0:
        found.append((first, last))
    return found


def conditions(ranges: Ranges, column: str = "uid") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Conditions on `column`, each with its parameters: each UID of the set meets exactly one of them."""
    lone: list[int] = []
    for first, last in joined(ranges):
        if first == last:
            lone.append(first)
        else:
            yield f"{column} BETWEEN ? AND ?", (first, last)
    yield from listed(lone, column)


def joined(ranges: Ranges) -> list[tuple[int, int]]:
    """The same set in ascending order, overlapping and adjoining ranges made one."""
    apart: list[tuple[int, int]] = []
    end = -1
    for first, last in sorted(ranges):
        if apart and first <= end + 1:
            end = max(end, last)
            apart[-1] = apart[-1][0], end
        else:
            apart.append((first, last))
            end = last
    return apart


def common(one: Ranges, other: Ranges) -> list[tuple[int, int]]:
    """The UIDs that are in both sets, in ascending order."""
    found: list[tuple[int, int]] = []
    rest = iter(joined(other))
    run = next(rest, None)
    for first, last in joined(one):
        while run is not None and run[0] <= last:
            if run[1] >= first:
                found.append((max(first, run[0]), min(last, run[1])))
            if run[1] > last:
                break
            run = next(rest, None)
    return found


def listed(ids: Sequence[int], column: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Conditions `column IN (…)` for any number of ids, each with its parameters."""
    for start in range(0, len(ids), _LENGTHS[-1]):
        some = tuple(ids[start : start + _LENGTHS[-1]])
        length = next(length for length in _LENGTHS if length >= len(some))
        marks = ",".join("?" * length)
        yield f"{column} IN ({marks})", some + some[-1:] * (length - len(some))
