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
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from posthouse.acceptance.bounces import Bounces
from posthouse.acceptance.fates import Copy, Forms, forms_of
from posthouse.acceptance.intake import SpooledContent
from posthouse.acceptance.letter import Bounce, Fate, Letter, Plan, Queue, Store
from posthouse.acceptance.transaction import (
    Answer,
    Committed,
    Entry,
    Fresh,
    Lifetimes,
    Refused,
    Terms,
    answer_of,
)
from posthouse.db.errors import DatabaseError, DiskFull, UniqueViolation, reply_to
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import AccountId, LetterId
from posthouse.mail.ids import LetterIds, show
from posthouse.mail.reply import LOCAL_ERROR, Reply
from posthouse.observe import log, metrics
from posthouse.store import content as contents

if TYPE_CHECKING:
    from posthouse.db import Database
    from posthouse.db.blobs import Blobs
    from posthouse.ports import Clock

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

NAMES = 3
"""Ids that a letter may get anew, where another process has made the same (a clock set back, above all)."""
MANY = 50
"""Fates from which on a transaction is too long for the loop."""


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
        self._terms = Terms(clock, bounces, lifetimes, mailbox_size_limit, keep_journeys, database.holder)
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
        forms = forms_of(letter.header, content) if plan.accounts else None
        return self._answered(letter, plan, partial(self._write, letter, blob="", digest=b"", forms=forms))

    async def _accept_spooled(self, letter: Letter, content: SpooledContent, plan: Plan) -> Answer:
        try:
            blob = await self._blobs.store(content.path)  # durable before the row that names it
        except (OSError, DatabaseError) as error:
            _log.warning("cannot store a large letter", letter=show(letter.id), reason=str(error))
            return self._refuse(letter, reply_to(error))
        letter.content = contents.BlobContent(self._blobs, blob, content.head, content.size)
        forms = forms_of(letter.header, content) if plan.accounts else None
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
        copy = Copy(letter.id, letter.content.size, letter.arrived, forms, self._ids.new)
        entry = Entry(self._terms, letter, plan, copy, blob, digest, leased=self._room())
        many = len(plan.fates) > MANY
        return self._database.write(plan.accounts, entry, long=many, together=entry.together)

    def _answered(
        self, letter: Letter, plan: Plan, write: Callable[[Plan], asyncio.Future[Committed]]
    ) -> asyncio.Future[Answer]:
        """The answer once the transaction is durable or has failed; then what must follow."""
        pending = _Pending(letter, plan, write, self._loop.create_future(), self)
        write(plan).add_done_callback(pending.finish)
        return pending.answer

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
    return answer_of(letter, plan, [reply for reply in replies if reply is not None])


def _answer_to(error: BaseException) -> Answer:
    """What the client is told of a transaction that failed."""
    if isinstance(error, Refused):
        return error.answer
    return reply_to(error) if isinstance(error, DatabaseError) else LOCAL_ERROR


def _certain_failure(fate: Fate) -> Reply | None:
    if isinstance(fate, Bounce):
        return fate.reply
    return fate.reason if isinstance(fate, Queue) else None
