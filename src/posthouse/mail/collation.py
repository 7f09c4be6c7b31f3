"""Comparators (RFC 4790): by which rule strings are equal, hold each other, and follow each other.

Those of the registry that do all three, as IMAP wants of them (RFC 5255 §4.4); i;ascii-numeric finds no
substrings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from posthouse.mail.casefold import fold

_CAPITALS = {small: small - 32 for small in range(ord("a"), ord("z") + 1)}


class Comparator(Enum):
    """The value is the name in the registry."""

    UNICODE = "i;unicode-casemap"
    """RFC 5051, with white space of any length as one: `casefold`."""
    ASCII = "i;ascii-casemap"
    """RFC 4790 §9.2: letters of ASCII have no case, all else is what it is."""
    OCTET = "i;octet"
    """RFC 4790 §9.3: what it is, in UTF-8."""

    def form(self, text: str) -> str:
        """A text so that equal ones are the same, with each substring in it, and in its order."""
        if self is Comparator.UNICODE:
            return fold(text)
        return text.translate(_CAPITALS) if self is Comparator.ASCII else text


DEFAULT = Comparator.UNICODE


def matching(orders: Iterable[str]) -> list[Comparator]:
    """The comparators that some patterns name, the first pattern's first (RFC 4790 §3.2, RFC 5255 §4.7).

    In a pattern `*` stands for anything; `default` is the default.
    """
    found: dict[Comparator, None] = {}
    for order in orders:
        # RFC 4790 §3.3: + is the usual direction, and the other one there is not
        name = order.lower().removeprefix("+")
        pattern = re.compile(".*".join(map(re.escape, re.split(r"\*+", name))), re.DOTALL)
        names = (one for one in Comparator if pattern.fullmatch(one.value))
        found |= dict.fromkeys((DEFAULT,) if name == "default" else names)
    return list(found)
