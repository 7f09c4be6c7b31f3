"""The PostgreSQL driver: one writing connection and a few reading ones for each process.

Nothing but tables, rows and transactions is needed of the server: no NOTIFY, no advisory locks, no
sequences. So any server that speaks its protocol and has READ COMMITTED may stand here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final, TypeVar

from posthouse.db import dialect, generations
from posthouse.db.errors import DatabaseAway, DatabaseError, UndefinedTable, UniqueViolation
from posthouse.db.grouped import GroupedDatabase
from posthouse.db.interface import Reader
from posthouse.db.limits import USUAL, Capacity, Limits
from posthouse.db.migrations import Migration, pending
from posthouse.db.postgres_conninfo import Reach
from posthouse.db.postgres_session import ConnectionLost, PostgresSession
from posthouse.db.postgres_writer import TABLE, PostgresEngine
from posthouse.db.readers import Readers
from posthouse.db.tables import require_mail
from posthouse.db.writer import GroupCommit

T = TypeVar("T")

POLL_SECONDS: Final = 1.0
"""How often generations are read."""
STALE_SECONDS: Final = 10.0
"""Generations read longer ago than this are no answer."""


class PostgresReading:
    """A reading connection of one thread, made again when it breaks."""

    def __init__(self, url: str, limits: Limits = USUAL, reach: Reach | None = None) -> None:
        self._session = PostgresSession(url, limits, reach)

    def look(self, fn: Callable[[Reader], T]) -> T:
        was_open = self._session.is_open
        try:
            return self._look(fn)
        except ConnectionLost:
            if not was_open:
                raise
            return self._look(fn)

    def _look(self, fn: Callable[[Reader], T]) -> T:
        session = self._session
        session.open()
        try:
            session.forgive()
            session.forget_clock()
            session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            answer = fn(session)
            if session.failed is not None:
                raise session.failed
            session.run("COMMIT")
            session.push()
            return answer
        except BaseException:
            session.roll_back()
            raise

    def close(self) -> None:
        self._session.close()


class PostgresDatabase(GroupedDatabase):
    """See `posthouse.db.interface.Database`."""

    immediate = False

    def __init__(self, url: str, limits: Limits) -> None:
        reach = Reach()
        holder = secrets.randbits(62) | 1
        self._loop = asyncio.get_running_loop()
        self._engine = PostgresEngine(url, holder, limits, reach)
        super().__init__(GroupCommit(self._loop, self._engine, None), holder)
        self._group.after_commit = self._committed
        self._readers = Readers(self._loop, lambda: PostgresReading(url, limits, reach), limits.readers)
        self._generations: dict[str, int] = {}
        self._polled = -inf
        self._poll_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._learn(PostgresReading(url, limits, reach))
        self._poll_timer = self._loop.call_later(POLL_SECONDS, self._poll)

    def point(self, fn: Callable[[Reader], T]) -> T:
        raise DatabaseError("PostgreSQL answers no question at once")

    async def read(self, fn: Callable[[Reader], T], *, point: bool = False) -> T:
        return await self._readers.submit(fn)

    def generation(self, name: str) -> int:
        if monotonic() - self._polled > STALE_SECONDS:
            raise DatabaseAway("PostgreSQL does not answer; nobody knows what has changed")
        return self._generations.get(name, 0)

    def version(self) -> int | None:
        return None

    # Generations

    def _learn(self, reading: PostgresReading) -> None:
        """The first look, so that nothing begins with an empty memory of what there is."""
        asked = monotonic()
        try:
            self._generations = reading.look(_read_generations)
            self._polled = asked
        except DatabaseAway:
            return  # what was read an hour ago would be no better
        finally:
            reading.close()

    def _poll(self) -> None:
        asked = monotonic()

        def answered(future: asyncio.Future[dict[str, int]]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._polled = asked
                self._note(future.result())
            if not self._closed:
                self._poll_timer = self._loop.call_later(POLL_SECONDS, self._poll)

        self._readers.submit(_read_generations).add_done_callback(answered)

    def _committed(self) -> None:
        self._note(self._engine.generations)

    def _note(self, found: dict[str, int]) -> None:
        """Numbers only grow, whatever the order in which they come to be known."""
        known = self._generations
        for name, number in found.items():
            if number > known.get(name, 0):
                known[name] = number

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._poll_timer is not None:
            self._poll_timer.cancel()
        await self._group.close()
        threads = self._readers.stop()
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 (threads set no event)
            await asyncio.sleep(0.001)


def _read_generations(reader: Reader) -> dict[str, int]:
    return {str(name): int(number) for name, number in reader.all(generations.READ_ALL)}


# Slots kept for others, limits of the role and of the database count as well; -1 is none.
_ALLOWED = """
SELECT least(
  CAST(current_setting('max_connections') AS BIGINT)
    - CAST(current_setting('superuser_reserved_connections') AS BIGINT)
    - CAST(coalesce(nullif(current_setting('reserved_connections', true), ''), '0') AS BIGINT),
  (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))"""
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND application_name <> 'posthouse'"
)


async def capacity(database: PostgresDatabase) -> Capacity:
    """What the server has to give."""

    def look(reader: Reader) -> Capacity:
        allowed, others = reader.one(_ALLOWED), reader.one(_OTHERS)
        assert allowed is not None
        assert others is not None
        return Capacity(int(allowed[0]), int(others[0]))

    return await database.read(look)


_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migration"
    " (number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied DOUBLE PRECISION NOT NULL)"
)
MIGRATION_SECONDS: Final = 6 * 3600.0
"""How long one statement of a migration may take, and how long others wait for it."""
_NOT_FIRST: Final = 10
"""How often making the first table may collide with others who make it."""


def migrate(url: str, limits: Limits = USUAL, *, for_transfer: bool = False) -> list[str]:
    """Bring the schema up to date; the names of the migrations applied. See `db.open.migrate`.

    Whoever holds the lock on the table of migrations does it, the others wait and find it done.
    """
    session = PostgresSession(url, limits)
    try:
        session.open()
        applied = [] if _is_migrated(session) else _migrate(url, limits)
        if not for_transfer:
            session.forgive()
            require_mail(session)
        return applied
    finally:
        session.close()


def _is_migrated(session: PostgresSession) -> bool:
    """Whether there is nothing to do, as there mostly is."""
    try:
        return not pending(session.all("SELECT number FROM schema_migration"))
    except UndefinedTable:
        return False


def _migrate(url: str, limits: Limits) -> list[str]:
    session = PostgresSession(url, limits._replace(statement_timeout=MIGRATION_SECONDS))
    try:
        session.open()
        _make_table(session)
        session.run("BEGIN")
        # Others may wait for as long as it takes.
        session.run("SET LOCAL lock_timeout = 0")
        session.run("SET LOCAL statement_timeout = 0")
        session.run("LOCK TABLE schema_migration IN SHARE ROW EXCLUSIVE MODE")
        applied = [
            _apply(session, migration)
            for migration in pending(session.all("SELECT number FROM schema_migration"))
        ]
        session.run("COMMIT")
        session.settle()
        return applied
    finally:
        session.close()


def _make_table(session: PostgresSession) -> None:
    """IF NOT EXISTS does not keep apart two who make it at the same time: one fails, and looks again."""
    for left in reversed(range(_NOT_FIRST)):
        try:
            session.run(_TABLE)
            session.run(TABLE)
            session.settle()
            return
        except UniqueViolation:
            if not left:
                raise
        except DatabaseError as error:
            if not left or "already exists" not in str(error):
                raise
        session.forgive()


def _apply(session: PostgresSession, migration: Migration) -> str:
    for statement in dialect.statements(dialect.translate(migration.sql, dialect.POSTGRESQL)):
        session.run(statement)
    session.run(
        "INSERT INTO schema_migration (number, name, applied)"
        " VALUES (?, ?, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION))",
        (migration.number, migration.name),
    )
    return migration.name
