"""The account row as a counter: modseq, octets used, and the last UIDVALIDITY given.

Every change of what an account stores begins with one of these statements. It locks the account's
row (PostgreSQL; on SQLite the writer is alone anyway), so that the order of modseqs is the order of
commits, and the quota is a condition of the same statement: two letters at once cannot both fit
into the last free octets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from posthouse.db import Question, Reader, Tx
    from posthouse.mail.envelope import AccountId


class NoSuchAccount(LookupError):
    """The account was removed meanwhile."""


class Usage(NamedTuple):
    used: int
    """Octets stored."""
    limit: int
    """Octets allowed; 0: no limit."""


def charge(tx: Tx, account: AccountId, octets: int, limit: int) -> int | None:
    """Take `octets` of the account's quota and return the modseq of this change.

    `limit` is the quota of accounts that have none of their own, in octets, 0 for no limit.
    None: it does not fit (or, see `exists`, there is no such account); nothing has changed.
    """
    row = tx.one(*charging(account, octets, limit))
    return None if row is None else row[0]


def charging(account: AccountId, octets: int, limit: int) -> Question:
    """What `charge` asks; its only row has the modseq."""
    return (
        "UPDATE account SET used = used + ?, modseq = modseq + 1 WHERE id = ?"
        " AND (COALESCE(quota, ?) = 0 OR used + ? <= COALESCE(quota, ?)) RETURNING modseq",
        (octets, account, limit, octets, limit),
    )


NEXT_MODSEQ = "(SELECT modseq + 1 FROM account WHERE id = ?)"
"""What `charging` will make of the modseq, for a statement before it. Parameter: account."""

IT_FITS = "(SELECT COALESCE(quota, ?) = 0 OR used + ? <= COALESCE(quota, ?) FROM account WHERE id = ?)"
"""Whether `charging` will succeed, as a condition of a statement before it. Parameters: limit, octets, limit,
account. Both under the account's lock. (UPDATE … FROM would say it in one, but takes SQLite ten times as
long.)"""


def advance(tx: Tx, account: AccountId, octets: int = 0) -> int:
    """Return the modseq of a change that frees `octets` (or none). Raises `NoSuchAccount`."""
    row = tx.one(
        "UPDATE account SET used = used - ?, modseq = modseq + 1 WHERE id = ? RETURNING modseq",
        (octets, account),
    )
    if row is None:
        raise NoSuchAccount(account)
    return int(row[0])


def credit(tx: Tx, account: AccountId, octets: int) -> None:
    """Give `octets` back, within a change that has its modseq already."""
    tx.run("UPDATE account SET used = used - ? WHERE id = ?", (octets, account))


def next_uidvalidity(tx: Tx, account: AccountId, now: float) -> tuple[int, int]:
    """A UIDVALIDITY that no mailbox of the account ever had, and the modseq of this change.

    It is the time in seconds where that is greater than the last one given, so that it grows even
    over a restored backup (RFC 9051 §2.3.1.1). Raises `NoSuchAccount`.
    """
    seconds = int(now)
    row = tx.one(
        "UPDATE account SET modseq = modseq + 1,"
        " uidvalidity = CASE WHEN uidvalidity < ? THEN ? ELSE uidvalidity + 1 END"
        " WHERE id = ? RETURNING uidvalidity, modseq",
        (seconds, seconds, account),
    )
    if row is None:
        raise NoSuchAccount(account)
    return row[0], row[1]


def never_again(tx: Tx, account: AccountId, uidvalidity: int) -> None:
    """Give no mailbox of the account this UIDVALIDITY, or a smaller one."""
    tx.run(
        "UPDATE account SET uidvalidity = ? WHERE id = ? AND uidvalidity < ?",
        (uidvalidity, account, uidvalidity),
    )


def exists(tx: Tx | Reader, account: AccountId) -> bool:
    """Whether there is such an account."""
    return tx.one("SELECT 1 FROM account WHERE id = ?", (account,)) is not None


def usage(reader: Tx | Reader, account: AccountId, limit: int) -> Usage:
    """What the account uses of its quota; `limit` as in `charge`. Raises `NoSuchAccount`."""
    row = reader.one("SELECT used, COALESCE(quota, ?) FROM account WHERE id = ?", (limit, account))
    if row is None:
        raise NoSuchAccount(account)
    return Usage(row[0], row[1])


def modseqs(reader: Reader, accounts: list[AccountId]) -> list[tuple[AccountId, int]]:
    """The present modseq of each of `accounts` that exists."""
    found = []
    for account in accounts:
        row = reader.one("SELECT modseq FROM account WHERE id = ?", (account,))
        if row is not None:
            found.append((account, int(row[0])))
    return found


def page(reader: Reader, after: int, limit: int) -> list[tuple[AccountId, int]]:
    """The next accounts after the id `after`, in order, each with its modseq."""
    rows = reader.all("SELECT id, modseq FROM account WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [(id, int(modseq)) for id, modseq in rows]
