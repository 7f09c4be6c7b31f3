"""Text as it is compared in searches: without case, and with white space as one space.

Two strings that differ only in case, in compatibility forms (full width, ligatures) or in how lines are
broken are equal when folded, and a substring of a text is, folded, one of the folded text. That is
i;unicode-casemap (RFC 5051) with two additions. White space of any kind and length is one space, since
mail is wrapped at the sender's pleasure; between two characters of Chinese or Japanese, which have no
spaces, a line end is none at all. Characters that nobody sees (the soft hyphen) are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")
_WITHOUT_SPACES = (
    "[\u2e80-\u2fdf\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff]"
)
_BEFORE_ONE = re.compile(f"\n\\s*+(?={_WITHOUT_SPACES})")
_ONE = re.compile(_WITHOUT_SPACES)
_AFTER_WORD = re.compile(r"[!-~](?=[ \t\r\n])")

_CUT = 1024
"""Characters at the end of a piece among which a place to cut is looked for."""


def fold(text: str) -> str:
    """Text as it is compared."""
    if not text:
        return ""
    folded = " ".join(_without_case(text).split())
    # What stands at the edges counts as well: "the " is not in "these".
    before = " " if text[0].isspace() else ""
    after = " " if text[-1].isspace() and folded else ""
    return before + folded + after


def _without_case(text: str) -> str:
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", text)
    if "\n" in text:
        text = _BEFORE_ONE.sub(_line_end, text.replace("\r\n", "\n"))
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


def _line_end(match: re.Match[str]) -> str:
    """A line end before a character of Chinese or Japanese."""
    start = match.start()
    return "" if start and _ONE.match(match.string, start - 1) else "\n"


class Folding:
    """A text folded piece by piece: all pieces together are the folded text."""

    __slots__ = ("_held", "_spaced")

    def __init__(self) -> None:
        self._held = ""
        self._spaced = False

    def feed(self, text: str, last: bool) -> str:
        """The next piece, as far as it is certain."""
        text = self._held + text
        if last:
            self._held = ""
        else:
            cut = _cut(text)
            text, self._held = text[:cut], text[cut:]
        folded = fold(text)
        if self._spaced and folded.startswith(" "):
            folded = folded[1:]
        if folded:
            self._spaced = folded.endswith(" ")
        return folded


class Finder:
    """Looks for folded strings in a text that comes in pieces."""

    __slots__ = ("_folding", "_overlap", "_tail", "found", "missing")

    def __init__(self, sought: Iterable[str]) -> None:
        self.missing = set(sought)
        """Strings not found yet."""
        self.found: set[str] = set()
        self._overlap = max(map(len, self.missing), default=1) - 1
        self._folding = Folding()
        self._tail = ""

    def feed(self, text: str, last: bool) -> bool:
        """Look into the next piece; False when there is nothing left to be found."""
        text = self._tail + self._folding.feed(text, last)
        self.found |= {sought for sought in self.missing if sought in text}
        self.missing -= self.found
        self._tail = text[-self._overlap :] if self._overlap > 0 else ""
        return bool(self.missing)


def contains(pieces: Iterable[str], sought: str) -> bool:
    """Whether a folded string is in a text."""
    finder = Finder([sought])
    return not all(finder.feed(piece, False) for piece in pieces) or not finder.feed("", True)


def _cut(text: str) -> int:
    """After a word of ASCII, so that neither a composed character nor a wrapped line is cut in two."""
    start = max(0, len(text) - _CUT)
    cut = 0
    for match in _AFTER_WORD.finditer(text, start):
        cut = match.end()
    return cut or max(text.rfind(" ", start), text.rfind("\n", start), len(text) - _CUT, 0)
