"""Batches on PostgreSQL: one transaction, run again as a whole where another host was in the way.

    begin, note the batch, lock the accounts ── closures ── commit ── (unknown? look for the batch)

A batch runs without savepoints first; if a closure fails, it is rolled back and runs again with a
savepoint each, so that only the bad one fails. The accounts that it touches are locked at its beginning,
in the order of their ids, so that batches of two hosts wait for each other rather than embrace.

Each process has a row in `batch` with the number of its last batch, written in the same transaction.
When a connection breaks during COMMIT, that row tells whether it took place: whoever writes to it waits
until the old transaction has ended, if it has not, and until the standbys have both. The same is asked
where the server warns at COMMIT: somebody has ended its waiting for the standbys (`pg_cancel_backend`), and
it calls committed what it alone has. When not even that can be learnt, callers are told that the database
is away.
"""

from __future__ import annotations

import random
import time
from time import monotonic
from typing import Any, Final

from posthouse.db import generations
from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull
from posthouse.db.interface import Parameters, Tx
from posthouse.db.limits import Limits
from posthouse.db.postgres_conninfo import AGAIN_SECONDS, Reach
from posthouse.db.postgres_session import READ_ONLY, Conflict, ConnectionLost, PostgresSession
from posthouse.db.writer import Failure, Waiting, run, runs

ATTEMPTS: Final = 8
"""How often a batch is run that others are in the way of."""
LEARN_SECONDS: Final = 15.0
"""How long is tried to learn what became of a COMMIT."""
FORGOTTEN_SECONDS: Final = 7 * 86_400.0
"""Rows of processes that have written nothing for so long are deleted."""

TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS batch"
    " (holder BIGINT PRIMARY KEY, number BIGINT NOT NULL, written DOUBLE PRECISION NOT NULL)"
)
_NOTE = (
    "INSERT INTO batch (holder, number, written)"
    " VALUES (?, ?, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION))"
    " ON CONFLICT (holder) DO UPDATE SET number = excluded.number, written = excluded.written"
    " RETURNING written"
)
# It waits for a transaction that has touched the row, and changes nothing.
_LOOK = (
    "INSERT INTO batch (holder, number, written) VALUES (?, 0, 0)"
    " ON CONFLICT (holder) DO UPDATE SET number = batch.number RETURNING number"
)


class _Apart(Exception):
    """A closure of several failed: they are to be run in savepoints."""


class _OutcomeUnknown(Exception):
    """COMMIT was sent, and no answer came."""


class WriterSession(PostgresSession):
    """A `Tx` that notices when generations change."""

    def __init__(self, url: str, limits: Limits, reach: Reach) -> None:
        super().__init__(url, limits, reach)
        self.bumped = False

    @property
    def _settings(self) -> tuple[str, ...]:
        # A connection that breaks off within a pipeline leaves a transaction that is not idle: it waits for
        # the rest of what was sent. Its locks are in our way when we are back.
        seconds = self._limits.statement_timeout / 2
        return (
            *super()._settings,
            f"SELECT set_config('transaction_timeout', '{round(seconds * 1000)}', false)"
            " WHERE current_setting('server_version_num')::int >= 170000",
        )

    def run(self, sql: str, params: Parameters = ()) -> None:
        if sql is generations.BUMP:
            self.bumped = True
        super().run(sql, params)

    def _explain(self, state: str, text: str) -> DatabaseError:
        # After a failover the server that we are connected to may have become a standby.
        return ConnectionLost(text) if state == READ_ONLY else super()._explain(state, text)


class PostgresEngine:
    """Runs whole batches, in the writer's thread."""

    def __init__(self, url: str, holder: int, limits: Limits, reach: Reach) -> None:
        self.session = WriterSession(url, limits, reach)
        self.generations: dict[str, int] = {}
        """As of the last commit of ours that changed one."""
        self._holder = holder
        self._number = 0

    def whole(self, batch: list[Waiting]) -> list[Any]:
        """Run and commit; the answers. Raises DatabaseAway, DiskFull when nothing of it was done."""
        keys = sorted({key for waiting in batch for key in waiting.keys})
        apart = False
        broken = 0
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, 0.005 * attempt))
            try:
                self._begin(keys)
                answers = self._apply(batch, apart)
                self._commit()
                return answers
            except _Apart:
                self._roll_back()
                apart = True
            except Conflict:
                self._roll_back()
            except ConnectionLost:
                self.session.close()
                broken += 1
                if broken > 1:
                    raise
            except _OutcomeUnknown:
                if self._was_committed():
                    return answers
                broken += 1
            except BaseException:
                self._roll_back()
                raise
        raise DatabaseAway("others are in the way of every attempt to write")

    def close(self) -> None:
        session = self.session
        if session.is_open:
            try:
                session.run("DELETE FROM batch WHERE holder = ?", (self._holder,))
                session.run(
                    "DELETE FROM batch WHERE written < extract(epoch FROM clock_timestamp()) - ?",
                    (FORGOTTEN_SECONDS,),
                )
                session.settle()
            except DatabaseError:
                pass  # They are small, and deleted a week later by somebody else.
        session.close()

    def _begin(self, keys: list[int]) -> None:
        session = self.session
        session.open()
        session.forgive()
        session.bumped = False
        self._number += 1
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED")
        session.expect_clock(_NOTE, (self._holder, self._number))
        session.lock("account", "id", keys)

    def _apply(self, batch: list[Waiting], apart: bool) -> list[Any]:
        session = self.session
        tx: Tx = session
        answers: list[Any] = []
        if apart:
            session.settle()
            return [self._apart(tx, waiting) for waiting in batch]
        try:
            for some in runs(batch, len(batch)):
                answers += run(tx, some)
        except Exception as error:  # told when it fails again, alone
            if isinstance(session.failed, Conflict | DatabaseAway):
                raise session.failed from None
            raise _Apart from error
        return answers

    def _apart(self, tx: Tx, waiting: Waiting) -> Any:
        """One closure in a savepoint of its own."""
        session = self.session
        session.run("SAVEPOINT apart")
        try:
            answer = waiting.closure(tx)
            session.settle()
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            answer = Failure(error)
        if isinstance(session.failed, Conflict | DatabaseAway):
            raise session.failed
        if type(answer) is Failure:
            session.forgive()
            session.run("ROLLBACK TO apart")
        session.run("RELEASE apart")
        return answer

    def _commit(self) -> None:
        session = self.session
        found: list[Any] = []
        try:
            if not session.clock_is_here:
                # Who asks what became of a COMMIT waits for the lock on our row in `batch`: it must be
                # ours before COMMIT is on its way.
                session.settle()
            if session.bumped:
                found = session.all(generations.READ_ALL)
            # It is sent behind whatever is still under way: where that fails, the server passes over it.
            session.warned = False
            session.run("COMMIT")
            session.settle()
            if session.warned:
                raise _OutcomeUnknown
        except ConnectionLost as error:
            raise _OutcomeUnknown from error
        except (Conflict, DatabaseAway, DiskFull):
            raise
        except DatabaseError as error:
            raise _Apart from error
        finally:
            session.forget_clock()
        if found:
            self.generations = {str(name): int(number) for name, number in found}

    def _roll_back(self) -> None:
        self.session.forget_clock()
        self.session.roll_back()

    def _was_committed(self) -> bool:
        """Whether the last batch is in the database. Raises DatabaseAway when that cannot be learnt."""
        deadline = monotonic() + LEARN_SECONDS
        while True:
            self.session.close()
            try:
                self.session.open()
                self.session.warned = False
                row = self.session.one(_LOOK, (self._holder,))
                self.session.settle()
                if self.session.warned:
                    raise DatabaseAway("the server alone has it, and no standby")
                assert row is not None
                return int(row[0]) == self._number
            except DatabaseError as error:
                if monotonic() > deadline:
                    raise DatabaseAway(f"what became of a COMMIT cannot be learnt: {error}") from error
            time.sleep(AGAIN_SECONDS)
