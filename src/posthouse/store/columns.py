"""Columns: one value for each of many messages, numbers in an array, texts as octets one after the other.

A kind is one letter: as of `array`, or `t`, a text. Packed, a column is its numbers, or the lengths of its
texts and then the texts, in little-endian order; columns of one length stand one behind the other. Pressed,
octets of one weight stand together first: those of neighbours are mostly alike, and make next to nothing.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, pairwise
from typing import Any

_LITTLE = sys.byteorder == "little"
_RAW = -zlib.MAX_WBITS
"""Deflated octets without a checksum, which would cost as much as a third of inflating them."""


class Texts:
    """A text for each message."""

    __slots__ = ("_all", "_ends")

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        listed = list(texts)
        self._all = b"".join(listed)
        self._ends = array("q", accumulate(map(len, listed)))

    @classmethod
    def of_octets(cls, octets: bytes, lengths: Iterable[int]) -> Texts:
        """Texts of these lengths, which stand one behind the other."""
        made = cls()
        made._all = octets
        made._ends = array("q", accumulate(lengths))
        return made

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self._ends:
            yield self._all[start:end]
            start = end

    @property
    def octets(self) -> int:
        return len(self._all) + 8 * len(self._ends)

    @property
    def lengths(self) -> array[int]:
        return array("I", (end - start for start, end in pairwise(chain((0,), self._ends))))

    @property
    def joined(self) -> bytes:
        """All of them, one behind the other."""
        return self._all

    def extended(self, more: Texts) -> Texts:
        """These, and after them others."""
        both = Texts()
        before = len(self._all)
        both._all = self._all + more._all
        both._ends = self._ends + array("q", [before + end for end in more._ends])
        return both

    def part(self, start: int, end: int) -> list[bytes]:
        """Those from a place on, up to the one before another."""
        bounds = [self._ends[start - 1] if start else 0, *self._ends[start:end]]
        return [self._all[one:other] for one, other in pairwise(bounds)]

    def only(self, kept: Sequence[int]) -> Texts:
        """Those where a mask has 1."""
        return Texts(compress(self, kept))

    def picked(self, places: Sequence[int]) -> Texts:
        """Those at some places, in that order."""
        ends = self._ends
        return Texts(self._all[ends[at - 1] if at else 0 : ends[at]] for at in places)

    def containing(self, sought: bytes) -> bytes:
        """A mask of the messages whose text has `sought` in it."""
        found = bytearray(len(self._ends))
        ends, text = self._ends, self._all
        at = text.find(sought)
        while at >= 0:
            index = bisect_right(ends, at)
            if at + len(sought) <= ends[index]:
                found[index] = 1
                at = text.find(sought, ends[index])
            else:
                at = text.find(sought, at + 1)
        return bytes(found)

    def filled(self) -> bytes:
        """A mask of the messages that have a text at all."""
        return bytes(end > start for start, end in zip([0, *self._ends], self._ends, strict=False))


def column(kind: str, values: Iterable[Any]) -> Any:
    """A column of these values."""
    return Texts(values) if kind == "t" else array(kind, values)


def columns(kinds: str, rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The columns of some rows, which have a value for each kind."""
    values: Iterable[Any] = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return tuple(map(column, kinds, values))


def extended(one: Any, more: Any) -> Any:
    """A column, and after it another of its kind."""
    return one.extended(more) if isinstance(one, Texts) else one + more


def only(one: Any, mask: Sequence[int]) -> Any:
    """Of a column what a mask has 1 for."""
    return one.only(mask) if isinstance(one, Texts) else array(one.typecode, compress(one, mask))


def picked(one: Any, places: Sequence[int]) -> Any:
    """Of a column what stands at some places, in that order."""
    if isinstance(one, Texts):
        return one.picked(places)
    return array(one.typecode, map(one.__getitem__, places))


def octets(one: Any) -> int:
    """What a column, or a piece of octets, takes in memory."""
    if isinstance(one, bytes):
        return len(one)
    return one.octets if isinstance(one, Texts) else len(one) * one.itemsize


def pack(some: Iterable[Any]) -> bytes:
    """Columns of one length as octets."""
    return b"".join(chain.from_iterable(map(_packed, some)))


def _packed(one: Any) -> tuple[bytes, ...]:
    return (_numbers(one.lengths), one.joined) if isinstance(one, Texts) else (_numbers(one),)


def _numbers(numbers: array[Any]) -> bytes:
    if not _LITTLE:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def unpack(kinds: str, packed: Sequence[tuple[int, bytes]]) -> tuple[Any, ...]:
    """Columns of what `pack` made of them, piece by piece: how many values each has, and the octets.

    Raises ValueError where it is something else.
    """
    places = [0] * len(packed)
    found: list[Any] = []
    for kind in kinds:
        numbers = array("I" if kind == "t" else kind)
        texts: list[bytes] = []
        for piece, (count, data) in enumerate(packed):
            start = places[piece]
            end = start + count * numbers.itemsize
            some = array(numbers.typecode, data[start:end])
            if not _LITTLE:
                some.byteswap()
            numbers += some
            if kind == "t":
                start, end = end, end + sum(some)
                texts.append(data[start:end])
            places[piece] = end
        found.append(Texts.of_octets(b"".join(texts), numbers) if kind == "t" else numbers)
    if places != [len(data) for _, data in packed]:
        raise ValueError("octets that are no columns")
    return tuple(found)


def press(some: Sequence[array[Any]]) -> bytes:
    """Columns of numbers in few octets, from which they come back in little time."""
    planes: list[bytes] = []
    for one in some:
        octets, width = _numbers(one), one.itemsize
        planes += [octets[weight::width] for weight in range(width)]
    deflate = zlib.compressobj(1, wbits=_RAW)
    return deflate.compress(b"".join(planes)) + deflate.flush()


def unpress(kinds: str, count: int, pressed: bytes) -> list[array[Any]]:
    """`count` values of each kind, of what `press` made of them.

    Raises ValueError where it is something else.
    """
    found = [array(kind) for kind in kinds]
    opened = zlib.decompressobj(_RAW)
    try:
        for one in found if count else ():
            planes = opened.decompress(pressed, count * one.itemsize)
            pressed = opened.unconsumed_tail
            one.frombytes(_woven(planes, one.itemsize))
        more = opened.decompress(pressed, 1)
    except zlib.error as problem:
        raise ValueError(f"octets that are no columns: {problem}") from problem
    if more or not opened.eof or any(len(one) != count for one in found):
        raise ValueError("octets that are no columns")
    if not _LITTLE:
        for one in found:
            one.byteswap()
    return found


def _woven(planes: bytes, width: int) -> bytes | bytearray:
    """Numbers of so many octets, of which the octets of each weight stand together."""
    if width == 1:
        return planes
    count = len(planes) // width
    numbers = bytearray(count * width)
    for weight in range(width):
        numbers[weight::width] = planes[weight * count : (weight + 1) * count]
    return numbers
