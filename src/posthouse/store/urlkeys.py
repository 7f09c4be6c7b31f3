"""The mailbox access keys with which users sign URLs of messages (RFC 4467 §2.2).

Each user has a key of his own for each mailbox that he has made URLs for, whoever's it is. A URL is worth
something as long as its key is there: keys go with their mailbox, their user, and when he takes them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthouse.mail.envelope import AccountId

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx

KEY_OCTETS = 32
"""RFC 4467 §2.2 wants 16 at least."""


def find(reader: Tx | Reader, account: AccountId, owner: AccountId, mailbox: int) -> bytes | None:
    """The key of a user for a mailbox, None where he has none."""
    row = reader.one(
        "SELECT secret FROM url_key WHERE account = ? AND owner = ? AND mailbox = ?",
        (account, owner, mailbox),
    )
    return None if row is None else bytes(row[0])


def renewed(reader: Reader, account: AccountId, owner: AccountId, mailbox: int) -> int:
    """The modseq at which a user's key for a mailbox took the place of another; 0: none did."""
    row = reader.one(
        "SELECT modseq FROM url_key WHERE account = ? AND owner = ? AND mailbox = ?",
        (account, owner, mailbox),
    )
    return 0 if row is None else int(row[0])


def every(reader: Tx | Reader, account: AccountId) -> list[tuple[AccountId, int]]:
    """The mailboxes that a user has keys for: whose, and which."""
    rows = reader.all(
        "SELECT owner, mailbox FROM url_key WHERE account = ? ORDER BY owner, mailbox", (account,)
    )
    return [(AccountId(owner), mailbox) for owner, mailbox in rows]


def put(tx: Tx, account: AccountId, owner: AccountId, mailbox: int, key: bytes, modseq: int = 0) -> None:
    """Give a user this key for a mailbox, in place of the one that he had; `modseq`: see `renewed`."""
    tx.run("DELETE FROM url_key WHERE account = ? AND owner = ? AND mailbox = ?", (account, owner, mailbox))
    tx.run(
        "INSERT INTO url_key (account, owner, mailbox, secret, modseq) VALUES (?, ?, ?, ?, ?)",
        (account, owner, mailbox, key, modseq),
    )


def forget(tx: Tx, owner: AccountId, mailbox: int) -> None:
    """The mailbox is gone."""
    tx.run("DELETE FROM url_key WHERE owner = ? AND mailbox = ?", (owner, mailbox))
