"""How many connections a process has to its database, and how long it waits for it.

SQLite needs none of this: its file is there or it is not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OTHER_CONNECTIONS: Final = 4
"""Of each worker, beside those for reading: one that writes, one for announcements, two of the text index."""


class Limits(NamedTuple):
    """As [database] of the configuration has them; times in seconds."""

    readers: int = 4
    """Connections for reading, opened as they are needed."""
    connect_timeout: float = 5.0
    statement_timeout: float = 20.0
    """Of one statement, waiting for locks included."""


USUAL: Final = Limits()


class Capacity(NamedTuple):
    """What the server has to give."""

    allowed: int
    """Connections that our role may have, if nobody else had any."""
    others: int
    """Connections of other programs, now."""
