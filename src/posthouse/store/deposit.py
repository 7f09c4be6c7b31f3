"""Deposit: copies of letters into mailboxes. The hottest path of the store.

The mailbox row (UIDs), the account row (modseq, quota as a condition), the message and its placement: one
statement of each for several copies, be they of one command or of as many letters as are accepted in one
transaction. The content is put once for all copies (`content.put`). Whatever is asked of messages more
seldom than they come is found later: the thread (`store.threads`), the words (`store.indexer`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.accounts import usage
from posthouse.store import mailboxes

if TYPE_CHECKING:
    from posthouse.db import Question, Tx
    from posthouse.mail.envelope import AccountId


class Deposit(NamedTuple):
    """One copy to be put into a mailbox."""

    email: int
    """A new id, unique within the account."""
    content: int
    prefix: bytes
    arrived: float
    """The internal date."""
    size: int
    """Octets of prefix and content; what the quota is charged."""
    envelope: bytes
    bodystructure: bytes
    flags: int = 0
    keywords: str = ""
    """As of `flags.keyword_text`."""


class Deposited(NamedTuple):
    """The copy lies in a mailbox; of several, which have UIDs in a row, this is the first."""

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


class OneByOne(Exception):
    """Not all of several copies can be deposited together; their transaction is to be undone."""


def deposit(
    tx: Tx,
    account: AccountId,
    mailbox: str,
    copies: Sequence[Deposit],
    limit: int,
    missing: Missing = Missing.TO_INBOX,
    saved: float | None = None,
) -> DepositResult:
    """Put copies into `mailbox` (canonical name, `mailboxes.canonical_name`), all of them or none.

    `limit` is the quota, in octets, of accounts without one of their own (0: none). `saved` is now where that
    is another moment than each copy's `arrived` (RFC 8514).
    """
    if missing is Missing.REFUSE and not mailboxes.exists(tx, account, mailbox):
        return NoMailbox()
    number, octets = len(copies), sum(copy.size for copy in copies)
    taken, charged = tx.ask(_questions(account, mailbox, number, octets, limit))
    if not charged:
        return OverQuota() if usage.exists(tx, account) else AccountGone()
    ((modseq,),) = charged
    if not taken:
        mailbox = _other_mailbox(tx, account, mailbox, missing, copies[0].arrived)
        taken = tx.all(_TAKE_UIDS_AT, (number, modseq, account, mailbox, number))
    ((id, uid, uidvalidity),) = taken
    emails: list[tuple[object, ...]] = []
    placements: list[tuple[object, ...]] = []
    _add_rows(emails, placements, account, id, uid, modseq, copies, saved)
    _insert(tx, emails, placements)
    return Deposited(mailbox, uidvalidity, uid, modseq)


def deposit_together(
    tx: Tx, lots: Mapping[tuple[AccountId, str], Sequence[Deposit]], limit: int
) -> dict[tuple[AccountId, str], Deposited]:
    """Put copies of several letters each into its mailbox, given by account and canonical name.

    Raises OneByOne where a mailbox is not there or has no room for all of its copies.
    """
    questions: list[Question] = []
    for (account, mailbox), copies in lots.items():
        questions += _questions(account, mailbox, len(copies), sum([copy.size for copy in copies]), limit)
    answers = iter(tx.ask(questions))
    done: dict[tuple[AccountId, str], Deposited] = {}
    emails: list[tuple[object, ...]] = []
    placements: list[tuple[object, ...]] = []
    for (account, mailbox), copies in lots.items():
        taken, charged = next(answers), next(answers)
        if not taken or not charged:
            raise OneByOne
        ((id, uid, uidvalidity),), ((modseq,),) = taken, charged
        _add_rows(emails, placements, account, id, uid, modseq, copies, None)
        done[account, mailbox] = Deposited(mailbox, uidvalidity, uid, modseq)
    _insert(tx, emails, placements)
    return done


def _questions(account: AccountId, mailbox: str, number: int, octets: int, limit: int) -> list[Question]:
    """UIDs for `number` copies, then what they cost. No UID is taken where the octets do not fit."""
    return [
        (_TAKE_UIDS, (number, account, account, mailbox, limit, octets, limit, account, number)),
        usage.charging(account, octets, limit),
    ]


_RETURNING = "RETURNING id, uidnext - CAST(? AS BIGINT), uidvalidity"
_TAKE_UIDS_AT = (
    "UPDATE mailbox SET uidnext = uidnext + CAST(? AS BIGINT), modseq = ? WHERE account = ? AND name = ?"
    f" {_RETURNING}"
)
_TAKE_UIDS = (
    f"UPDATE mailbox SET uidnext = uidnext + CAST(? AS BIGINT), modseq = {usage.NEXT_MODSEQ}"
    f" WHERE account = ? AND name = ? AND {usage.IT_FITS} {_RETURNING}"
)


def _add_rows(
    emails: list[tuple[object, ...]],
    placements: list[tuple[object, ...]],
    account: AccountId,
    mailbox: int,
    uid: int,
    modseq: int,
    copies: Sequence[Deposit],
    saved: float | None,
) -> None:
    for number, copy in enumerate(copies, uid):
        email, content, prefix, arrived, size, envelope, bodystructure, flags, keywords = copy
        emails.append((account, email, content, prefix, arrived, size, envelope, bodystructure))
        day = int(arrived if saved is None else saved)
        placements.append((account, mailbox, number, email, size, flags, keywords, modseq, day))


def _insert(tx: Tx, emails: Sequence[tuple[object, ...]], placements: Sequence[tuple[object, ...]]) -> None:
    tx.many(
        "INSERT INTO email (account, id, content, prefix, arrived, size, envelope, bodystructure)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        emails,
    )
    tx.many(
        "INSERT INTO placement (account, mailbox, uid, email, size, flags, keywords, modseq, saved)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        placements,
    )


def _other_mailbox(tx: Tx, account: AccountId, wanted: str, missing: Missing, now: float) -> str:
    """Where a copy goes whose mailbox is not there. INBOX is always there, if need be from now on."""
    name = wanted if missing is Missing.CREATE else mailboxes.INBOX
    if not mailboxes.exists(tx, account, name):
        mailboxes.create(tx, account, name, now)
    return name
