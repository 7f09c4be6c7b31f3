"""Recording: outcome, notification and journey of an attempt, in one transaction.

Decided before the transaction, because it may run more than once: what each outcome means for its
entry. Decided within: whether the entry is still ours. One that is not has been given to somebody else,
whose result counts; that ours was delivered all the same stands in the journey.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from posthouse.acceptance.bounces import Bounces, Origin
from posthouse.journey import record
from posthouse.mail.dsn import Action, RecipientReport, wants
from posthouse.mail.envelope import LetterId, Notify
from posthouse.mail.outcome import Deferred, Delivered, Failed, Outcome
from posthouse.mail.reply import Reply
from posthouse.queue import entries as queue
from posthouse.queue.entries import Entry
from posthouse.queue.schedule import GiveUp, Schedule, after_deferral
from posthouse.runner.errand import Carry, Errand, Result, recipient_of

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.journey.record import Step

EXPIRED = Reply(554, "5.4.7", "Delivery time expired")


class Recorded(NamedTuple):
    """What must follow the commit."""

    wake: bool
    """A notification waits in the queue."""
    after: Callable[[], object] | None
    lost: int
    """Entries that were not ours any more."""


class Recording:
    """Writes results for one worker."""

    def __init__(
        self,
        bounces: Bounces,
        schedule: Schedule,
        holder: int,
        release: Callable[[Tx, Collection[int]], object],
        new_id: Callable[[], int],
        chance: Callable[[], float],
        *,
        keep_journeys: bool,
    ) -> None:
        """`release` deletes content that nobody needs any more; `chance` gives numbers in [0, 1)."""
        self._bounces = bounces
        self._schedule = schedule
        self._holder = holder
        self._release = release
        self._new_id = new_id
        self._chance = chance
        self._keep_journeys = keep_journeys

    def sent(
        self, errand: Errand, result: Result, now: float, *, bare: bool = False
    ) -> Callable[[Tx], Recorded]:
        """The transaction for an errand that was tried at another host.

        `bare`: without notification and journey, where writing those has failed: the outcome must stand.
        """
        part, chance = self._new_id(), self._chance()

        def transaction(tx: Tx) -> Recorded:
            results = _Results(self, errand, now, chance, "relayed", result.notifies)
            for entry, outcome in zip(errand.entries, result.outcomes, strict=True):
                results.add(tx, entry, outcome)
            return results.leave(tx, None) if bare else results.close(tx, part, result.steps, None)

        return transaction

    def carried(self, errand: Errand, carry: Carry, now: float) -> Callable[[Tx], Recorded]:
        """The transaction that delivers an errand here, as far as it is ours."""
        part, chance = self._new_id(), self._chance()

        def transaction(tx: Tx) -> Recorded:
            results = _Results(self, errand, now, chance, "delivered", False)
            mine = []
            # An administrator may delete the letter at this moment, and with it the content that is shared.
            queue.lock(tx, (errand.letter.id,))
            for entry in errand.entries:
                if queue.is_mine(tx, entry.letter, entry.number, self._holder):
                    mine.append(entry)
                else:
                    results.lost += 1
            if not mine:
                return Recorded(False, None, results.lost)
            carried = carry(tx, mine)
            for entry, outcome in zip(mine, carried.outcomes, strict=True):
                if outcome is None:
                    results.replaced(tx, entry)
                else:
                    results.add(tx, entry, outcome)
            return results.close(tx, part, carried.steps, carried.after)

        return transaction


class _Results:
    """The results of one errand within its transaction."""

    __slots__ = (
        "_chance",
        "_done_action",
        "_errand",
        "_finished",
        "_notifies",
        "_now",
        "_of",
        "_reports",
        "_steps",
        "_warned",
        "lost",
    )

    def __init__(
        self, of: Recording, errand: Errand, now: float, chance: float, done_action: Action, notifies: bool
    ) -> None:
        self.lost = 0
        self._of = of
        self._errand = errand
        self._now = now
        self._chance = chance
        self._done_action = done_action
        self._notifies = notifies
        self._finished = False
        self._reports: list[RecipientReport] = []
        self._steps: list[Step] = []
        self._warned: list[Entry] = []

    def add(self, tx: Tx, entry: Entry, outcome: Outcome) -> None:
        kind = type(outcome)
        if kind is Delivered:
            mine = queue.finish(tx, entry.letter, entry.number, self._of._holder)
            self._finished |= mine
            self.lost += not mine
            self._steps.append(
                record.delivered(self._now, entry.number, entry.recipient, str(outcome.reply), outcome.place)
            )
            if mine and entry.notify & Notify.SUCCESS and not self._notifies:
                self._report(entry, outcome, self._done_action)
        elif kind is Deferred:
            self._defer(tx, entry, outcome)
        else:
            self._fail(tx, entry, outcome)

    def replaced(self, tx: Tx, entry: Entry) -> None:
        """Other entries of the letter have taken this one's place."""
        self._finished |= queue.finish(tx, entry.letter, entry.number, self._of._holder)

    def _defer(self, tx: Tx, entry: Entry, outcome: Outcome) -> None:
        letter = self._errand.letter
        verdict = after_deferral(
            self._of._schedule,
            attempts=entry.attempts + 1,
            arrived=letter.arrived,
            expires=letter.expires,
            warned=entry.warned,
            now=self._now,
            chance=self._chance,
        )
        if isinstance(verdict, GiveUp):
            reply = EXPIRED.saying(f"{EXPIRED.text}; the last reply was: {outcome.reply}")
            self._fail(tx, entry, Failed(reply, outcome.place))
            return
        warn = verdict.warn and wants(Notify(entry.notify), "delayed") and letter.sender != ""
        mine = queue.defer(
            tx,
            entry.letter,
            entry.number,
            self._of._holder,
            due=verdict.due,
            reason=str(outcome.reply),
            warned=entry.warned or verdict.warn,
        )
        if not mine:
            self.lost += 1
            return
        self._steps.append(
            record.deferred(
                self._now, entry.number, entry.recipient, str(outcome.reply), outcome.place, verdict.due
            )
        )
        if warn:
            self._warned.append(entry)
            self._report(entry, outcome, "delayed", letter.expires)

    def _fail(self, tx: Tx, entry: Entry, outcome: Outcome) -> None:
        if not queue.finish(tx, entry.letter, entry.number, self._of._holder):
            self.lost += 1
            return
        self._finished = True
        self._steps.append(
            record.failed(self._now, entry.number, entry.recipient, str(outcome.reply), outcome.place)
        )
        if wants(Notify(entry.notify), "failed"):
            self._report(entry, outcome, "failed")

    def _report(self, entry: Entry, outcome: Outcome, action: Action, until: float | None = None) -> None:
        if not self._errand.letter.sender:
            return  # RFC 5321 §4.5.5: nobody is told of a letter from nobody
        remote = outcome.place.partition("[")[0] if "[" in outcome.place else ""
        self._reports.append(
            RecipientReport(recipient_of(entry), action, outcome.reply, remote, self._now, until)
        )

    def close(
        self, tx: Tx, part: int, attempt: Sequence[Step], after: Callable[[], object] | None
    ) -> Recorded:
        child = self._notify(tx) if self._reports else None
        letter = self._errand.letter.id
        if self._of._keep_journeys:
            steps = [*attempt, *self._steps]
            if child is not None:
                steps.append(record.dsn_sent(self._now, child))
                for entry in self._warned:
                    steps.append(record.delay_warning(self._now, entry.number, entry.recipient, child))
            if steps:
                record.add(tx, letter, part, steps)
        return self.leave(tx, after, wake=child is not None)

    def leave(self, tx: Tx, after: Callable[[], object] | None, *, wake: bool = False) -> Recorded:
        """The letter goes with its last entry."""
        if self._finished:
            queue.leave(tx, self._errand.letter.id, self._of._release)
        return Recorded(wake, after, self.lost)

    def _notify(self, tx: Tx) -> LetterId | None:
        errand = self._errand
        letter = errand.letter
        if errand.content is None:
            raise LookupError("an errand is recorded whose content was never read")
        origin = Origin(LetterId(letter.id), errand.envelope().sender, letter.arrived, errand.content)
        return self._of._bounces.write(tx, origin, self._reports, self._now)
