"""Accept: one durable transaction in which a letter's plan is carried out.

Copies in mailboxes, queue entries, bounces that have to be sent at once and the journey are written
together; the answer comes after the fsync and not before. What others may change meanwhile (quota) is
decided inside by conditional writes, so a recipient that was planned to be stored may still fail:
then he is bounced in the same transaction, or, where nobody is left who gets the letter, nothing is
written and the client gets the reply.

What must follow a commit (waking IDLE sessions, trying fresh queue entries) is handed to functions
given at the start; a crash before them loses nothing, for everybody concerned also looks for himself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.acceptance.bounces import Bounces, Origin
from posthouse.acceptance.fates import Copy, Forms, asking_for, carry_out, forms_of
from posthouse.acceptance.intake import SpooledContent, structure_of
from posthouse.acceptance.letter import Bounce, Fate, Letter, Plan, Queue, Store
from posthouse.db.errors import DatabaseError, DiskFull, UniqueViolation, reply_to
from posthouse.journey import record
from posthouse.mail.content import MemoryContent
from posthouse.mail.dsn import RecipientReport, wants
from posthouse.mail.envelope import AccountId, LetterId, Notify
from posthouse.mail.ids import LetterIds, show
from posthouse.mail.reply import LOCAL_ERROR, OK, Reply, queued_as
from posthouse.observe import log, metrics
from posthouse.queue import entries as queue
from posthouse.queue.entries import NewEntry, QueueLetter
from posthouse.store import content as contents

if TYPE_CHECKING:
    from posthouse.db import Database, Tx
    from posthouse.db.blobs import Blobs
    from posthouse.journey.record import Step
    from posthouse.mail.content import Content
    from posthouse.ports import Clock
    from posthouse.store.deposit import Asking

_log = log.get("acceptance")
_LETTERS = metrics.counters(
    "posthouse_letters_total", "letters that came to the end of data", "answer", ("accepted", "refused")
)
_RECIPIENTS = metrics.counters(
    "posthouse_recipients_total",
    "recipients of accepted letters",
    "fate",
    ("stored", "queued", "bounced"),
)

Answer: TypeAlias = Reply | Sequence[Reply]
"""What the client is told at the end of data; LMTP: one reply for each recipient."""

NAMES = 3
"""Ids that a letter may get anew, where another process has made the same (a clock set back, above all)."""
MANY = 50
"""Fates from which on a transaction is too long for the loop."""
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


class _Pending:
    """A letter whose transaction is under way.

    A callback of its own: a function that hands itself on would be a cycle, and hold each letter until
    the garbage collector comes.
    """

    __slots__ = ("_acceptance", "_letter", "_names_left", "_plan", "_write", "answer")

    def __init__(
        self,
        letter: Letter,
        plan: Plan,
        write: Callable[[Plan], asyncio.Future[Committed]],
        answer: asyncio.Future[Answer],
        acceptance: Acceptance,
    ) -> None:
        self._letter = letter
        self._plan = plan
        self._write = write
        self._acceptance = acceptance
        self._names_left = NAMES
        self.answer = answer

    def finish(self, done: asyncio.Future[Committed]) -> None:
        """The transaction is durable, or has failed; with an id that was taken it begins anew."""
        error = done.exception()
        if type(error) is UniqueViolation and self._names_left:
            self._names_left -= 1
            _log.warning("an id was taken", letter=show(self._letter.id))
            another = _renamed(self._letter, self._plan, self._acceptance.new_letter_id())
            self._write(another).add_done_callback(self.finish)
            return
        reply = done.result().answer if error is None else _answer_to(error)
        if not self.answer.done():
            self.answer.set_result(reply)
        # The client is answered whatever goes wrong in what follows.
        if error is None:
            self._acceptance.follow(done.result())
        else:
            self._acceptance.fail(self._letter, reply, error)


class Acceptance:
    """The one door of one worker.

    `refused(letter, reply)` is told of a letter that nobody gets, which has no journey of its own;
    `changed(account, modseq)` is told of every mailbox change; `take(fresh)` gets queue entries to try
    at once, leased to this process, as long as `room()` says that it can hold more; `wake()` is called
    when something else is due in the queue.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        ids: LetterIds,
        clock: Clock,
        bounces: Bounces,
        *,
        lifetimes: Lifetimes,
        mailbox_size_limit: int,
        keep_journeys: bool,
        refused: Callable[[Letter, Reply], object],
        changed: Callable[[AccountId, int], object],
        take: Callable[[Fresh], object],
        room: Callable[[], bool],
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._ids = ids
        self._clock = clock
        self._bounces = bounces
        self._lifetimes = lifetimes
        self._quota = mailbox_size_limit
        self._keep_journeys = keep_journeys
        self._refused = refused
        self._changed = changed
        self._take = take
        self._room = room
        self._wake = wake
        self._loop = asyncio.get_running_loop()

    def accept(self, letter: Letter, plan: Plan) -> Awaitable[Answer] | Answer:
        """Carry out the plan. The answer is positive only once everything is durable.

        Failures of the database become replies (RFC 5321 §4.2.3: 451, 452); no exception escapes.
        """
        refusal = _refusal(letter, plan)
        content = letter.content
        if refusal is not None:
            if isinstance(content, SpooledContent):
                content.path.unlink(missing_ok=True)
            return self._refuse(letter, refusal)
        if isinstance(content, SpooledContent):
            return self._accept_spooled(letter, content, plan)
        assert isinstance(content, MemoryContent)
        forms = forms_of(letter.header, structure_of(content)) if plan.accounts else None
        return self._answered(letter, plan, partial(self._write, letter, blob="", digest=b"", forms=forms))

    async def _accept_spooled(self, letter: Letter, content: SpooledContent, plan: Plan) -> Answer:
        try:
            blob = await self._blobs.store(content.path)  # durable before the row that names it
        except (OSError, DatabaseError) as error:
            _log.warning("cannot store a large letter", letter=show(letter.id), reason=str(error))
            return self._refuse(letter, reply_to(error))
        letter.content = contents.BlobContent(self._blobs, blob, content.head, content.size)
        forms = forms_of(letter.header, structure_of(content)) if plan.accounts else None
        written: list[asyncio.Future[Committed]] = []

        def write(plan: Plan) -> asyncio.Future[Committed]:
            written.append(self._write(letter, plan, blob, content.digest, forms))
            return written[-1]

        answer = await self._answered(letter, plan, write)
        # Only where it is certain that no row names it; the collector finds what is left otherwise.
        if isinstance(written[-1].exception(), Refused | DiskFull):
            with contextlib.suppress(DatabaseError):
                await self._blobs.delete(blob)
        return answer

    def _write(
        self, letter: Letter, plan: Plan, blob: str, digest: bytes, forms: Forms | None
    ) -> asyncio.Future[Committed]:
        leased = self._room()
        accounts = plan.accounts
        asking: dict[int, Asking] = {}
        if forms is not None and not self._database.immediate:
            asking = asking_for(plan.fates, letter.content.size, self._quota)
        copy = Copy(letter.id, letter.content.size, letter.arrived, forms, self._ids.new, asking)
        return self._database.write(
            accounts,
            lambda tx: self._transaction(tx, letter, plan, copy, blob, digest, leased),
            long=len(plan.fates) > MANY,
            ahead=list(asking.values()),
        )

    def _answered(
        self, letter: Letter, plan: Plan, write: Callable[[Plan], asyncio.Future[Committed]]
    ) -> asyncio.Future[Answer]:
        """The answer once the transaction is durable or has failed; then what must follow."""
        pending = _Pending(letter, plan, write, self._loop.create_future(), self)
        write(plan).add_done_callback(pending.finish)
        return pending.answer

    def _transaction(
        self,
        tx: Tx,
        letter: Letter,
        plan: Plan,
        copy: Copy,
        blob: str,
        digest: bytes,
        leased: bool,
    ) -> Committed:
        now = self._clock.now()
        content = letter.content
        if type(content) is MemoryContent:
            body = content.data[len(content.head) :]
            contents.put(tx, letter.id, content.head, body, size=content.size)
        else:
            contents.put(tx, letter.id, content.head, None, size=content.size, hash=digest, blob=blob)
        done = carry_out(tx, plan.fates, copy, now, self._quota)
        answer = _answer(letter, plan, done.replies)
        if _negative(answer):
            raise Refused(answer)
        fresh = self._enqueue(tx, letter, plan, done.entries, leased) if done.entries else None
        reports = _reports(letter, plan, done.replies, now)
        child = None
        if reports:
            origin = Origin(letter.id, letter.sender, letter.arrived, letter.content)
            child = self._bounces.write(tx, origin, reports, now)
        if self._keep_journeys:
            self._record(tx, letter, plan, done.steps, child, now)
        waiting = child is not None or (fresh is None and bool(done.entries))
        bounced = sum(reply.code >= 400 for reply in done.replies)
        return Committed(answer, done.changed, fresh, waiting, len(done.entries), bounced)

    def _enqueue(
        self, tx: Tx, letter: Letter, plan: Plan, entries: Sequence[NewEntry], leased: bool
    ) -> Fresh | None:
        sender = letter.sender
        lifetime = self._lifetimes.letters if sender.address else self._lifetimes.bounces
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
            last=max(fate.number for fate in plan.fates),
        )
        at_once = [entry for entry in entries if not entry.reason]
        holder = self._database.holder if leased else 0
        until = queue.insert(tx, queued, at_once, due=letter.arrived, holder=holder)
        if len(at_once) < len(entries):
            waiting = [entry for entry in entries if entry.reason]
            queue.insert_more(tx, letter.id, waiting, due=letter.arrived + self._lifetimes.first_wait)
        return Fresh(queued, at_once, letter.content, until) if leased and at_once else None

    def _record(
        self, tx: Tx, letter: Letter, plan: Plan, steps: Sequence[Step], child: int | None, now: float
    ) -> None:
        steps = [*letter.steps, *steps]
        if child is not None:
            steps.append(record.dsn_sent(now, child))
        record.add(tx, letter.id, 0, steps)

    def new_letter_id(self) -> LetterId:
        """Of a letter whose id somebody else has."""
        return LetterId(self._ids.new())

    def fail(self, letter: Letter, answer: Answer, error: BaseException) -> None:
        """Nothing was written."""
        if not isinstance(error, Refused | DatabaseError):
            _log.error("cannot accept a letter", letter=show(letter.id), exc_info=error)
        self._refuse(letter, answer)

    def _refuse(self, letter: Letter, answer: Answer) -> Answer:
        _LETTERS["refused"].add()
        self._refused(letter, answer if isinstance(answer, Reply) else answer[0])
        return answer

    def follow(self, committed: Committed) -> None:
        """What must follow a commit."""
        _LETTERS["accepted"].add()
        _RECIPIENTS["stored"].add(len(committed.changed))
        _RECIPIENTS["queued"].add(committed.queued)
        _RECIPIENTS["bounced"].add(committed.bounced)
        for account, modseq in committed.changed:
            self._changed(account, modseq)
        if committed.fresh is not None:
            self._take(committed.fresh)
        if committed.waiting:
            self._wake()


def _renamed(letter: Letter, plan: Plan, id: LetterId) -> Plan:
    """The plan for a letter that gets another id, which stands in its trace fields too."""
    old, new = show(letter.id).encode(), show(id).encode()
    letter.trace = letter.trace.replace(old, new)
    letter.id = id
    fates = [
        fate._replace(prefix=fate.prefix.replace(old, new)) if isinstance(fate, Store) else fate
        for fate in plan.fates
    ]
    return plan._replace(fates=tuple(fates))


def _refusal(letter: Letter, plan: Plan) -> Answer | None:
    """The answer to a letter that nobody will get now, whatever the database says."""
    replies = [_certain_failure(fate) for fate in plan.fates]
    if None in replies:
        return None
    return _answer(letter, plan, [reply for reply in replies if reply is not None])


def _answer_to(error: BaseException) -> Answer:
    """What the client is told of a transaction that failed."""
    if isinstance(error, Refused):
        return error.answer
    return reply_to(error) if isinstance(error, DatabaseError) else LOCAL_ERROR


def _certain_failure(fate: Fate) -> Reply | None:
    if isinstance(fate, Bounce):
        return fate.reply
    return fate.reason if isinstance(fate, Queue) else None


def _answer(letter: Letter, plan: Plan, replies: Sequence[Reply]) -> Answer:
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
