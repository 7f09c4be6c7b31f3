"""Queue entries whose next hop is ourselves: planned anew, carried out in the runner's transaction.

They are bounces and other letters of ours, and letters that could not be stored when they came. What the
directory says now counts, not what it said then: a recipient may have become an alias, have moved to
another server, or be gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posthouse.acceptance.fates import Copy, Forms, carry_out, forms_of
from posthouse.acceptance.letter import Fate, Letter, Plan, Queue, Store
from posthouse.acceptance.planning import Accepted, plan
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import AccountId, Client, LetterId, Recipient, Sender
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import bodystructure, envelope
from posthouse.mail.mime import Scanner
from posthouse.mail.outcome import Deferred, Delivered, Outcome, outcome_of
from posthouse.mail.reply import OK, Reply
from posthouse.queue import entries as queue
from posthouse.queue.entries import LOCAL, Entry, QueueLetter

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.journey.record import Step
    from posthouse.mail.content import Content
    from posthouse.ports import Clock
    from posthouse.routing import Router


@dataclass(slots=True)
class Carried:
    """What became of the entries, within the transaction."""

    outcomes: list[Outcome | None]
    """One for each entry; None where others have taken its place in the queue."""
    steps: list[Step]
    after: Callable[[], object]
    """To be called once it is durable."""


class Redelivery:
    """Local delivery from the queue, for one worker."""

    def __init__(
        self,
        router: Router,
        clock: Clock,
        new_id: Callable[[], int],
        *,
        mailbox_size_limit: int,
        first_wait: float,
        changed: Callable[[AccountId, int], object],
        wake: Callable[[], object],
    ) -> None:
        """`first_wait`: seconds until a second attempt; `changed` and `wake` as for `Acceptance`."""
        self._router = router
        self._clock = clock
        self._new_id = new_id
        self._quota = mailbox_size_limit
        self._first_wait = first_wait
        self._changed = changed
        self._wake = wake

    async def prepare(
        self,
        queued: QueueLetter,
        sender: Sender,
        recipients: Sequence[tuple[int, Recipient]],
        content: Content,
    ) -> Delivery:
        """Decide about the entries with these numbers and recipients; writes nothing."""
        letter = Letter(LetterId(queued.id), sender, _NOBODY, content, queued.prefix, queued.arrived)
        plans: dict[int, Plan | Reply] = {}
        stores = False
        for number, recipient in recipients:
            resolution = self._router.resolve(recipient.address)
            if isinstance(resolution, Awaitable):
                resolution = await resolution
            if resolution.finals:
                planned = plan(letter, [Accepted(recipient, resolution)], number)
                stores = stores or bool(planned.accounts)
                plans[number] = planned
            else:
                plans[number] = resolution.reply
        forms = await _forms(content) if stores else None
        copy = Copy(queued.content, content.size, queued.arrived, forms, self._new_id)
        return Delivery(self, queued.id, plans, copy)

    def carry(
        self, tx: Tx, letter: int, plans: dict[int, Plan | Reply], copy: Copy, entries: Sequence[Entry]
    ) -> Carried:
        now = self._clock.now()
        changed: list[tuple[AccountId, int]] = []
        added: list[int] = []
        carried = Carried([], [], lambda: self._follow(changed, bool(added)))
        for entry in entries:
            planned = plans[entry.number]
            if isinstance(planned, Reply):
                carried.outcomes.append(outcome_of(planned))
                continue
            only = planned.fates[0] if len(planned.fates) == 1 else None
            if isinstance(only, Queue) and only.next_hop == LOCAL and only.reason is not None:
                carried.outcomes.append(Deferred(only.reason))
                continue
            done = carry_out(tx, _renumbered(tx, letter, planned.fates), copy, now, self._quota)
            for new in done.entries:
                due = now + self._first_wait if new.reason else now
                queue.insert_more(tx, letter, [new], due=due)
                added.append(new.number)
            changed += done.changed
            carried.steps += done.steps
            carried.outcomes.append(_outcome(planned.fates, done.replies))
        return carried

    def _follow(self, changed: list[tuple[AccountId, int]], added: bool) -> None:
        for account, modseq in changed:
            self._changed(account, modseq)
        if added:
            self._wake()


class Delivery:
    """Planned deliveries of one letter. Call it in a transaction; it may run more than once."""

    __slots__ = ("_copy", "_letter", "_of", "_plans")

    def __init__(self, of: Redelivery, letter: int, plans: dict[int, Plan | Reply], copy: Copy) -> None:
        self._of = of
        self._letter = letter
        self._plans = plans
        self._copy = copy

    @property
    def accounts(self) -> Sequence[int]:
        """Whose mailboxes get a copy."""
        plans = (planned for planned in self._plans.values() if isinstance(planned, Plan))
        return sorted({account for planned in plans for account in planned.accounts})

    def __call__(self, tx: Tx, entries: Sequence[Entry]) -> Carried:
        return self._of.carry(tx, self._letter, self._plans, self._copy, entries)


_NOBODY = Client("local", protocol="local")


async def _forms(content: Content) -> Forms:
    header = HeaderIndex(content.head)
    if isinstance(content, MemoryContent):
        return forms_of(header, content)
    scanner = Scanner()
    async for chunk in content.chunks():
        scanner.feed(chunk)
    return Forms(envelope(header), bodystructure(scanner.finish()))


def _renumbered(tx: Tx, letter: int, fates: Sequence[Fate]) -> list[Fate]:
    """New entries get numbers that the letter has not used."""
    queued = sum(isinstance(fate, Queue) for fate in fates)
    if not queued:
        return list(fates)
    numbers = iter(queue.new_numbers(tx, letter, queued))
    return [fate._replace(number=next(numbers)) if isinstance(fate, Queue) else fate for fate in fates]


def _outcome(fates: Sequence[Fate], replies: Sequence[Reply]) -> Outcome | None:
    """One outcome for all that an entry led to: a failure is told even where others succeeded."""
    for reply in replies:
        if reply.code >= 400:
            return outcome_of(reply)
    for fate in fates:
        if isinstance(fate, Store):
            return Delivered(OK, f"mailbox {fate.mailbox} of {fate.address}")
    return None
