"""The SQLite driver: one writing connection, reading ones, and the checkpointer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import apsw

from posthouse.db import generations
from posthouse.db.checkpoint import Checkpointer
from posthouse.db.connection import BUSY_SECONDS, FsyncFailed, Session, connect, explain
from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull
from posthouse.db.grouped import GroupedDatabase
from posthouse.db.interface import Reader, Tx
from posthouse.db.lockfile import LockFile
from posthouse.db.readers import Readers
from posthouse.db.writer import Failure, FatalError, GroupCommit, TransactionLost, Waiting, run, runs

T = TypeVar("T")

READERS = 2
TOGETHER = 32
"""Closures that are run together at most: between two looks at the clock."""


class SqliteEngine:
    """Transactions on the one writing connection, each under the lock file."""

    def __init__(self, path: Path, lock_path: Path) -> None:
        self.wal_pages = 0
        """Frames in the WAL after the last commit."""
        self._lock = LockFile(lock_path)
        self._tx = Session(connect(path, cache_mebibytes=16))
        self._connection = self._tx.connection
        self._connection.set_wal_hook(self._after_commit)

    def _after_commit(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def try_begin(self) -> bool:
        if not self._lock.try_take():
            return False
        self._connection.set_busy_timeout(0)
        try:
            self._tx.begin("BEGIN IMMEDIATE")
        except DatabaseError as error:
            self._lock.release()
            if isinstance(error.__cause__, apsw.BusyError):
                return False
            raise
        finally:
            self._connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
        return True

    def begin(self) -> None:
        self._lock.take()
        try:
            self._tx.begin("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise

    def apply(self, batch: list[Waiting], seconds: float) -> list[Any]:
        session = self._tx
        tx: Tx = session
        answers: list[Any] = []
        started = perf_counter()
        try:
            for some in runs(batch, TOGETHER):
                answers += run(tx, some)
                if session.lost:
                    raise TransactionLost
                if perf_counter() - started > seconds:
                    break
            return answers
        except (DiskFull, TransactionLost):
            self.abandon()
            raise
        except Exception:  # noqa: BLE001 (whoever waits is told)
            self._tx.end("ROLLBACK")
        except BaseException:
            self.abandon()
            raise
        try:
            self._tx.begin("BEGIN IMMEDIATE")
            return [self._apart(tx, waiting) for waiting in batch]
        except BaseException:
            self.abandon()
            raise

    def _apart(self, tx: Tx, waiting: Waiting) -> Any:
        """One closure in a savepoint of its own."""
        tx.run("SAVEPOINT apart")
        try:
            answer = waiting.closure(tx)
        except DiskFull:
            raise
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            answer = Failure(error)
        if self._tx.lost:
            raise TransactionLost
        if type(answer) is Failure:
            tx.run("ROLLBACK TO apart")
        tx.run("RELEASE apart")
        return answer

    def whole(self, batch: list[Waiting]) -> list[Any]:
        try:
            self.begin()
            answers = self.apply(batch, float("inf"))
            self.commit()
        except TransactionLost:
            return self.one_by_one(batch)
        return answers

    def one_by_one(self, batch: list[Waiting]) -> list[Any]:
        answers: list[Any] = []
        for closure, *_ in batch:
            self.begin()
            try:
                answer = closure(self._tx)
                if self._tx.lost:
                    raise DatabaseAway("the transaction was lost")
            except Exception as error:  # noqa: BLE001 (whoever waits is told)
                self.abandon()
                answers.append(Failure(error))
                continue
            try:
                self.commit()
            except FatalError:
                raise
            except Exception as error:  # noqa: BLE001 (whoever waits is told)
                answers.append(Failure(error))
            else:
                answers.append(answer)
        return answers

    def commit(self) -> None:
        try:
            self._tx.end("COMMIT")
        except FsyncFailed as error:
            raise FatalError(str(error)) from error
        finally:
            self._lock.release()

    def abandon(self) -> None:
        try:
            self._tx.end("ROLLBACK")
        finally:
            self._lock.release()

    def close(self) -> None:
        self._tx.close()
        self._lock.close()


class SqliteDatabase(GroupedDatabase):
    """See `posthouse.db.interface.Database`."""

    immediate = True

    def __init__(self, path: Path, lock_path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._engine = SqliteEngine(path, lock_path)
        super().__init__(GroupCommit(self._loop, self._engine, self._engine), secrets.randbits(62) | 1)
        self._point = Session(connect(path, cache_mebibytes=4, readonly=True))
        self._generation = self._point.connection.cursor()
        self._generations: dict[str, int] = {}
        """As read in this turn of the loop; a commit of ours ends it sooner."""
        self._readers = Readers(self._loop, lambda: SqliteReading(path), READERS)
        self._closed = False
        self._checkpointer = Checkpointer(path, lock_path, self._group, self.holder)
        self._group.after_commit = self._committed

    def _committed(self) -> None:
        self._generations.clear()
        self._checkpointer.notice(self._engine.wal_pages)

    def generation(self, name: str) -> int:
        known = self._generations.get(name)
        if known is not None:
            return known
        try:
            row = self._generation.execute(generations.READ, (name,)).fetchone()
            self._generation.execute("")
        except apsw.Error as error:
            raise explain(error, self._point.connection) from error
        if not self._generations:
            self._loop.call_soon(self._generations.clear)
        number = self._generations[name] = 0 if row is None else int(row[0])
        return number

    def version(self) -> int | None:
        try:
            rows: list[Any] = self._generation.execute("PRAGMA data_version").fetchall()
        except apsw.Error as error:
            raise explain(error, self._point.connection) from error
        return int(rows[0][0])

    def point(self, fn: Callable[[Reader], T]) -> T:
        return _at_one_moment(self._point, fn)

    async def read(self, fn: Callable[[Reader], T], *, point: bool = False) -> T:
        if point:
            return self.point(fn)
        return await self._readers.submit(fn)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._group.close()
        threads = [*self._readers.stop(), *self._checkpointer.stop()]
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 (threads set no event)
            await asyncio.sleep(0.001)
        self._generation.close(True)
        self._point.close()


class SqliteReading:
    """A reading connection of one thread."""

    def __init__(self, path: Path) -> None:
        self._session = Session(connect(path, cache_mebibytes=4, readonly=True))

    def look(self, fn: Callable[[Reader], T]) -> T:
        return _at_one_moment(self._session, fn)

    def close(self) -> None:
        self._session.close()


def _at_one_moment(session: Session, fn: Callable[[Reader], T]) -> T:
    """`fn` in one read transaction, which ends with it."""
    session.run("BEGIN")
    try:
        return fn(session)
    finally:
        session.end("COMMIT")
