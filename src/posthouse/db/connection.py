"""One connection to SQLite: how it is opened, and what its errors mean.

WAL, synchronous=FULL, 4 KiB pages, no memory map (not safe with several writers), no automatic
checkpoint. SQLite older than 3.51.3 can corrupt a database when the WAL is reset; it is refused.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import apsw

from posthouse.db.errors import (
    Damaged,
    DatabaseAway,
    DatabaseError,
    DiskFull,
    NotPermitted,
    UniqueViolation,
    reason_is_space,
)
from posthouse.db.interface import Parameters, Question, Row

OLDEST = (3, 51, 3)
BUSY_SECONDS = 10.0
STATEMENTS = 512
"""Prepared statements kept per connection."""

_UNIQUE = {apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_ROWID}
_FSYNC = {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}


_AWAY = (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.CantOpenError, apsw.ConnectionClosedError)


_ONE_ROW = re.compile(r"INSERT (.*) VALUES (\(\?(?:, \?)*\))", re.DOTALL)
_POWERS = 7
"""Of two: as many rows are inserted by one statement at most."""


@lru_cache(maxsize=STATEMENTS)
def _several(sql: str) -> Sequence[str] | None:
    """The statement for one row, two, four … where it inserts rows of parameters and does nothing else."""
    found = _ONE_ROW.fullmatch(sql)
    if found is None:
        return None
    return [f"INSERT {found[1]} VALUES " + ", ".join([found[2]] * (1 << power)) for power in range(_POWERS)]


class FsyncFailed(DatabaseAway):
    """The disk refused an fsync: what it holds is unknown, and this process must write no more."""


def require_version() -> None:
    """Refuse an SQLite with the WAL-reset bug."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST:
        raise DatabaseError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or later is needed")


def connect(
    path: Path, *, cache_mebibytes: int = 16, readonly: bool = False, create: bool = False
) -> apsw.Connection:
    """Open the file. `create` makes it, and puts it into WAL mode: to be done under the lock file."""
    require_version()
    try:
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=STATEMENTS)
        connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
        cursor = connection.cursor()
        if create:
            cursor.execute("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL").fetchall()
        # apsw goes on to the next statement only when the rows of the one before are taken.
        cursor.execute(
            "PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
            f"PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -{cache_mebibytes * 1024};"
            f"PRAGMA query_only = {int(readonly)}"
        ).fetchall()
    except apsw.Error as error:
        raise _cannot_open(path, error) from error
    return connection


def _cannot_open(path: Path, error: apsw.Error) -> DatabaseError:
    if isinstance(error, (apsw.NotADBError, apsw.CorruptError)):
        return Damaged(f"{path}: {error}")
    if isinstance(error, apsw.FullError):
        return DiskFull(f"{path}: {error}")
    for file in (path.parent, path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
            return NotPermitted(f"{file} cannot be read and written by uid {os.geteuid()}")
    return DatabaseAway(f"{path}: {error}")


def explain(error: apsw.Error, connection: apsw.Connection) -> DatabaseError:
    """The error in our words."""
    code = getattr(error, "extendedresult", 0)
    text = str(error)
    if code in _UNIQUE:
        return UniqueViolation(text)
    if code in _FSYNC:
        return FsyncFailed(text)
    if code == apsw.SQLITE_CONSTRAINT_TRIGGER:
        return DatabaseAway(text)  # closed for a transfer (db.transfer); there are no other such triggers
    if isinstance(error, apsw.FullError):
        return DiskFull(text)
    if isinstance(error, apsw.IOError) and reason_is_space(connection.system_errno):
        return DiskFull(text)
    if isinstance(error, (apsw.NotADBError, apsw.CorruptError)):
        return Damaged(text)
    if isinstance(error, _AWAY):
        return DatabaseAway(text)
    return DatabaseError(text)


class Session:
    """Statements on one connection: a `Tx` for the writer, a `Reader` for the others.

    Some errors end the transaction itself (no space, above all). Whoever goes on after one, as if nothing
    had happened, would write outside of any transaction: from there on every statement fails.
    """

    __slots__ = ("_begun", "_cursor", "_execute", "connection", "lost")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._cursor = connection.cursor()
        self._execute: Callable[..., apsw.Cursor] = self._cursor.execute
        self._begun = False
        self.lost = False
        """The transaction has ended under its closures."""

    def begin(self, how: str) -> None:
        """`BEGIN` or `BEGIN IMMEDIATE`; ended by `end`."""
        self.run(how)
        self._begun = True

    def end(self, how: str) -> None:
        """`COMMIT` or `ROLLBACK`. Nothing is left of the transaction, even where that fails."""
        self._begun = self.lost = False
        self._execute = self._cursor.execute
        try:
            if how == "COMMIT" or self.connection.in_transaction:
                self.run(how)
        finally:
            if self.connection.in_transaction:
                self.run("ROLLBACK")

    def _explain(self, error: apsw.Error) -> DatabaseError:
        if self._begun and not self.connection.in_transaction:
            self.lost = True
            self._execute = self._refuse
        return explain(error, self.connection)

    def _refuse(self, sql: str, params: object = ()) -> apsw.Cursor:
        raise DatabaseAway("the transaction was lost")

    def run(self, sql: str, params: Parameters = ()) -> None:
        try:
            self._execute(sql, params)
        except apsw.Error as error:
            raise self._explain(error) from error

    def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        try:
            if sql.endswith(")") and (found := _several(sql)) is not None:
                self._insert(found, list(rows))
                return
            if self.lost:
                self._refuse(sql)
            self._cursor.executemany(sql, rows)
        except apsw.Error as error:
            raise self._explain(error) from error

    def _insert(self, texts: Sequence[str], rows: Sequence[Parameters]) -> None:
        """`texts[n]` inserts 2 ** n rows: fewer calls, and for each the interpreter's lock is let go."""
        at, left = 0, len(rows)
        while left:
            power = min(left.bit_length(), len(texts)) - 1
            some = rows[at : at + (1 << power)]
            self._execute(texts[power], list(chain.from_iterable(some)))
            at += len(some)
            left -= len(some)

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        try:
            return self._execute(sql, params).fetchone()
        except apsw.Error as error:
            raise self._explain(error) from error

    def all(self, sql: str, params: Parameters = ()) -> list[Row]:
        try:
            return self._execute(sql, params).fetchall()
        except apsw.Error as error:
            raise self._explain(error) from error

    def ask(self, questions: Sequence[Question]) -> list[list[Row]]:
        return [self.all(sql, params) for sql, params in questions]

    def each(self, sql: str, params: Parameters = ()) -> Iterator[Row]:
        try:
            yield from self.connection.cursor().execute(sql, params)
        except apsw.Error as error:
            raise self._explain(error) from error

    def count(self, sql: str, params: Parameters = ()) -> int:
        self.run(sql, params)
        return self.connection.changes()

    def lock(self, table: str, key: str, ids: Sequence[int]) -> None:
        """Nothing to do: nobody else can write."""

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        self._cursor.close(True)
        self.connection.close(True)
