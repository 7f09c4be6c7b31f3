"""Refused sessions: a journey for each client that was turned away, written later and aggregated.

A client that is refused a thousand times a minute costs one row. What is collected here may be lost
in a crash; it is bounded, and what exceeds the bounds is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from posthouse.journey import record
from posthouse.mail.envelope import Client
from posthouse.mail.reply import Reply
from posthouse.observe import metrics

if TYPE_CHECKING:
    from posthouse.db import Tx

CLIENTS_LIMIT = 1000
"""Clients of which refusals are collected at once."""

REASONS_LIMIT = 20
"""Different refusals of one client; more are counted with the last of them."""


_DROPPED = metrics.counter(
    "posthouse_refusals_dropped_total", "refusals of clients that no journey tells, for want of room"
)


class _Refusal:
    __slots__ = ("about", "command", "count", "first", "last", "reply")

    def __init__(self, at: float, command: str, about: str, reply: str) -> None:
        self.first = self.last = at
        self.count = 1
        self.command = command
        self.about = about
        self.reply = reply


class Refusals:
    """The refusals of one worker since the last `flush`."""

    def __init__(
        self, new_id: Callable[[], int], write_later: Callable[[Callable[[Tx], object]], bool]
    ) -> None:
        self._new_id = new_id
        self._write_later = write_later
        self._clients: dict[str, dict[tuple[str, str, str], _Refusal]] = {}

    def add(self, at: float, client: Client, command: str, about: str, reply: Reply) -> None:
        """A client was refused.

        `command` is the verb, empty at connect; `about` the address in question, if any.
        """
        reasons = self._clients.get(client.address)
        if reasons is None:
            if len(self._clients) >= CLIENTS_LIMIT:
                self.flush()
            reasons = self._clients[client.address] = {}
        key = (command, about.lower(), f"{reply.code} {reply.enhanced}")
        known = reasons.get(key)
        if known is None and len(reasons) >= REASONS_LIMIT:
            known = next(reversed(reasons.values()))
        if known is None:
            reasons[key] = _Refusal(at, command, about, str(reply))
        else:
            known.count += 1
            known.last = at

    def flush(self) -> bool:
        """Hand what was collected to the database, without waiting. False: it took none; all is dropped."""
        if not self._clients:
            return True
        clients, self._clients = self._clients, {}
        journeys = [self._journey(address, list(reasons.values())) for address, reasons in clients.items()]

        def write(tx: Tx) -> None:
            record.begin(tx, journeys)

        if self._write_later(write):
            return True
        _DROPPED.add(sum(refusal.count for reasons in clients.values() for refusal in reasons.values()))
        return False

    def _journey(self, address: str, refusals: list[_Refusal]) -> tuple[int, list[record.Step]]:
        steps = [
            record.refused_session(
                refusal.first,
                address,
                refusal.count,
                refusal.last,
                refusal.command,
                refusal.about,
                refusal.reply,
            )
            for refusal in refusals
        ]
        return self._new_id(), steps
