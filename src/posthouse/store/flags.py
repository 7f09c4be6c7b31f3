"""Flags and keywords of a message in a mailbox (RFC 9051 §2.3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag


class Flag(IntFlag):
    """System flags as kept in `placement.flags`. \\Recent is not one of them: see `mailbox.recent`."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


ALL_FLAGS = 31
"""Every system flag."""

KEYWORD_LIMIT = 100
"""Keywords of one message at most."""

KEYWORD_LENGTH = 128
"""Characters of one keyword at most."""


class BadKeyword(ValueError):
    """Not an atom, too long, or one too many."""


# RFC 9051 §9: flag-keyword is an atom.
_NOT_IN_ATOMS = frozenset('(){ %*"\\]')


def _is_atom(word: str) -> bool:
    return bool(word) and all(
        "!" <= character <= "~" and character not in _NOT_IN_ATOMS for character in word
    )


def keyword_text(words: Iterable[str]) -> str:
    """Keywords as a message keeps them: sorted, parted by spaces; equal but for case is equal.

    Raises `BadKeyword`.
    """
    return _text({_checked(word).lower(): word for word in words})


def with_keywords(present: str, words: Iterable[str]) -> str:
    """`present` and `words` together. Of two that differ in case only, the one that was there stays."""
    both = {word.lower(): word for word in present.split()}
    for word in words:
        both.setdefault(_checked(word).lower(), word)
    return _text(both)


def without_keywords(present: str, words: Iterable[str]) -> str:
    """`present` without `words`, whatever their case."""
    gone = {word.lower() for word in words}
    return _text({word.lower(): word for word in present.split() if word.lower() not in gone})


def _checked(word: str) -> str:
    if len(word) > KEYWORD_LENGTH or not _is_atom(word):
        raise BadKeyword(f"{word[:KEYWORD_LENGTH]!r} cannot be a keyword")
    return word


def _text(words: dict[str, str]) -> str:
    if len(words) > KEYWORD_LIMIT:
        raise BadKeyword(f"a message can have {KEYWORD_LIMIT} keywords, not {len(words)}")
    return " ".join(words[key] for key in sorted(words))
