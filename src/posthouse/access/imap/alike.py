"""FUZZY (RFC 6203): words with typing errors in them, and how well a message fits.

Which words the messages of an account have is known from the full-text index, and of those that are not in it
yet from reading the newest of them. A word that is sought stands then for those near to it too
(`mail.spelling`): of four to seven letters with one mistake, of more with two, of fewer with none. In Chinese
and Japanese one character of four or more may be mistaken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from posthouse.db import DatabaseError
from posthouse.mail import spelling
from posthouse.mail.casefold import fold
from posthouse.observe import log
from posthouse.protocol.imap import searching
from posthouse.protocol.imap.searching import Near, SearchKey
from posthouse.store import read
from posthouse.store.indexer import texts
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User

_log = log.get("search")

_SOUGHT = 20
"""Words of one search for whose like one looks, the first by the alphabet; nobody types so many."""
_MOST = 20
"""Words that one may stand for beside itself; the nearest."""
_READ = 100
"""Messages that are not in the index and are read for their words; the newest."""
_READ_CHARACTERS = 64 * 1024
"""… and as much of each."""

MISTAKES = 2
"""The most that a word may have."""

_EXACT = 100
_ALIKE = (50, 25, 10)
"""Scores by the mistakes in the word that has the most of them."""


class Choice(NamedTuple):
    """What a word that is sought may be in a message."""

    mistakes: int
    strings: tuple[str, ...]
    """Which are there together."""


class Alike:
    """What the words of one search stand for."""

    __slots__ = ("_choices",)

    def __init__(self, choices: dict[str, list[Choice]]) -> None:
        self._choices = choices

    def near(self, most: int) -> Near:
        """What each word may be with so many mistakes at most."""
        return {
            word: [choice.strings for choice in choices if choice.mistakes <= most]
            for word, choices in self._choices.items()
        }

    def scored(self, key: SearchKey) -> list[tuple[int, SearchKey]]:
        """Searches from strict to loose, each with the score of what it finds before the next one does."""
        found = [(_EXACT, searching.exact(key))]
        mistakes = {0, *(choice.mistakes for choices in self._choices.values() for choice in choices)}
        found += [(_ALIKE[most], searching.loose(key, self.near(most))) for most in sorted(mistakes)]
        return found


async def alike(user: User, selected: Selected, key: SearchKey) -> Alike:
    """What the words sought by FUZZY stand for in a mailbox."""
    choices: dict[str, list[Choice]] = {}
    folded = {word: fold(word) for word in searching.fuzzy_words(key)}
    for word, text in folded.items():
        if spelling.is_unparted(text):
            choices[word] = [Choice(1, parts) for parts in spelling.parts_of(text)]
    sought = {text for text in folded.values() if spelling.edits_of(text) and not spelling.is_unparted(text)}
    if sought:
        found = await _near(user, selected, sorted(sought)[:_SOUGHT])
        choices |= {word: _nearest(text, found[text]) for word, text in folded.items() if text in found}
    return Alike(choices)


async def _near(user: User, selected: Selected, sought: Iterable[str]) -> dict[str, dict[str, int]]:
    """Words that messages have and that are near to those sought, each with its distance."""
    fulltext, account = user.services.fulltext, selected.account
    found: dict[str, dict[str, int]] = {word: {} for word in sought}
    mark = 0
    if fulltext is not None:
        try:
            marks = await fulltext.database.read(lambda reader: fulltext.marks(reader, account))
            mark = marks.get(selected.mailbox, 0)
            for word in found:
                found[word] |= await fulltext.near_words(account, word)
        except DatabaseError as error:
            _log.warning("the full-text index does not answer; mistakes are not found", reason=str(error))
    words = await _words_of_new(user, selected, mark)
    for word, near in found.items():
        most = spelling.edits_of(word)
        measured = ((other, spelling.distance(word, other, most)) for other in words)
        near |= {other: distance for other, distance in measured if distance is not None}
        await asyncio.sleep(0)
    return found


async def _words_of_new(user: User, selected: Selected, mark: int) -> set[str]:
    """Words of the newest messages that are not in the index."""
    uids = [uid for uid in selected.view.uids[-_READ:] if uid >= mark]
    account, mailbox, blobs = selected.account, selected.mailbox, user.services.blobs
    found: set[str] = set()
    if uids:
        ranges = ranges_of(uids)
        for _, message in await user.read_much(
            lambda reader: read.messages(reader, blobs, account, mailbox, ranges)
        ):
            found |= (await texts(message, _READ_CHARACTERS)).words
            await asyncio.sleep(0)
    return found


def _nearest(word: str, near: dict[str, int]) -> list[Choice]:
    """The nearest words, but for those in which another one is found, or the word itself."""
    kept: list[Choice] = []
    texts = [fold(searching.stem(word))]
    for other, mistakes in sorted(near.items(), key=lambda item: (item[1], len(item[0]), item[0])):
        text = fold(other)
        if len(kept) < _MOST and not any(shorter in text for shorter in texts):
            kept.append(Choice(mistakes, (other,)))
            texts.append(text)
    return kept
