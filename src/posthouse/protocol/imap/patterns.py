"""Patterns of LIST and LSUB: `*` is anything, `%` anything within one level (RFC 3501 §6.3.8).

Matching keeps the set of places in the pattern that may be reached, so that its time is bounded by the
product of both lengths whatever the pattern.
"""

from __future__ import annotations

SEPARATOR = "/"
LONGEST = 2000
"""Characters of a pattern; a longer one matches nothing."""


def matches(pattern: str, name: str) -> bool:
    """Whether the whole of `name` fits. A first level INBOX fits in any case."""
    if pattern == "*" or pattern == name:
        return True
    if pattern == "%":
        return SEPARATOR not in name
    if len(pattern) > LONGEST:
        return False
    if name == "INBOX" or name.startswith("INBOX/"):
        return _fits(pattern, name) or _fits(_inbox_raised(pattern), name)
    return _fits(pattern, name)


def _inbox_raised(pattern: str) -> str:
    return "INBOX" + pattern[5:] if pattern[:5].lower() == "inbox" else pattern


def _fits(pattern: str, name: str) -> bool:
    places = _past_wildcards(pattern, {0})
    for character in name:
        reached = set()
        for place in places:
            if place == len(pattern):
                continue
            wanted = pattern[place]
            if wanted == "*" or (wanted == "%" and character != SEPARATOR):
                reached.add(place)
            elif wanted == character:
                reached.add(place + 1)
        if not reached:
            return False
        places = _past_wildcards(pattern, reached)
    return len(pattern) in places


def _past_wildcards(pattern: str, places: set[int]) -> set[int]:
    """A wildcard may stand for nothing: the place behind it is reached too."""
    found = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] in "*%":
            place += 1
            found.add(place)
    return found
