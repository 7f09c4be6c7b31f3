"""Leases by row: one holder at a time, by the database's clock."""

from __future__ import annotations

from functools import partial

from posthouse.db import leases
from posthouse.db.connection import Session


class At:
    """A transaction at a moment of the database's clock."""

    def __init__(self, tx, moment):
        self._tx = tx
        self._moment = moment

    def now(self):
        return self._moment

    def __getattr__(self, name):
        return getattr(self._tx, name)


async def test_one_holder_at_a_time(database):
    def story(tx: Session):
        at = partial(At, tx)
        # Given a holder,
        assert leases.take(at(100.0), "work", 1, 15)
        # then nobody else gets it, and he can renew it,
        assert not leases.take(at(114.0), "work", 2, 15)
        assert leases.take(at(110.0), "work", 1, 15)
        assert not leases.take(at(124.9), "work", 2, 15)
        # until it has expired.
        assert leases.take(at(125.0), "work", 2, 15)
        assert not leases.take(at(126.0), "work", 1, 15)
        # Only the holder can give it up.
        leases.give_up(at(126.0), "work", 1)
        assert not leases.take(at(126.0), "work", 1, 15)
        leases.give_up(at(126.0), "work", 2)
        assert leases.take(at(126.0), "work", 1, 15)

    await database.write([], story)
