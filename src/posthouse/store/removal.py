"""Removal: messages leave the store, in batches, and what only they referred to goes with them.

An email goes with its last placement, content with its last email (`Contents.release`). The octets of
each placement come back to the account in the same transaction, so used never differs from what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthouse.accounts import usage
from posthouse.store import previews, snapshotpages, surrogates, wide
from posthouse.store.mailboxes import SEPARATOR
from posthouse.store.uids import listed, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId
    from posthouse.store.content import Contents

BATCH = 1000
"""Messages that one transaction removes, as a good measure."""

_DELETED = f"{SEPARATOR}%"
"""Pattern of the names that deleted mailboxes have, and no other."""


def release_emails(tx: Tx, contents: Contents, account: AccountId, emails: Sequence[int]) -> None:
    """Remove those of `emails` that lie in no mailbox now, and release their content."""
    unused: list[tuple[int, int]] = []
    for condition, some in listed(sorted(set(emails)), "id"):
        unused += tx.all(
            f"DELETE FROM email WHERE account = ? AND {condition}"
            " AND NOT EXISTS"
            " (SELECT 1 FROM placement p WHERE p.account = email.account AND p.email = email.id)"
            " RETURNING id, content",
            (account, *some),
        )
    previews.forget(tx, account, [id for id, _ in unused])
    contents.release(tx, [content for _, content in unused])


def sweep(tx: Tx, contents: Contents, account: AccountId, limit: int = BATCH) -> int:
    """Remove up to `limit` messages of deleted mailboxes; returns how many; fewer: that is all."""
    removed = 0
    doomed = tx.all("SELECT id FROM mailbox WHERE account = ? AND name LIKE ?", (account, _DELETED))
    for (mailbox,) in doomed:
        left = limit - removed
        if left <= 0:
            break
        taken = _take(tx, contents, account, mailbox, left)
        removed += taken
        if taken < left:
            tx.run("DELETE FROM expunged WHERE account = ? AND mailbox = ?", (account, mailbox))
            tx.run("DELETE FROM imported WHERE account = ? AND mailbox = ?", (account, mailbox))
            snapshotpages.forget(tx, account, mailbox)
            surrogates.forget(tx, account, mailbox)
            wide.forget(tx, account, mailbox)
            tx.run("DELETE FROM mailbox WHERE account = ? AND id = ?", (account, mailbox))
    return removed


def _take(tx: Tx, contents: Contents, account: AccountId, mailbox: int, limit: int) -> int:
    """Remove up to `limit` messages of a mailbox that nobody can see any more."""
    rows = tx.all(
        "SELECT uid, email, size FROM placement WHERE account = ? AND mailbox = ? ORDER BY uid LIMIT ?",
        (account, mailbox, limit),
    )
    if rows:
        tx.run(
            "DELETE FROM placement WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?",
            (account, mailbox, rows[0][0], rows[-1][0]),
        )
        usage.credit(tx, account, sum(size for _, _, size in rows))
        release_emails(tx, contents, account, [email for _, email, _ in rows])
    return len(rows)


def unswept(reader: Reader) -> list[AccountId]:
    """Accounts with a deleted mailbox whose messages are not all gone, after a crash for example."""
    rows = reader.all("SELECT DISTINCT account FROM mailbox WHERE name LIKE ?", (_DELETED,))
    return [account for (account,) in rows]


def remove_all(tx: Tx, contents: Contents, account: AccountId, limit: int = BATCH) -> bool:
    """Remove up to `limit` messages of an account that is being removed, and with the last one all else.

    Call it until it returns False, and only then remove the account's row.
    """
    # A mailbox is gone for everybody once its name begins with the separator.
    tx.many(
        "UPDATE mailbox SET name = ?, special = '' WHERE account = ? AND id = ?",
        [
            (f"{SEPARATOR}{id}", account, id)
            for id, name in tx.all("SELECT id, name FROM mailbox WHERE account = ?", (account,))
            if not name.startswith(SEPARATOR)
        ],
    )
    if sweep(tx, contents, account, limit) >= limit:
        return True
    for table in ("subscription", "thread_key", "metadata", "acl", "url_key"):
        tx.run(f"DELETE FROM {table} WHERE account = ?", (account,))
    tx.run("DELETE FROM acl WHERE grantee = ?", (account,))
    tx.run("DELETE FROM metadata WHERE reader = ?", (account,))
    tx.run("DELETE FROM url_key WHERE owner = ?", (account,))
    return False


TOMBSTONES = 10_000
"""Runs of expunged UIDs remembered per mailbox, about."""

_SELDOM = 100


def bury(tx: Tx, account: AccountId, mailbox: int, modseq: int, uids: Sequence[int]) -> None:
    """Remember that `uids` (ascending) were expunged by the change `modseq`, dropping what is too old.

    Old ones are looked for now and then only, so there may be a few more than `TOMBSTONES`.
    """
    runs = ranges_of(uids)
    tx.many(
        "INSERT INTO expunged (account, mailbox, modseq, uid, last) VALUES (?, ?, ?, ?, ?)",
        [(account, mailbox, modseq, first, last) for first, last in runs],
    )
    if len(runs) < _SELDOM and modseq % _SELDOM:
        return
    row = tx.one(
        "SELECT modseq FROM expunged WHERE account = ? AND mailbox = ?"
        " ORDER BY modseq DESC, uid DESC LIMIT 1 OFFSET ?",
        (account, mailbox, TOMBSTONES),
    )
    if row is not None:
        tx.run(
            "DELETE FROM expunged WHERE account = ? AND mailbox = ? AND modseq <= ?",
            (account, mailbox, row[0]),
        )
        tx.run("UPDATE mailbox SET forgotten = ? WHERE account = ? AND id = ?", (row[0], account, mailbox))
