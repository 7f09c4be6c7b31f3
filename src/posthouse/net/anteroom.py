"""The anteroom: connections whose clients have not yet shown who they are, and how long they may stay.

The time counts from the beginning of the session, whatever the client sends meanwhile: commands that anybody
may give put off the deadline of silence (`Pump`), but not this one. RFC 9051 §5.4 and RFC 1939 §3 speak of
clients that have logged in; before that a server may be as strict as it likes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from posthouse.net.pump import Pump

SECONDS = 180.0
AGAIN = 1.0
"""Seconds until it is looked again whether a login that was being judged has come out."""


class Waiting(Protocol):
    """A core (see `posthouse.net.session`) that knows whether a decision of ours is awaited."""

    @property
    def at_rest(self) -> bool: ...
    def take_output(self) -> bytes: ...
    def time_out(self) -> None: ...


class Anteroom:
    """Those of one worker: `enter` at the beginning of a session, `leave` at login and at its end.

    `seconds` holds for those who come from now on.
    """

    __slots__ = ("_guests", "_timer", "seconds")

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._guests: dict[Pump, tuple[float, Waiting]] = {}
        """Until when, and the core; in the order of their coming."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, pump: Pump, core: Waiting) -> None:
        """A session begins, or its user has logged out of it."""
        loop = asyncio.get_running_loop()
        self._guests[pump] = loop.time() + self.seconds, core
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look)

    def leave(self, pump: Pump | None) -> None:
        """The client is known now, or gone. Nothing happens to one who was not here."""
        if pump is not None:
            self._guests.pop(pump, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        wait = self.seconds
        for pump, (until, core) in list(self._guests.items()):
            if until > now:
                wait = min(wait, until - now)
                break  # the others came later
            if core.at_rest:
                del self._guests[pump]
                _dismiss(pump, core)
            else:
                wait = AGAIN
        self._timer = loop.call_later(wait, self._look) if self._guests else None


def _dismiss(pump: Pump, core: Waiting) -> None:
    core.time_out()
    pump.reason = pump.reason or "no login"
    pump.push(core.take_output())
    pump.close("no login")
