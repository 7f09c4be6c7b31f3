"""Between hosts: which accounts have changed, and which topics are to be looked at, as announcements.

All changes of some milliseconds travel together, so that a busy worker announces a few times a second
and not a few times a letter. An announcement is `A` and pairs `account.modseq` in hexadecimal, parted by
spaces, or `T` and the name of a topic. What makes no sense is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from posthouse.db.announcements import MOST
from posthouse.mail.envelope import AccountId

if TYPE_CHECKING:
    from posthouse.db.announcements import Announcements

SPACING: Final = 0.05
"""Seconds between two announcements of one worker; the first is made at once."""
TOPIC_LENGTH: Final = 64


class Announcer:
    """Tells other hosts of changes, and is told."""

    def __init__(
        self,
        announcements: Announcements,
        changed: Callable[[AccountId, int], object],
        poked: Callable[[str], object],
    ) -> None:
        """`changed(account, modseq)` and `poked(topic)` are called for what other processes announce."""
        self._announcements = announcements
        self._changed = changed
        self._poked = poked
        self._loop = asyncio.get_running_loop()
        self._changes: dict[AccountId, int] = {}
        self._topics: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def start(self) -> None:
        """Begin to listen."""
        self._announcements.start(self._heard)

    async def close(self) -> None:
        """Stop; what was still to be announced is found by looking."""
        if self._timer is not None:
            self._timer.cancel()
        await self._announcements.close()

    def announce(self, changes: Mapping[AccountId, int], topics: set[str]) -> None:
        """Accounts with their modseqs, and topics; soon."""
        for account, modseq in changes.items():
            if self._changes.get(account, 0) < modseq:
                self._changes[account] = modseq
        self._topics |= topics
        if self._timer is None:
            wait = self._last + SPACING - self._loop.time()
            self._timer = self._loop.call_later(max(0.0, wait), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._last = self._loop.time()
        changes, self._changes = self._changes, {}
        topics, self._topics = self._topics, set()
        for text in texts(changes):
            self._announcements.say(text)
        for topic in topics:
            self._announcements.say("T" + topic)

    def _heard(self, text: str) -> None:
        kind, rest = text[:1], text[1:]
        if kind == "A":
            for account, modseq in pairs(rest):
                self._changed(account, modseq)
        elif kind == "T" and len(rest) <= TOPIC_LENGTH:
            self._poked(rest)


def texts(changes: Mapping[AccountId, int]) -> Iterator[str]:
    """Announcements of these changes, each short enough."""
    text = "A"
    for account, modseq in changes.items():
        pair = f"{account:x}.{modseq:x}"
        if len(text) + len(pair) > MOST:
            yield text
            text = "A"
        text += pair if text == "A" else f" {pair}"
    if text != "A":
        yield text


def pairs(text: str) -> Iterator[tuple[AccountId, int]]:
    """What `texts` wrote, up to the first that makes no sense."""
    for pair in text.split(" "):
        account, dot, modseq = pair.partition(".")
        if not dot or len(pair) > 33 or not (account + modseq).isalnum():
            return
        try:
            yield AccountId(int(account, 16)), int(modseq, 16)
        except ValueError:
            return
