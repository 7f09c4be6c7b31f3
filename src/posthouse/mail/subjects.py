"""Base subjects: what is left of a subject without `Re:`, `Fwd:`, `[list]` and `(fwd)` (RFC 5256 §2.1)."""

from __future__ import annotations

import re
from typing import NamedTuple

from posthouse.mail.casefold import fold

_BLOBS = re.compile(r"(\[[^\[\]]*\]\s*)*+")
_REPLY = re.compile(r"(?:re|fwd?)\s*(?:\[[^\[\]]*\]\s*)?:\s*", re.IGNORECASE)
_WRAPPER = re.compile(r"\[fwd:", re.IGNORECASE)
_TRAILER = "(fwd)"
REMOVED_LIMIT = 1000
"""How often something is taken off a subject."""


class BaseSubject(NamedTuple):
    text: str
    """Folded for comparison, where not otherwise asked for."""
    reply: bool
    """Something was removed that a reply or a forwarded message has."""


def base_subject(subject: str, *, folded: bool = True) -> BaseSubject:
    """The base of a decoded subject, in time by its length."""
    text = " ".join(subject.split())
    start, end, reply = 0, len(text), False
    for _ in range(REMOVED_LIMIT):
        # RFC 5256 §2.1 (2)
        while end > start and text[end - 1] == " ":
            end -= 1
        if text[max(start, end - len(_TRAILER)) : end].lower() == _TRAILER:
            end -= len(_TRAILER)
            reply = True
            continue
        # (3) to (5)
        found = _BLOBS.match(text, start, end)
        assert found is not None
        blobs, last = found.end(), max(start, found.start(1))  # where they have ended, where the last begins
        if leader := _REPLY.match(text, blobs, end):
            start = leader.end()
            reply = True
            continue
        # all of them, but for the last where nothing else would be left
        if start < (rest := blobs if blobs < end else last):
            start = rest
            continue
        # (6)
        if (wrapper := _WRAPPER.match(text, start, end)) and text[end - 1] == "]":
            start, end = wrapper.end(), end - 1
            reply = True
            while start < end and text[start] == " ":
                start += 1
            continue
        break
    base = text[start:end]
    return BaseSubject(fold(base) if folded else base, reply)
