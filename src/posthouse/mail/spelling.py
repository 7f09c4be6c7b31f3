"""Words with typing errors: which words a text has, and how far one is from another.

A word is a run of letters; what has digits in it is a number or a name for machines. A letter composed of
several characters counts as one, as a Korean syllable does. Chinese and Japanese, which part no words, have
none here (`parts_of` cuts a word that somebody seeks in them).

The distance is the number of letters that were left out, put in, mistaken or exchanged with their neighbour
(optimal string alignment).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

SHORTEST, LONGEST = 4, 24
"""Letters of words that are compared; in shorter ones a mistake makes another word."""

_WORD = re.compile(rf"\b[^\W_]{{{SHORTEST},{LONGEST}}}\b")
_UNPARTED = re.compile(
    "[\u0e00-\u0eff\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff]"
)
"""Characters of scripts without spaces."""
_ENDING = 2
"""Letters that a word may have behind the one that is sought, …"""
_LONG = 6
"""… if that has so many at least."""
_TWO_EDITS = 8
_MOST_PARTED = 12


def words_of(text: str) -> set[str]:
    """The words of a folded text."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return {word for word in set(_WORD.findall(text)) if word.isalpha() and not is_unparted(word)}


def is_unparted(word: str) -> bool:
    """Whether a word is of a script that puts no spaces between words."""
    return not word.isascii() and _UNPARTED.search(word) is not None


def edits_of(word: str) -> int:
    """How many mistakes a folded word may have."""
    word = unicodedata.normalize("NFC", word)
    if not SHORTEST <= len(word) <= LONGEST or not word.isalpha():
        return 0
    return 1 if len(word) < _TWO_EDITS else 2


def lengths_of(word: str) -> tuple[int, int]:
    """How many letters a word at least and at most has that is near to `word`."""
    edits, letters = edits_of(word), len(unicodedata.normalize("NFC", word))
    return max(SHORTEST, letters - edits), letters + edits + (_ENDING if letters >= _LONG else 0)


def pieces_of(word: str) -> list[str]:
    """Strings of which each word near to `word` holds one at least, but for some with two mistakes.

    A mistake spoils one piece of as many as there may be mistakes and one more; an exchange may spoil two.
    """
    word = unicodedata.normalize("NFC", word)
    count = edits_of(word) + 1
    cuts = [round(len(word) * number / count) for number in range(count + 1)]
    pieces = [word[start:end] for start, end in pairwise(cuts)]
    exchanged = [f"{one[:-1]}{other[0]}{one[-1]}{other[1:]}" for one, other in pairwise(pieces)]
    return pieces + exchanged


def distance(sought: str, word: str, most: int) -> int | None:
    """How far a word is from the one that is sought, whatever its ending; None: more than `most`.

    Time and room are bounded by `LONGEST`.
    """
    sought = unicodedata.normalize("NFC", sought)
    ending = _ENDING if len(sought) >= _LONG else 0
    if not -most <= len(word) - len(sought) <= most + ending:
        return None
    before: Sequence[int] = ()
    row = list(range(len(word) + 1))
    for at, letter in enumerate(sought, 1):
        older, before = before, row
        row = [at]
        for there, other in enumerate(word, 1):
            cost = min(before[there] + 1, row[-1] + 1, before[there - 1] + (letter != other))
            if older and there > 1 and letter == word[there - 2] and sought[at - 2] == other:
                cost = min(cost, older[there - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return None
    found = min(row[len(word) - min(ending, len(word)) :])
    return found if found <= most else None


def parts_of(word: str) -> list[tuple[str, ...]]:
    """What is left of a word in a script without spaces, where one character of it is mistaken.

    Each is a choice of strings that are there together. Pairs of characters are words of their own, so
    that what is left has two at least, and nothing is left of a word of less than four.
    """
    if not SHORTEST <= len(word) <= _MOST_PARTED:
        return []
    found: list[tuple[str, ...]] = [(word[1:],), (word[:-1],)]
    found += [(word[:at], word[at + 1 :]) for at in range(2, len(word) - 2)]
    return found
