"""Deposit: one copy of a letter into one mailbox. The hottest path of the store.

Six statements: the account row (modseq, quota as a condition), the mailbox row (UID), the thread and
its keys, the message and its placement. The content was put before, once for all copies (`content.put`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.accounts import usage
from posthouse.store import mailboxes, threads

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.mail.envelope import AccountId


class Deposited(NamedTuple):
    """The copy lies in a mailbox."""

    mailbox: str
    """The name of the mailbox it went to, INBOX when the wanted one is not there."""
    uidvalidity: int
    uid: int
    modseq: int


class OverQuota(NamedTuple):
    """The copy does not fit into the account's quota; nothing was written."""


class AccountGone(NamedTuple):
    """The account was removed after the recipient had been accepted; nothing was written."""


class NoMailbox(NamedTuple):
    """There is no such mailbox, and none was to be made; nothing was written."""


DepositResult: TypeAlias = Deposited | OverQuota | AccountGone | NoMailbox


class Missing(Enum):
    """What to do when the mailbox is not there."""

    TO_INBOX = "to INBOX"
    CREATE = "create it"
    REFUSE = "refuse"


def deposit(
    tx: Tx,
    account: AccountId,
    mailbox: str,
    email_id: int,
    content_id: int,
    prefix: bytes,
    arrived: float,
    size: int,
    envelope: bytes,
    bodystructure: bytes,
    limit: int,
    flags: int = 0,
    keywords: str = "",
    missing: Missing = Missing.TO_INBOX,
    saved: float | None = None,
    keys: Sequence[int] = (),
) -> DepositResult:
    """Put a copy into `mailbox` (canonical name, `mailboxes.canonical_name`).

    `email_id` is unique within the account. `size` counts prefix and content, in octets; it is what
    the quota is charged. `limit` is the quota of accounts without one of their own (0: none).
    `arrived` is the internal date. `keywords` as of `flags.keyword_text`. `saved` is now where that is
    another moment than `arrived` (RFC 8514). `keys`: `mail.conversation.keys` of the letter.
    """
    if missing is Missing.REFUSE and not mailboxes.exists(tx, account, mailbox):
        return NoMailbox()
    modseq = usage.charge(tx, account, size, limit)
    if modseq is None:
        return OverQuota() if usage.exists(tx, account) else AccountGone()
    row = tx.one(_TAKE_UID, (modseq, account, mailbox))
    if row is None:
        mailbox = _other_mailbox(tx, account, mailbox, missing, arrived)
        row = tx.one(_TAKE_UID, (modseq, account, mailbox))
        assert row is not None
    mailbox_id, uid, uidvalidity = row
    tx.run(
        "INSERT INTO email (account, id, content, prefix, arrived, size, envelope, bodystructure, thread)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            email_id,
            content_id,
            prefix,
            arrived,
            size,
            envelope,
            bodystructure,
            threads.join(tx, account, email_id, keys),
        ),
    )
    tx.run(
        "INSERT INTO placement (account, mailbox, uid, email, size, flags, keywords, modseq, saved)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            mailbox_id,
            uid,
            email_id,
            size,
            flags,
            keywords,
            modseq,
            int(arrived if saved is None else saved),
        ),
    )
    return Deposited(mailbox, uidvalidity, uid, modseq)


_TAKE_UID = (
    "UPDATE mailbox SET uidnext = uidnext + 1, modseq = ? WHERE account = ? AND name = ?"
    " RETURNING id, uidnext - 1, uidvalidity"
)


def _other_mailbox(tx: Tx, account: AccountId, wanted: str, missing: Missing, now: float) -> str:
    """Where a copy goes whose mailbox is not there. INBOX is always there, if need be from now on."""
    name = wanted if missing is Missing.CREATE else mailboxes.INBOX
    if not mailboxes.exists(tx, account, name):
        mailboxes.create(tx, account, name, now)
    return name
