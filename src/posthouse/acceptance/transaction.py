"""The transaction: what acceptance writes for a letter, and for several letters at once.

Content, copies in mailboxes, queue entries, bounces that have to be sent at once, and the journey. Letters
that only go into mailboxes, as most do on their way in, are entered together with those that wait beside
them: one statement where each would need its own. Where that does not work out (a mailbox is full, or
gone) the database undoes it, and each is entered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.acceptance.bounces import Bounces, Origin
from posthouse.acceptance.fates import Copy, carry_out
from posthouse.acceptance.letter import Letter, Plan, Store
from posthouse.journey import record
from posthouse.mail.content import MemoryContent
from posthouse.mail.dsn import RecipientReport, wants
from posthouse.mail.envelope import AccountId, Notify
from posthouse.mail.ids import show
from posthouse.mail.reply import OK, Reply, queued_as
from posthouse.queue import entries as queue
from posthouse.queue.entries import NewEntry, QueueLetter
from posthouse.store import content as contents
from posthouse.store.deposit import Deposit, deposit_together

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.mail.content import Content
    from posthouse.ports import Clock

Answer: TypeAlias = Reply | Sequence[Reply]
"""What the client is told at the end of data; LMTP: one reply for each recipient."""

EXPANDED = Reply(250, "2.1.5", "Delivered to the members of the list")


class Refused(Exception):
    """Nobody gets the letter; nothing is written."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Fresh(NamedTuple):
    """Queue entries just made and leased to this process, with the letter still in memory."""

    letter: QueueLetter
    entries: Sequence[NewEntry]
    content: Content
    leased_until: float
    """As `queue.entries.insert` returned it."""


class Committed(NamedTuple):
    """What must follow a commit."""

    answer: Answer
    changed: Sequence[tuple[AccountId, int]]
    fresh: Fresh | None
    waiting: bool
    """Something else is due in the queue."""
    queued: int
    bounced: int


class Lifetimes(NamedTuple):
    """How long the queue keeps trying, in seconds."""

    letters: float
    bounces: float
    first_wait: float
    """Before the second attempt."""


class Terms(NamedTuple):
    """What is the same for all letters of a worker."""

    clock: Clock
    bounces: Bounces
    lifetimes: Lifetimes
    mailbox_size_limit: int
    keep_journeys: bool
    holder: int
    """Who holds queue entries that are tried at once."""


class Entry:
    """A letter to be entered: a closure for the writer."""

    __slots__ = ("_terms", "blob", "copy", "digest", "leased", "letter", "plan")

    def __init__(
        self, terms: Terms, letter: Letter, plan: Plan, copy: Copy, blob: str, digest: bytes, leased: bool
    ) -> None:
        """`blob` and `digest`: of a large body, else empty. `leased`: its queue entries are tried at once."""
        self._terms = terms
        self.letter = letter
        self.plan = plan
        self.copy = copy
        self.blob = blob
        self.digest = digest
        self.leased = leased

    @property
    def together(self) -> Callable[[Tx, Sequence[Entry]], Sequence[Committed]] | None:
        """How it is entered together with others; None where it must be by itself."""
        plan = self.plan
        if plan.expanded:
            return None
        for fate in plan.fates:
            if type(fate) is not Store or fate.recipient.notify & Notify.SUCCESS:
                return None
        return enter_together

    def __call__(self, tx: Tx) -> Committed:
        terms, letter, plan = self._terms, self.letter, self.plan
        now = terms.clock.now()
        contents.put_all(tx, [self._content()])
        done = carry_out(tx, plan.fates, self.copy, now, terms.mailbox_size_limit)
        answer = answer_of(letter, plan, done.replies)
        if _negative(answer):
            raise Refused(answer)
        fresh = self._enqueue(tx, done.entries) if done.entries else None
        reports = _reports(letter, plan, done.replies, now)
        child = None
        if reports:
            origin = Origin(letter.id, letter.sender, letter.arrived, letter.content)
            child = terms.bounces.write(tx, origin, reports, now)
        if child is not None:
            done.steps.append(record.dsn_sent(now, child))
        if terms.keep_journeys:
            record.begin(tx, [(letter.id, [*letter.steps, *done.steps])])
        waiting = child is not None or (fresh is None and bool(done.entries))
        bounced = sum(reply.code >= 400 for reply in done.replies)
        return Committed(answer, done.changed, fresh, waiting, len(done.entries), bounced)

    def _content(self) -> contents.New:
        letter, content = self.letter, self.letter.content
        if type(content) is MemoryContent:
            body = content.data[len(content.head) :]
            return contents.New(letter.id, content.head, body, content.size)
        return contents.New(letter.id, content.head, None, content.size, self.digest, self.blob)

    def _enqueue(self, tx: Tx, entries: Sequence[NewEntry]) -> Fresh | None:
        terms, letter, sender = self._terms, self.letter, self.letter.sender
        lifetimes = terms.lifetimes
        lifetime = lifetimes.letters if sender.address else lifetimes.bounces
        queued = QueueLetter(
            id=letter.id,
            sender=str(sender.address) if sender.address else "",
            body=sender.body.value,
            smtputf8=sender.smtputf8,
            ret=sender.ret.value,
            envid=sender.envid,
            prefix=letter.trace,
            content=letter.id,
            size=len(letter.trace) + letter.content.size,
            arrived=letter.arrived,
            expires=letter.arrived + lifetime,
            parent=None,
            last=max(fate.number for fate in self.plan.fates),
        )
        at_once = [entry for entry in entries if not entry.reason]
        holder = terms.holder if self.leased else 0
        until = queue.insert(tx, queued, at_once, due=letter.arrived, holder=holder)
        if len(at_once) < len(entries):
            waiting = [entry for entry in entries if entry.reason]
            queue.insert_more(tx, letter.id, waiting, due=letter.arrived + lifetimes.first_wait)
        return Fresh(queued, at_once, letter.content, until) if self.leased and at_once else None


def enter_together(tx: Tx, entries: Sequence[Entry]) -> list[Committed]:
    """Letters that only go into mailboxes. Raises OneByOne."""
    terms = entries[0]._terms
    now = terms.clock.now()
    lots: dict[tuple[AccountId, str], list[Deposit]] = {}
    for entry in entries:
        copy = entry.copy
        forms = copy.forms
        assert forms is not None
        for fate in entry.plan.fates:
            assert type(fate) is Store
            prefix = fate.prefix
            deposit = Deposit(
                copy.new_id(),
                copy.content,
                prefix,
                copy.arrived,
                len(prefix) + copy.size,
                forms.envelope,
                forms.bodystructure,
            )
            lots.setdefault((fate.account, fate.mailbox), []).append(deposit)
    contents.put_all(tx, [entry._content() for entry in entries])
    first = deposit_together(tx, lots, terms.mailbox_size_limit)
    uids = {lot: done.uid for lot, done in first.items()}
    journeys = []
    answers = []
    for entry in entries:
        letter, fates = entry.letter, entry.plan.fates
        steps = letter.steps.copy()
        changed = []
        for fate in fates:
            assert type(fate) is Store
            lot = fate.account, fate.mailbox
            steps.append(record.stored(now, fate.number, fate.address, fate.mailbox, uids[lot]))
            uids[lot] += 1
            changed.append((fate.account, first[lot].modseq))
        journeys.append((letter.id, steps))
        answer = answer_of(letter, entry.plan, [OK] * len(fates))
        answers.append(Committed(answer, changed, None, False, 0, 0))
    if terms.keep_journeys:
        record.begin(tx, journeys)
    return answers


def answer_of(letter: Letter, plan: Plan, replies: Sequence[Reply]) -> Answer:
    """What the client is told where these are the replies about the fates of the plan."""
    if not letter.reply_each:
        return _of_several(replies, letter)
    return [_of_several([replies[index] for index in lot], letter) for lot in plan.lots]


def _of_several(replies: Sequence[Reply], letter: Letter) -> Reply:
    """Yes where one gets it; else a temporary failure before a lasting one, for it may mend."""
    for reply in replies:
        if reply.code < 400:
            return queued_as(show(letter.id))
    return next((reply for reply in replies if reply.transient), replies[0])


def _negative(answer: Answer) -> bool:
    if isinstance(answer, Reply):
        return answer.code >= 400
    return all(reply.code >= 400 for reply in answer)


def _reports(letter: Letter, plan: Plan, replies: Sequence[Reply], now: float) -> list[RecipientReport]:
    """What the sender is owed at once (RFC 3461 §4.1)."""
    if letter.sender.address is None:
        return []
    told = _told_by_reply(plan, replies) if letter.reply_each else ()
    reports = []
    for index, (fate, reply) in enumerate(zip(plan.fates, replies, strict=True)):
        if reply.code >= 400:
            if index not in told and wants(fate.recipient.notify, "failed"):
                reports.append(RecipientReport(fate.recipient, "failed", reply, "", now, None))
        elif type(fate) is Store and fate.recipient.notify & Notify.SUCCESS:
            reports.append(RecipientReport(fate.recipient, "delivered", OK, "", now, None))
    for recipient in plan.expanded:
        reports.append(RecipientReport(recipient, "expanded", EXPANDED, "", now, None))
    return reports


def _told_by_reply(plan: Plan, replies: Sequence[Reply]) -> set[int]:
    """Fates of recipients whose LMTP client gets a negative reply."""
    failed = (lot for lot in plan.lots if all(replies[index].code >= 400 for index in lot))
    return {index for lot in failed for index in lot}
