"""Leases: work that only one holder may do at a time, by a row and the database's clock.

A holder that dies loses its lease when it expires; one that only sleeps notices when it renews.
"""

from __future__ import annotations

from posthouse.db.interface import Tx

LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0


def take(tx: Tx, name: str, holder: int, seconds: float = LEASE_SECONDS) -> bool:
    """Take or renew the lease `name` for `holder`; False while another holds it."""
    now = tx.now()
    return (
        tx.one(
            "INSERT INTO lease (name, holder, expires) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires "
            "WHERE lease.holder = excluded.holder OR lease.expires <= ? RETURNING holder",
            (name, holder, now + seconds, now),
        )
        is not None
    )


def give_up(tx: Tx, name: str, holder: int) -> None:
    """Let others have it at once."""
    tx.run("DELETE FROM lease WHERE name = ? AND holder = ?", (name, holder))
