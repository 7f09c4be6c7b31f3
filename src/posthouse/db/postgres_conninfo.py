"""How PostgreSQL is connected to: what the URL leaves open, and what was found out about the server.

A primary that has become a standby is left (`target_session_attrs`), also where the URL names several
hosts; a host that is gone without a word is noticed within seconds by TCP itself.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from posthouse.db.errors import DatabaseAway
from posthouse.db.limits import Limits

AGAIN_SECONDS: Final = 0.5
"""Between two attempts to connect."""

_CONNECTION: Final = {
    "keepalives_idle": "3",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "6000",
    "application_name": "posthouse",
    "client_encoding": "UTF8",
    "target_session_attrs": "read-write",
}


def conninfo(url: str, limits: Limits) -> str:
    """For libpq: what the URL says, and ours where it says nothing."""
    given = conninfo_to_dict(url)
    # libpq takes whole seconds, two at least.
    ours = {**_CONNECTION, "connect_timeout": str(max(2, round(limits.connect_timeout)))}
    return make_conninfo(url, **{key: value for key, value in ours.items() if key not in given})


class Reach:
    """What the connections of a process know together: whether an attempt to connect is worth while.

    One that waits in vain for the server keeps those behind it from waiting each for as long.
    """

    __slots__ = ("_no_sooner", "_why")

    def __init__(self) -> None:
        self._no_sooner = 0.0
        self._why = ""

    def require(self) -> None:
        """Raises DatabaseAway for a moment after an attempt has failed."""
        if monotonic() < self._no_sooner:
            raise DatabaseAway(self._why)

    def failed(self, why: str) -> None:
        """An attempt to connect has failed."""
        self._why = why
        self._no_sooner = monotonic() + AGAIN_SECONDS
