"""The runner of one worker: from an entry that is due to an outcome that is recorded.

    acceptance ── take ──┐
    the queue ── claim ──┴─ destinations ── outbound | delivery ── recording

Fresh letters come with their content in memory and are tried in the same turn; entries that wait are
claimed when due. Every worker does this; leases keep them apart. Due times are by `ports.Clock`, leases by
the database's clock and, towards those who send, by the monotonic one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeAlias

from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, Overloaded
from posthouse.db.leases import RENEW_SECONDS
from posthouse.mail.ids import show
from posthouse.mail.outcome import Deferred
from posthouse.mail.reply import LOCAL_ERROR
from posthouse.observe import log
from posthouse.queue import entries as queue
from posthouse.queue.entries import LOCAL, Entry, NewEntry, QueueLetter
from posthouse.runner.destinations import Destinations
from posthouse.runner.job import Carry, Job, Prepare, Send, Sent, jobs_of
from posthouse.runner.recording import Recorded, Recording

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from posthouse.db import Database, Tx
    from posthouse.mail.content import Content
    from posthouse.ports import Clock

IN_HAND = 1_000
"""Entries in the hands of one worker."""
KEPT_IN_MEMORY = 64
"""Waiting fresh entries from which on the larger letters are read again when their turn comes."""
LARGE = 16 * 1024
"""Octets."""
CLAIM = 100
POLL_SECONDS = 1.0
NEEDED_SECONDS = 5.0
"""What a lease must have left when an attempt begins, and before its final dot."""
AGAIN_SECONDS = 1.0
"""Until a result that the database did not take is written again."""

_log = log.get("runner")

Result: TypeAlias = "Callable[[Tx], Recorded]"


class FreshLetter(Protocol):
    """Entries just made and committed, leased to this process, with the content still at hand."""

    @property
    def letter(self) -> QueueLetter: ...
    @property
    def entries(self) -> Sequence[NewEntry]: ...
    @property
    def content(self) -> Content: ...
    @property
    def leased_until(self) -> float:
        """As `queue.entries.insert` returned it."""


class Runner:
    """Runs this worker's part of the queue, from `start` to `stop`.

    `send` passes a job on to another host, `prepare` decides how one is delivered here, `load` reads
    content that is not in memory.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        recording: Recording,
        *,
        send: Send,
        prepare: Prepare,
        load: Callable[[int], Awaitable[Content]],
        destination_concurrency_limit: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._recording = recording
        self._send = send
        self._prepare = prepare
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._destinations = Destinations(destination_concurrency_limit, self._attempt)
        self._jobs: dict[int, Job] = {}
        self._entries = 0
        self._more = False
        self._writing: set[int] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._renewed = self._reclaimed = 0.0
        self._written: asyncio.Future[None] | None = None

    # What acceptance calls

    def room(self) -> bool:
        """Whether fresh entries may be leased to this worker."""
        return self._entries < IN_HAND and not self._stopping and self._task is not None

    def take(self, fresh: FreshLetter) -> None:
        """Try these entries now."""
        entries = [
            Entry(fresh.letter.id, number, recipient, notify, orcpt, next_hop, 0, False, reason)
            for number, recipient, notify, orcpt, next_hop, reason in fresh.entries
        ]
        keep = self._entries < KEPT_IN_MEMORY or fresh.content.size < LARGE
        for job in jobs_of(fresh.letter, entries, fresh.content if keep else None, fresh.leased_until):
            self._begin(job)

    def wake(self) -> None:
        """Something in the queue may be due."""
        self._woken.set()

    # Life

    def start(self) -> None:
        """Begin to look for entries that are due."""
        self._task = self._loop.create_task(self._run(), name="queue runner")

    async def stop(self, seconds: float = 8.0) -> None:
        """Begin nothing more; give attempts under way this long; then give everything back."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._destinations.stop(seconds)
        if self._writing:
            self._written = self._loop.create_future()
            await asyncio.wait([self._written], timeout=seconds)
        self._jobs.clear()
        try:
            await self._database.write([], partial(queue.give_back, holder=self._database.holder))
        except DatabaseError as error:
            _log.warning("cannot give leases back; they expire by themselves", reason=str(error))

    async def _run(self) -> None:
        while True:
            try:
                delay = await self._look()
            except DatabaseError as error:
                _log.warning("cannot look into the queue", reason=str(error))
                delay = POLL_SECONDS
            if delay > 0:
                try:
                    await asyncio.wait_for(self._woken.wait(), delay)
                except TimeoutError:
                    continue
            self._woken.clear()

    async def _look(self) -> float:
        """Renew, reclaim, claim. Seconds until the next look."""
        started = monotonic()
        if self._jobs and started - self._renewed >= RENEW_SECONDS:
            self._renewed = started
            await self._renew()
        if started - self._reclaimed >= RENEW_SECONDS:
            self._reclaimed = started
            await self._reclaim()
        room = min(CLAIM, IN_HAND - self._entries)
        if room <= 0:
            self._more = True
            return POLL_SECONDS
        now = self._clock.now()
        due = await self._database.read(queue.next_due, point=True)
        if due is None:
            return POLL_SECONDS
        if due > now:
            return min(due - now, POLL_SECONDS)
        claimed = await self._database.write(
            [], partial(queue.claim, holder=self._database.holder, now=now, limit=room)
        )
        for letter, entries, leased_until in claimed:
            for job in jobs_of(letter, entries, None, leased_until):
                self._begin(job)
        # Nothing claimed although something is due: another worker was faster.
        return 0.0 if claimed else POLL_SECONDS

    async def _renew(self) -> None:
        renewed, until = await self._database.write([], partial(queue.renew, holder=self._database.holder))
        for job in self._jobs.values():
            if all((entry.letter, entry.number) in renewed for entry in job.entries):
                job.leased_until = until

    async def _reclaim(self) -> None:
        if await self._database.read(queue.has_expired, point=True):
            taken = await self._database.write([], queue.reclaim)
            if taken:
                _log.info("took over entries whose holder is gone", entries=taken)

    # One job

    def _begin(self, job: Job) -> None:
        if self._stopping:
            return  # `stop` gives it back
        self._jobs[id(job)] = job
        self._entries += len(job.entries)
        self._destinations.add(job)

    def _end(self, job: Job) -> None:
        if self._jobs.pop(id(job), None) is not None:
            self._entries -= len(job.entries)
            if self._more and self._entries <= IN_HAND // 2:
                self._more = False
                self.wake()

    async def _attempt(self, job: Job) -> None:
        if job.lease_left() < NEEDED_SECONDS:
            self._end(job)  # somebody else has it, or soon will
            return
        try:
            if job.content is None:
                job.content = await self._load(job.letter.content)
            if job.next_hop == LOCAL:
                carry = await self._prepare(job)
                self._record_carried(job, carry)
                return
            sent = await self._send(job)
        except Exception:  # noqa: BLE001 (one letter's failure must not stop the queue)
            _log.exception("an attempt broke off", letter=show(job.letter.id), next_hop=job.next_hop)
            sent = _broken_off(job)
        self._record_sent(job, sent)
        if sent.unreachable:
            await self._defer_others(job.next_hop, sent)

    async def _defer_others(self, next_hop: str, sent: Sent) -> None:
        """Nobody answered there: what waits for the same next hop is deferred in the same words."""
        outcome = sent.outcomes[0]
        if type(outcome) is not Deferred:
            return
        for job in self._destinations.take_waiting(next_hop):
            try:
                if job.content is None:
                    job.content = await self._load(job.letter.content)
            except (DatabaseError, LookupError) as error:
                _log.warning("cannot read a letter", letter=show(job.letter.id), reason=str(error))
                self._end(job)  # the lease runs out, and it is tried again
                continue
            self._record_sent(job, Sent([outcome] * len(job.entries)))

    # Results

    def _record_carried(self, job: Job, carry: Carry) -> None:
        now = self._clock.now()
        broken = partial(self._recording.sent, job, _broken_off(job), now, bare=True)
        self._write(job, self._recording.carried(job, carry, now), broken)

    def _record_sent(self, job: Job, sent: Sent) -> None:
        now = self._clock.now()
        bare = partial(self._recording.sent, job, sent, now, bare=True)
        self._write(job, self._recording.sent(job, sent, now), bare)

    def _write(self, job: Job, result: Result, bare: Callable[[], Result] | None) -> None:
        """Write a result until the database has it. `bare` makes a simpler one, in case it cannot be written."""
        self._writing.add(id(job))
        self._database.write([], result).add_done_callback(partial(self._wrote, job, result, bare))

    def _wrote(
        self, job: Job, result: Result, bare: Callable[[], Result] | None, done: asyncio.Future[Recorded]
    ) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._settled(job)
            if not done.cancelled():
                self._follow(job, done.result())
        elif isinstance(error, Overloaded | DiskFull | DatabaseAway):
            if self._stopping and self._written is not None:
                self._settled(job)
            else:
                # The attempt was made, and nobody may make it again: the lease goes on until this is written.
                self._loop.call_later(AGAIN_SECONDS, self._write, job, result, bare)
        else:
            _log.error("cannot record an attempt", letter=show(job.letter.id), exc_info=error)
            if bare is None:
                self._settled(job)
            else:
                self._write(job, bare(), None)

    def _settled(self, job: Job) -> None:
        self._writing.discard(id(job))
        self._end(job)
        if not self._writing and self._written is not None and not self._written.done():
            self._written.set_result(None)

    def _follow(self, job: Job, recorded: Recorded) -> None:
        if recorded.lost:
            _log.warning(
                "a lease was lost during an attempt", letter=show(job.letter.id), entries=recorded.lost
            )
        if recorded.after is not None:
            recorded.after()
        if recorded.wake:
            self.wake()


def _broken_off(job: Job) -> Sent:
    return Sent([Deferred(LOCAL_ERROR)] * len(job.entries))
