"""Leases: work that only one holder may do at a time, by a row and the database's clock.

A holder that dies loses its lease when it expires; one that only sleeps notices when it renews.
"""

from __future__ import annotations

from posthouse.db.interface import Reader, Tx

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


def ends(reader: Reader | Tx, name: str) -> float:
    """When the lease runs out, or did, by the database's clock; 0: nobody has ever had it."""
    row = reader.one("SELECT expires FROM lease WHERE name = ?", (name,))
    return 0.0 if row is None else float(row[0])


def note(tx: Tx, name: str, ends: float) -> None:
    """Write down when a lease ends that is held in another database."""
    tx.run(
        "INSERT INTO lease (name, holder, expires) VALUES (?, 0, ?)"
        " ON CONFLICT (name) DO UPDATE SET expires = excluded.expires",
        (name, ends),
    )
