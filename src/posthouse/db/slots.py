"""Slots: small numbers, each of which one process on a database has at a time, whatever its host.

Ids are unique because of them (`mail.ids`). A slot is a lease that is renewed; whoever was away for longer
than it lasts, and finds that another has his slot, takes another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from posthouse.db import leases

if TYPE_CHECKING:
    from posthouse.db.interface import Database, Tx

LEASE_SECONDS: Final = 120.0
RENEW_SECONDS: Final = 30.0
_NAME: Final = "slot "


class Slot:
    """The slot of this process, one of 0 to `count` - 1."""

    def __init__(self, database: Database, count: int, moved: Callable[[int], object]) -> None:
        """`moved(number)` is called with each slot that is taken."""
        self._database = database
        self._count = count
        self._moved = moved
        self._number: int | None = None

    async def keep(self) -> None:
        """Take a slot, or renew it; to be called before it is used, and every `RENEW_SECONDS`.

        Raises DatabaseError.
        """
        keep = partial(_keep, holder=self._database.holder, mine=self._number, count=self._count)
        number = await self._database.write([], keep)
        if number != self._number:
            self._number = number
            self._moved(number)

    async def give_up(self) -> None:
        """Let others have it. Raises DatabaseError."""
        if self._number is not None:
            name = f"{_NAME}{self._number}"
            await self._database.write([], partial(leases.give_up, name=name, holder=self._database.holder))


def _keep(tx: Tx, holder: int, mine: int | None, count: int) -> int:
    if mine is not None and leases.take(tx, f"{_NAME}{mine}", holder, LEASE_SECONDS):
        return mine
    rows = tx.all("SELECT name FROM lease WHERE name LIKE ? AND expires > ?", (f"{_NAME}%", tx.now()))
    taken = {int(name.removeprefix(_NAME)) for (name,) in rows}
    free = [number for number in range(count) if number not in taken]
    random.shuffle(free)
    for number in free:
        if leases.take(tx, f"{_NAME}{number}", holder, LEASE_SECONDS):
            return number
    # More processes than slots: two that make the same id find out, and one takes another.
    return random.randrange(count)
