"""Deposit: one copy of a letter into one mailbox. The hottest path of the store.

The account row (modseq, quota as a condition), the mailbox row (UID), the message and its placement. The
content was put before, once for all copies (`content.put`). Whatever is asked of messages more seldom than
they come is found later: the thread (`store.threads`), the words (`store.indexer`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.accounts import usage
from posthouse.store import mailboxes

if TYPE_CHECKING:
    from posthouse.db import Question, Tx
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
    asking: Asking | None = None,
) -> DepositResult:
    """Put a copy into `mailbox` (canonical name, `mailboxes.canonical_name`).

    `email_id` is unique within the account. `size` counts prefix and content, in octets; it is what
    the quota is charged. `limit` is the quota of accounts without one of their own (0: none).
    `arrived` is the internal date. `keywords` as of `flags.keyword_text`. `saved` is now where that is
    another moment than `arrived` (RFC 8514). `asking`: what `ask_for` gave for these arguments, where it was
    told to the writer beforehand.
    """
    if missing is Missing.REFUSE and not mailboxes.exists(tx, account, mailbox):
        return NoMailbox()
    if tx.immediate:
        charged = tx.all(*usage.charging(account, size, limit))
        taken = tx.all(_TAKE_UID_AT, (*charged[0], account, mailbox)) if charged else []
    else:
        # The usual case costs one wait for the database, or none where it was asked ahead.
        taken, charged = tx.ask(asking or ask_for(account, mailbox, size, limit))
    if not charged:
        return OverQuota() if usage.exists(tx, account) else AccountGone()
    ((modseq,),) = charged
    if not taken:
        mailbox = _other_mailbox(tx, account, mailbox, missing, arrived)
        taken = tx.all(_TAKE_UID_AT, (modseq, account, mailbox))
    ((mailbox_id, uid, uidvalidity),) = taken
    tx.run(
        "INSERT INTO email (account, id, content, prefix, arrived, size, envelope, bodystructure)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            email_id,
            content_id,
            prefix,
            arrived,
            size,
            envelope,
            bodystructure,
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


Asking: TypeAlias = "list[Question]"


def ask_for(account: AccountId, mailbox: str, size: int, limit: int) -> Asking:
    """What `deposit` with these arguments asks first (`Database.write(ahead=…)`)."""
    return [
        (_TAKE_UID, (account, account, mailbox, limit, size, limit, account)),
        usage.charging(account, size, limit),
    ]


_TAKE_UID_AT = (
    "UPDATE mailbox SET uidnext = uidnext + 1, modseq = ? WHERE account = ? AND name = ?"
    " RETURNING id, uidnext - 1, uidvalidity"
)
# Before the account is charged, so that nothing is taken where the octets do not fit.
_TAKE_UID = (
    f"UPDATE mailbox SET uidnext = uidnext + 1, modseq = {usage.NEXT_MODSEQ}"
    f" WHERE account = ? AND name = ? AND {usage.IT_FITS} RETURNING id, uidnext - 1, uidvalidity"
)


def _other_mailbox(tx: Tx, account: AccountId, wanted: str, missing: Missing, now: float) -> str:
    """Where a copy goes whose mailbox is not there. INBOX is always there, if need be from now on."""
    name = wanted if missing is Missing.CREATE else mailboxes.INBOX
    if not mailboxes.exists(tx, account, name):
        mailboxes.create(tx, account, name, now)
    return name
