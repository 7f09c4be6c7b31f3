"""The mailbox access keys with which users sign URLs of messages (RFC 4467 §2.2).

Each user has a key of his own for each mailbox that he has made URLs for, whoever's it is. A URL is worth
something as long as its key is there: keys go with their mailbox, their user, and when he takes them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

KEY_OCTETS = 32
"""RFC 4467 §2.2 wants 16 at least."""


def find(reader: Tx | Reader, account: AccountId, owner: AccountId, mailbox: int) -> bytes | None:
    """The key of a user for a mailbox, None where he has none."""
    row = reader.one(
        "SELECT secret FROM url_key WHERE account = ? AND owner = ? AND mailbox = ?",
        (account, owner, mailbox),
    )
    return None if row is None else bytes(row[0])


def put(tx: Tx, account: AccountId, owner: AccountId, mailbox: int, key: bytes) -> None:
    """Give a user this key for a mailbox, in place of the one that he had."""
    tx.run("DELETE FROM url_key WHERE account = ? AND owner = ? AND mailbox = ?", (account, owner, mailbox))
    tx.run(
        "INSERT INTO url_key (account, owner, mailbox, secret) VALUES (?, ?, ?, ?)",
        (account, owner, mailbox, key),
    )


def remove_all(tx: Tx, account: AccountId) -> None:
    """Take all keys of a user away."""
    tx.run("DELETE FROM url_key WHERE account = ?", (account,))


def forget(tx: Tx, owner: AccountId, mailbox: int) -> None:
    """The mailbox is gone."""
    tx.run("DELETE FROM url_key WHERE owner = ? AND mailbox = ?", (owner, mailbox))
