"""Flags between IMAP and the store: names on the wire, a number and words in the tables."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from posthouse.store.flags import Flag

SYSTEM: dict[str, int] = {
    "\\Answered": int(Flag.ANSWERED),
    "\\Flagged": int(Flag.FLAGGED),
    "\\Deleted": int(Flag.DELETED),
    "\\Seen": int(Flag.SEEN),
    "\\Draft": int(Flag.DRAFT),
}


def split(names: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Names as the parser gives them → system flags as a number, and keywords."""
    number = 0
    keywords = []
    for name in names:
        if name[0] == "\\":
            number |= SYSTEM[name]
        else:
            keywords.append(name)
    return number, tuple(keywords)


@lru_cache(maxsize=4096)
def text(flags: int, keywords: str, recent: bool) -> bytes:
    """`FLAGS (\\Seen $Forwarded)`, as FETCH says it."""
    names = [name for name, flag in SYSTEM.items() if flags & flag]
    if recent:
        names.append("\\Recent")
    if keywords:
        names.append(keywords)
    return f"FLAGS ({' '.join(names)})".encode()


PLAIN = [text(flags, "", False) for flags in range(256)]
"""The same for messages without keywords."""
