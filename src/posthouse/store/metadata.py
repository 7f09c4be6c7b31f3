"""Annotations of mailboxes and of the server: names and values (RFC 5464).

A `/shared` entry is the same for everybody, a `/private` one is each reader's own. They belong to the
account of the mailbox, go with it and stay with it when it is renamed; those of the server belong to
nobody (`SERVER`), or to the account that reads them. How many there may be is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from posthouse.accounts import usage
from posthouse.mail.envelope import AccountId

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx

SERVER: Final = AccountId(0)
"""Whose the shared entries of the server are."""

SHARED: Final = "/shared"
PRIVATE: Final = "/private"

VALUE_LIMIT = 16_384
"""Octets of one value at most."""
ENTRIES_LIMIT = 100
"""Entries of one reader at one mailbox at most, and shared ones."""
TOTAL_LIMIT = 10_000_000
"""Octets of all values of an account at most."""


class ValueTooLarge(Exception):
    """A value is longer than `VALUE_LIMIT`."""


class TooManyEntries(Exception):
    """There is no room for another entry."""


class Where(NamedTuple):
    """What the entries are about."""

    account: AccountId
    """Whose; `SERVER` for the shared ones of the server."""
    mailbox: int
    """0: no mailbox, but the server."""
    reader: AccountId
    """Who asks."""

    def key(self, entry: str) -> tuple[int, int, int]:
        """Where an entry lies. The private ones of the server lie in the account of their reader."""
        private = entry.startswith(PRIVATE)
        account = self.reader if private and self.account == SERVER else self.account
        return account, self.mailbox, self.reader if private else 0


def get(reader: Tx | Reader, where: Where, entries: Iterable[str], depth: int | None) -> dict[str, bytes]:
    """The values of the entries that there are, by name.

    `depth`: how many levels below each as well; None: all of them (RFC 5464 §4.2.2).
    """
    wanted = tuple(entries)
    found: dict[str, bytes] = {}
    for scope in (SHARED, PRIVATE):
        names = [entry for entry in wanted if entry == scope or entry.startswith(scope + "/")]
        if names:
            rows = reader.all(
                "SELECT entry, value FROM metadata WHERE account = ? AND mailbox = ? AND reader = ?"
                " ORDER BY entry",
                where.key(scope),
            )
            found |= {entry: bytes(value) for entry, value in rows if is_wanted(entry, names, depth)}
    return found


def all_of(reader: Tx | Reader, where: Where) -> list[tuple[str, bytes]]:
    """Every entry that its reader may know, with its value."""
    found: list[tuple[str, bytes]] = []
    for scope in (SHARED, PRIVATE):
        rows = reader.all(f"SELECT entry, value FROM metadata WHERE {_KEY} ORDER BY entry", where.key(scope))
        found += ((entry, bytes(value)) for entry, value in rows)
    return found


def is_wanted(entry: str, names: Iterable[str], depth: int | None) -> bool:
    """Whether an entry is one of `names`, or so far below as `get` has it."""
    for name in names:
        if entry == name:
            return True
        if entry.startswith(name + "/") and (depth is None or entry.count("/") - name.count("/") <= depth):
            return True
    return False


def put(tx: Tx, where: Where, values: Mapping[str, bytes | None]) -> int:
    """Set entries, all or none; None removes one. Returns the modseq of the account, 0 for the server's.

    Raises ValueTooLarge, TooManyEntries, NoSuchAccount.
    """
    modseq = 0
    for entry, value in values.items():
        account, mailbox, reader = key = where.key(entry)
        if account != SERVER and not modseq:
            modseq = usage.advance(tx, AccountId(account))
        tx.run(f"DELETE FROM metadata WHERE {_KEY} AND entry = ?", (*key, entry))
        if value is None:
            continue
        if len(value) > VALUE_LIMIT:
            raise ValueTooLarge
        tx.run(
            "INSERT INTO metadata (account, mailbox, reader, entry, value) VALUES (?, ?, ?, ?, ?)",
            (*key, entry, value),
        )
        _has_room(tx, account, mailbox, reader)
    return modseq


def _has_room(tx: Tx, account: int, mailbox: int, reader: int) -> None:
    here = tx.one(f"SELECT count(*) FROM metadata WHERE {_KEY}", (account, mailbox, reader))
    total = tx.one("SELECT sum(length(value)) FROM metadata WHERE account = ?", (account,))
    if (here is not None and here[0] > ENTRIES_LIMIT) or (total is not None and total[0] > TOTAL_LIMIT):
        raise TooManyEntries


_KEY = "account = ? AND mailbox = ? AND reader = ?"


def copy(tx: Tx, account: AccountId, mailbox: int, to: int) -> None:
    """Give another mailbox of the account the same entries; it has none."""
    tx.run(
        "INSERT INTO metadata (account, mailbox, reader, entry, value)"
        " SELECT account, CAST(? AS BIGINT), reader, entry, value FROM metadata"
        " WHERE account = ? AND mailbox = ?",
        (to, account, mailbox),
    )


def forget(tx: Tx, account: AccountId, mailbox: int) -> None:
    """The mailbox is gone."""
    tx.run("DELETE FROM metadata WHERE account = ? AND mailbox = ?", (account, mailbox))
