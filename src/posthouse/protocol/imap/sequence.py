"""Sequence sets: `1:3,7,*` (RFC 3501 §9, sequence-set), parsed, resolved and written.

A set may be as long as a command line; it is kept as ranges, and resolving it costs time by the
number of ranges, not by the numbers between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LARGEST = 2**32 - 1
"""The largest number in a set."""
STAR = 0
"""Stands for `*`, the largest number in use."""
RESULT = (-1, -1)
"""Stands for `$`, what the last SEARCH RETURN (SAVE) found (RFC 5182 §2.1)."""
_ZERO = ord("0")


class SequenceSet(NamedTuple):
    """Ranges as the client wrote them, in any order; `STAR` for `*`, and `RESULT` for `$`."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def has_saved(self) -> bool:
        """`$` is in it."""
        return RESULT in self.ranges

    def without_saved(self) -> SequenceSet:
        """What is in it besides `$`."""
        return SequenceSet(tuple(bounds for bounds in self.ranges if bounds != RESULT))

    def resolve(self, largest: int) -> list[tuple[int, int]]:
        """Ascending ranges that neither touch nor overlap, `*` being `largest`; there must be no `$`.

        A range reads both ways (RFC 3501 §9: 2:4 and 4:2 are the same). Numbers above `largest`
        stay: whether that is an error depends on the command.
        """
        bounds = []
        for first, last in self.ranges:
            low, high = first or largest, last or largest
            bounds.append((low, high) if low <= high else (high, low))
        bounds.sort()
        merged: list[tuple[int, int]] = []
        for low, high in bounds:
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        return merged


SAVED = SequenceSet((RESULT,))
"""`$` and nothing else."""


def parse_sequence_set(octets: bytes) -> SequenceSet:
    """The set that `octets` write; ValueError where they break the grammar."""
    ranges: list[tuple[int, int]] = []
    for piece in octets.split(b","):
        if piece == b"$" and (
            ranges or octets == b"$"
        ):  # RFC 9051 §9, sequence-set: alone, or behind numbers
            ranges.append(RESULT)
            continue
        first, colon, last = piece.partition(b":")
        low = _number(first)
        ranges.append((low, _number(last) if colon else low))
    return SequenceSet(tuple(ranges))


def _number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    if not octets.isdigit() or len(octets) > 10 or octets[0] == _ZERO or int(octets) > LARGEST:
        raise ValueError("A sequence set is made of numbers from 1, `*`, `:` and `,`")
    return int(octets)


def write_sequence_set(numbers: Iterable[int]) -> bytes:
    """The shortest set for ascending `numbers`, such as COPYUID needs."""
    if isinstance(numbers, range) and numbers.step == 1 and len(numbers) > 1:
        return b"%d:%d" % (numbers[0], numbers[-1])
    pieces: list[str] = []
    start = previous = -1
    for number in numbers:
        if number == previous + 1 and previous >= 0:
            previous = number
            continue
        if previous >= 0:
            pieces.append(f"{start}:{previous}" if previous > start else str(start))
        start = previous = number
    if previous >= 0:
        pieces.append(f"{start}:{previous}" if previous > start else str(start))
    return ",".join(pieces).encode()
