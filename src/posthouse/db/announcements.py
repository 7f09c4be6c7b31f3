"""Announcements: short texts to the processes of all hosts on one database, as fast as it can carry them.

Nothing is promised: one that is lost costs those who wait for it a poll. So nothing here waits, and
where there is no way to announce (SQLite has one host) there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

MOST: Final = 7900
"""Octets in one announcement; PostgreSQL takes less than 8000."""


class Announcements(Protocol):
    """The announcements of one process, within its running loop."""

    def start(self, heard: Callable[[str], object]) -> None:
        """Begin to listen; `heard(text)` is called on the loop for what other processes say."""

    def say(self, text: str) -> None:
        """Tell everybody else, now or never. At most `MOST` octets."""

    async def close(self) -> None: ...
