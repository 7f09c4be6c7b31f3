"""Ids of letters and of everything else that is written down once: 63 bits, ordered by time.

An id is made by the worker without asking anybody: milliseconds since 2020-01-01 UTC (41 bits, until
2089), the worker's slot (10 bits), a counter (12 bits). It grows strictly within one maker, even when
the clock stands still or goes back, and fits a signed 64-bit column. It is shown as thirteen
characters of base32 in Crockford's alphabet, lower case, whose order as text is the order of the ids;
reading one back forgives capitals and the usual confusions (`o` for `0`, `i` and `l` for `1`).
"""

from __future__ import annotations

from collections.abc import Callable

EPOCH_MS = 1_577_836_800_000
"""2020-01-01 00:00 UTC, in milliseconds since 1970."""

SLOTS = 1024
"""Slots 0 to 1023; makers with different slots never make the same id."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_VALUES |= {character.upper(): value for character, value in _VALUES.items()}
_VALUES |= {"o": 0, "O": 0, "i": 1, "I": 1, "l": 1, "L": 1}
_LENGTH = 13


class LetterIds:
    """A maker of ids. `clock_ms` gives milliseconds since 1970-01-01 UTC."""

    __slots__ = ("_clock_ms", "_last", "_slot")

    def __init__(self, slot: int, clock_ms: Callable[[], int]) -> None:
        if not 0 <= slot < SLOTS:
            raise ValueError(f"slot {slot} is not within 0 to {SLOTS - 1}")
        self._slot = slot << 12
        self._clock_ms = clock_ms
        self._last = 0

    def move(self, slot: int) -> None:
        """Make ids of another slot from now on."""
        self._slot = slot << 12
        self._last |= 0xFFF  # the millisecond of the last one is over

    def new(self) -> int:
        """An id greater than all that this maker gave before."""
        first = (self._clock_ms() - EPOCH_MS) << 22 | self._slot
        if first <= self._last:
            # Same millisecond, or the clock went back: count on, and borrow the next
            # millisecond when the counter is spent.
            last = self._last
            first = last + 1 if last & 0xFFF != 0xFFF else ((last >> 22) + 1) << 22 | self._slot
        self._last = first
        return first


def show(number: int) -> str:
    """The id as text: thirteen characters."""
    pairs = _PAIRS
    return (
        _ALPHABET[number >> 60]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def parse_id(text: str) -> int:
    """The id that `show` wrote. Raises ValueError for anything else."""
    if len(text) != _LENGTH:
        raise ValueError(f"an id has {_LENGTH} characters, this has {len(text)}")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise ValueError(f"{character!r} does not occur in an id")
        number = number << 5 | value
    if number >> 63:
        raise ValueError("too great for an id")
    return number


def moment(number: int) -> float:
    """When the id was made: seconds since 1970-01-01 UTC."""
    return ((number >> 22) + EPOCH_MS) / 1000


def first_of(epoch: float) -> int:
    """The least id of that moment: ids made earlier are less, ids made later are greater."""
    return max(0, int(epoch * 1000) - EPOCH_MS) << 22
