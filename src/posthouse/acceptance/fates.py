"""What a transaction does with the fates of a plan: copies, queue entries, and what is left to report.

The one place where a copy reaches a mailbox: for a letter that is being accepted, and for a queue
entry whose next hop is ourselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from posthouse.acceptance.intake import ArrivedContent, structure_of
from posthouse.acceptance.letter import Discard, Fate, Queue, Store
from posthouse.journey import record
from posthouse.mail import imapform
from posthouse.mail.envelope import AccountId, Recipient
from posthouse.mail.header import HeaderIndex
from posthouse.mail.reply import MAILBOX_FULL, NO_SUCH_USER, OK, Reply
from posthouse.queue.entries import NewEntry
from posthouse.store.deposit import Deposit, Deposited, OverQuota, deposit

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.journey.record import Step


class Forms(NamedTuple):
    """What FETCH will return of a letter, made ready outside the transaction."""

    envelope: bytes
    bodystructure: bytes


def forms_of(header: HeaderIndex, content: ArrivedContent) -> Forms:
    """`header` is of the content's head."""
    return Forms(imapform.envelope(header), structure_of(header, content))


class Copy(NamedTuple):
    """The letter as its copies need it."""

    content: int
    """The id of the content row."""
    size: int
    arrived: float
    forms: Forms | None
    """None where no fate of the plan is a `Store`."""
    new_id: Callable[[], int]
    """Makes the id of a message."""


class Done(NamedTuple):
    """What became of the fates of a plan."""

    replies: list[Reply]
    """One for each fate: how the client, or the sender, is to be told of it."""
    steps: list[Step]
    changed: list[tuple[AccountId, int]]
    """Accounts with the modseq that they have now."""
    entries: list[NewEntry]


def carry_out(tx: Tx, fates: Sequence[Fate], copy: Copy, now: float, quota: int) -> Done:
    """Make copies and collect entries; bounces are left to the caller, who knows whether to send any.

    `quota`: octets for accounts without a limit of their own, 0 for none.
    """
    done = Done([], [], [], [])
    for fate in fates:
        if isinstance(fate, Store):
            reply = _store(tx, fate, copy, now, quota, done)
        elif isinstance(fate, Queue):
            reply = _queue(fate, now, done)
        elif isinstance(fate, Discard):
            reply = OK
            done.steps.append(record.discarded(now, fate.number, str(fate.recipient.address), fate.reason))
        else:
            reply = fate.reply
            done.steps.append(record.bounced(now, fate.number, str(fate.recipient.address), str(reply)))
        done.replies.append(reply)
    return done


def _store(tx: Tx, fate: Store, copy: Copy, now: float, quota: int, done: Done) -> Reply:
    assert copy.forms is not None
    message = Deposit(
        copy.new_id(),
        copy.content,
        fate.prefix,
        copy.arrived,
        len(fate.prefix) + copy.size,
        copy.forms.envelope,
        copy.forms.bodystructure,
    )
    result = deposit(tx, fate.account, fate.mailbox, [message], quota)
    if type(result) is Deposited:
        done.changed.append((fate.account, result.modseq))
        done.steps.append(record.stored(now, fate.number, fate.address, result.mailbox, result.uid))
        return OK
    reply = MAILBOX_FULL if type(result) is OverQuota else NO_SUCH_USER
    done.steps.append(record.bounced(now, fate.number, fate.address, str(reply)))
    return reply


def _queue(fate: Queue, now: float, done: Done) -> Reply:
    recipient: Recipient = fate.recipient
    reason = "" if fate.reason is None else str(fate.reason)
    done.entries.append(
        NewEntry(
            fate.number, str(recipient.address), int(recipient.notify), recipient.orcpt, fate.next_hop, reason
        )
    )
    done.steps.append(record.queued(now, fate.number, str(recipient.address), fate.next_hop, reason))
    return OK
