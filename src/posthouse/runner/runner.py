"""The runner of one worker: from an entry that is due to an outcome that is recorded.

    acceptance ── take ──┐
    the queue ── claim ──┴─ destinations ── outbound | delivery ── recording

Fresh letters come with their content in memory and are tried in the same turn; entries that wait are
claimed when due. Every worker does this; leases keep them apart. Due times are by `ports.Clock`, leases by
the database's clock and, towards those who send, by the monotonic one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, Overloaded, reply_to
from posthouse.db.generations import STANDSTILL, stands_still
from posthouse.db.leases import RENEW_SECONDS
from posthouse.mail.ids import show
from posthouse.mail.outcome import Deferred, Delivered, Failed
from posthouse.mail.reply import LOCAL_ERROR, Reply
from posthouse.observe import log, metrics
from posthouse.outbound.hop import NextHop, parse_next_hop
from posthouse.outbound.send import Job, Sent
from posthouse.queue import entries as queue
from posthouse.queue.entries import LOCAL, Entry
from posthouse.runner.attempt import attempt_step, is_unreachable
from posthouse.runner.destinations import Destinations
from posthouse.runner.errand import NEEDED_SECONDS, Errand, Prepare, Result, errands_of
from posthouse.runner.recording import Recorded, Recording

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from posthouse.acceptance.transaction import Fresh
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
AGAIN_SECONDS = 1.0
"""Until a result that the database did not take is written again."""
AFTER_OUTAGE_SECONDS = 15.0
"""From a look into the queue that failed until leases are taken over: whoever made an attempt meanwhile may
still be trying to connect, and to learn what became of his last COMMIT."""

CUT_OFF = Reply(451, "4.3.2", "The attempt was cut off when this server shut down")

_ATTEMPTS = metrics.counters(
    "posthouse_attempts_total",
    "recipients at the end of an attempt to pass a letter on",
    "outcome",
    ("delivered", "deferred", "failed"),
)
_SECONDS = metrics.histogram("posthouse_attempt_seconds", "attempts to pass a letter on to another host")
_IN_HAND = metrics.gauge("posthouse_queue_in_hand", "queue entries that are being tried or about to be")
_OUTCOMES = {
    Delivered: _ATTEMPTS["delivered"],
    Deferred: _ATTEMPTS["deferred"],
    Failed: _ATTEMPTS["failed"],
}
_log = log.get("runner")

Writing: TypeAlias = "Callable[[Tx], Recorded]"
Send: TypeAlias = "Callable[[NextHop, Job], Awaitable[Sent]]"


class Runner:
    """Runs this worker's part of the queue, from `start` to `stop`.

    `send` passes an errand on to another host, `prepare` decides how one is delivered here, `load` reads
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
        port: int,
    ) -> None:
        """`port`: of hosts whose next hop names none."""
        self._database = database
        self._clock = clock
        self._recording = recording
        self._send = send
        self._prepare = prepare
        self._load = load
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._destinations = Destinations(destination_concurrency_limit, self._attempt)
        self._errands: dict[tuple[int, int], Errand] = {}
        """What is in hand, by letter and number."""
        self._more = False
        self._writing: set[int] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._standing_still = False
        """Begin nothing while the mail moves to another database."""
        self._renewed = self._reclaimed = 0.0
        self._written: asyncio.Future[None] | None = None

    def configure(self, recording: Recording, prepare: Prepare, port: int) -> None:
        """Go by these from now on; an attempt under way is recorded by them."""
        self._recording = recording
        self._prepare = prepare
        self._port = port

    # What acceptance calls

    def has_room(self) -> bool:
        """Whether fresh entries may be leased to this worker."""
        if self._stopping or self._standing_still or self._task is None:
            return False
        return len(self._errands) < IN_HAND

    def take(self, fresh: Fresh) -> None:
        """Try these entries now."""
        letter = fresh.letter
        entries = [
            Entry(letter.id, number, recipient, notify, orcpt, next_hop, 0, False, reason)
            for number, recipient, notify, orcpt, next_hop, reason in fresh.entries
        ]
        keep = len(self._errands) < KEPT_IN_MEMORY or letter.size < LARGE
        for errand in errands_of(letter, entries, fresh.content if keep else None, fresh.leased_until):
            self._begin(errand)

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
        self._destinations.halt()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._destinations.stop(seconds)
        if self._writing:
            self._written = self._loop.create_future()
            await asyncio.wait([self._written], timeout=seconds)
        self._errands.clear()
        try:
            await self._database.write([], partial(queue.give_back, holder=self._database.holder))
        except DatabaseError as error:
            _log.warning("cannot give leases back; they expire by themselves", reason=str(error))

    async def _run(self) -> None:
        while not self._stopping:
            try:
                delay = await self._look()
            except DatabaseError as error:
                _log.warning("cannot look into the queue", reason=str(error))
                delay = POLL_SECONDS
                # Others were kept from writing their results too: afterwards they go first.
                self._reclaimed = monotonic() + AFTER_OUTAGE_SECONDS - RENEW_SECONDS
            if delay > 0:
                # Not wait_for: before Python 3.12 it may swallow the cancellation of `stop`.
                try:
                    async with asyncio.timeout(delay):
                        await self._woken.wait()
                except TimeoutError:
                    continue
            self._woken.clear()

    async def _look(self) -> float:
        """Renew, reclaim, claim. Seconds until the next look."""
        started = monotonic()
        if self._errands and started - self._renewed >= RENEW_SECONDS:
            await self._renew()
            self._renewed = started
        if started - self._reclaimed >= RENEW_SECONDS:
            self._reclaimed = started
            await self._reclaim()
        if await self._stand_still():
            return POLL_SECONDS
        room = min(CLAIM, IN_HAND - len(self._errands))
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
            fresh = [entry for entry in entries if not self._is_in_hand(entry, leased_until)]
            for errand in errands_of(letter, fresh, None, leased_until):
                self._begin(errand)
        # Nothing claimed although something is due: another worker was faster.
        return 0.0 if claimed else POLL_SECONDS

    async def _stand_still(self) -> bool:
        """Whether nothing is to be begun; what was not begun goes back. Attempts under way go on."""
        number = self._database.generation(STANDSTILL)
        self._standing_still = stands_still(number)
        if not self._standing_still:
            return False
        waiting = self._destinations.take_all_waiting()
        keys = [(entry.letter, entry.number) for errand in waiting for entry in errand.entries]
        if not keys:
            return True
        try:
            back = partial(queue.let_go, entries=keys, holder=self._database.holder)
            await self._database.write([], back)
        except DatabaseError:
            for errand in waiting:
                self._destinations.add(errand)
            raise
        for errand in waiting:
            self._end(errand)
        return True

    def _is_in_hand(self, entry: Entry, leased_until: float) -> bool:
        """Whether we are at it still, having lost the lease for a while: then it must not be begun twice."""
        errand = self._errands.get((entry.letter, entry.number))
        if errand is not None and len(errand.entries) == 1:
            errand.leased_until = leased_until
        return errand is not None

    async def _renew(self) -> None:
        renewed, until = await self._database.write([], partial(queue.renew, holder=self._database.holder))
        for errand in self._errands.values():
            if all((entry.letter, entry.number) in renewed for entry in errand.entries):
                errand.leased_until = until
        # Held, and for seconds, but not in hand: dropped, or of a letter whose COMMIT nobody heard of.
        if stray := renewed - self._errands.keys():
            holder = self._database.holder
            await self._database.write([], partial(queue.let_go, entries=stray, holder=holder))

    async def _reclaim(self) -> None:
        if await self._database.read(queue.has_expired, point=True):
            taken = await self._database.write([], queue.reclaim)
            if taken:
                _log.info("took over entries whose holder is gone", entries=taken)

    # One errand

    def _begin(self, errand: Errand) -> None:
        if self._stopping:
            return  # `stop` gives it back
        for entry in errand.entries:
            self._errands[entry.letter, entry.number] = errand
        _IN_HAND.set(len(self._errands))
        self._destinations.add(errand)

    def _end(self, errand: Errand) -> None:
        for entry in errand.entries:
            self._errands.pop((entry.letter, entry.number), None)
        _IN_HAND.set(len(self._errands))
        if self._more and len(self._errands) <= IN_HAND // 2:
            self._more = False
            self.wake()

    def _drop(self, errand: Errand, error: Exception) -> None:
        """An errand that could not even be read: it is let go with the next renewal, and tried again."""
        _log.warning("cannot read a letter", letter=show(errand.letter.id), reason=str(error))
        self._end(errand)

    async def _attempt(self, errand: Errand) -> None:
        if errand.lease_left() < NEEDED_SECONDS:
            self._end(errand)  # somebody else has it, or soon will
            return
        try:
            if errand.content is None:
                errand.content = await self._load(errand.letter.content)
        except DatabaseAway as error:
            self._drop(errand, error)
            return
        try:
            if errand.next_hop == LOCAL:
                await self._deliver(errand, errand.content)
                return
            result = await self._pass_on(errand, errand.content)
        except asyncio.CancelledError:
            self._record_sent(errand, Result([Deferred(CUT_OFF)] * len(errand.entries)))
            raise
        except DatabaseError as error:
            _log.warning("cannot read a letter", letter=show(errand.letter.id), reason=str(error))
            result = _broken_off(errand, reply_to(error))
        except Exception:  # noqa: BLE001 (one letter's failure must not stop the queue)
            _log.exception("an attempt broke off", letter=show(errand.letter.id), next_hop=errand.next_hop)
            result = _broken_off(errand)
        self._record_sent(errand, result)
        if result.unreachable:
            await self._defer_others(errand.next_hop, result)

    async def _deliver(self, errand: Errand, content: Content) -> None:
        """Decide about an errand for ourselves, and carry it out in the transaction that records it."""
        sender, recipients = errand.envelope()
        numbers = [entry.number for entry in errand.entries]
        carry = await self._prepare(
            errand.letter, sender, list(zip(numbers, recipients, strict=True)), content
        )
        now = self._clock.now()
        broken = partial(self._recording.sent, errand, _broken_off(errand), now, bare=True)
        self._write(errand, self._recording.carried(errand, carry, now), broken, carry.accounts)

    async def _pass_on(self, errand: Errand, content: Content) -> Result:
        """One attempt at another host, and what it says about all that go there."""
        sender, recipients = errand.envelope()
        began = self._clock.now()
        sent = await self._send(
            parse_next_hop(errand.next_hop, self._port),
            Job(sender, recipients, content, errand.letter.prefix, errand.may_finish),
        )
        ended = self._clock.now()
        _SECONDS.observe(max(0.0, ended - began))
        numbers = [entry.number for entry in errand.entries]
        step = attempt_step(sent, began, ended, numbers, errand.next_hop)
        return Result(sent.outcomes, (step,), is_unreachable(sent), sent.dsn)

    async def _defer_others(self, next_hop: str, result: Result) -> None:
        """Nobody answered there: what waits for the same next hop is deferred in the same words."""
        outcome = result.outcomes[0]
        if type(outcome) is not Deferred:
            return
        for errand in self._destinations.take_waiting(next_hop):
            try:
                if errand.content is None:
                    errand.content = await self._load(errand.letter.content)
            except (DatabaseError, LookupError) as error:
                self._drop(errand, error)
                continue
            self._record_sent(errand, Result([outcome] * len(errand.entries)))

    # Results

    def _record_sent(self, errand: Errand, result: Result) -> None:
        now = self._clock.now()
        for outcome in result.outcomes:
            _OUTCOMES[type(outcome)].add()
        bare = partial(self._recording.sent, errand, result, now, bare=True)
        self._write(errand, self._recording.sent(errand, result, now), bare)

    def _write(
        self,
        errand: Errand,
        writing: Writing,
        bare: Callable[[], Writing] | None,
        accounts: Sequence[int] = (),
    ) -> None:
        """Write a result until the database has it; `bare` makes a simpler one, if this cannot be written."""
        self._writing.add(id(errand))
        written = self._database.write(accounts, writing)
        written.add_done_callback(partial(self._wrote, errand, writing, bare, accounts))

    def _wrote(
        self,
        errand: Errand,
        writing: Writing,
        bare: Callable[[], Writing] | None,
        accounts: Sequence[int],
        done: asyncio.Future[Recorded],
    ) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._settled(errand)
            if not done.cancelled():
                self._follow(errand, done.result())
        elif isinstance(error, Overloaded | DiskFull | DatabaseAway):
            if self._stopping and self._written is not None:
                self._settled(errand)
            else:
                # The attempt was made, and nobody may make it again: the lease goes on until this is written.
                self._loop.call_later(AGAIN_SECONDS, self._write, errand, writing, bare, accounts)
        else:
            _log.error("cannot record an attempt", letter=show(errand.letter.id), exc_info=error)
            if bare is None:
                self._settled(errand)
            else:
                self._write(errand, bare(), None)

    def _settled(self, errand: Errand) -> None:
        self._writing.discard(id(errand))
        self._end(errand)
        if not self._writing and self._written is not None and not self._written.done():
            self._written.set_result(None)

    def _follow(self, errand: Errand, recorded: Recorded) -> None:
        if recorded.lost:
            _log.warning(
                "a lease was lost during an attempt", letter=show(errand.letter.id), entries=recorded.lost
            )
        if recorded.after is not None:
            recorded.after()
        if recorded.wake:
            self.wake()


def _broken_off(errand: Errand, reply: Reply = LOCAL_ERROR) -> Result:
    return Result([Deferred(reply)] * len(errand.entries))
