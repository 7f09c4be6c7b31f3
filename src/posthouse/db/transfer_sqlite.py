"""SQLite as one side of a transfer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import apsw

from posthouse.db import dialect
from posthouse.db.connection import Session, connect
from posthouse.db.interface import Parameters, Row
from posthouse.db.lockfile import LockFile
from posthouse.db.tables import CLOSED, Table

_CHANGES: Final = ("INSERT", "UPDATE", "DELETE")


class SqliteEnd:
    """See `posthouse.db.transfer_end.End`. It takes the lock file before it writes, as every writer does."""

    def __init__(self, path: Path, lock_path: Path) -> None:
        self._lock = LockFile(lock_path)
        self._session = Session(connect(path, cache_mebibytes=64))
        self._inside = False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._lock.take()
        try:
            self._session.begin("BEGIN IMMEDIATE")
            self._inside = True
            try:
                yield
            except BaseException:
                self._session.end("ROLLBACK")
                raise
            self._session.end("COMMIT")
        finally:
            self._inside = False
            self._lock.release()

    def _change(self) -> contextlib.AbstractContextManager[None]:
        """A transaction, if there is none."""
        return contextlib.nullcontext() if self._inside else self.transaction()

    def run(self, sql: str, params: Parameters = ()) -> None:
        with self._change():
            self._session.run(sql, params)

    def many(self, sql: str, rows: Sequence[Parameters]) -> None:
        with self._change():
            self._session.many(sql, rows)

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        rows = self._session.all(sql, params)  # a row left unread would keep others from the WAL
        return rows[0] if rows else None

    def all(self, sql: str, params: Parameters = ()) -> list[Row]:
        return self._session.all(sql, params)

    def each(self, sql: str, params: Parameters = ()) -> Iterator[Row]:
        return self._session.each(sql, params)

    def now(self) -> float:
        return time.time()

    def add(self, table: Table, rows: Sequence[Row]) -> list[Row]:
        session = self._session
        before = session.connection.total_changes()
        insert = table.insert + " ON CONFLICT DO NOTHING"
        session.many(insert, rows)
        if session.connection.total_changes() - before == len(rows):
            return []
        find = f"SELECT 1 FROM {table.name} WHERE {table.is_key}"
        return [row for row in rows if session.one(find, table.key_of(row)) is None]

    def forget(self, table: Table, notes: Sequence[Row]) -> None:
        self.many(f"DELETE FROM {table.notes} WHERE {table.is_key} AND version = ?", notes)

    def watch(self, table: Table) -> None:
        keys = ", ".join(column.name for column in table.key_columns)
        with self._change():
            self.run(dialect.translate(table.make_notes, dialect.SQLITE))
            for name, event, row in (
                ("insert", "INSERT", "NEW"),
                ("update", "UPDATE", "NEW"),
                ("rekey", f"UPDATE OF {keys}", "OLD"),
                ("delete", "DELETE", "OLD"),
            ):
                self.run(
                    f"CREATE TRIGGER IF NOT EXISTS {table.notes}_{name} AFTER {event} ON {table.name}"
                    f" BEGIN {table.note(row)}; END"
                )

    def unwatch(self, table: Table) -> None:
        with self._change():
            for name in ("insert", "update", "rekey", "delete"):
                self.run(f"DROP TRIGGER IF EXISTS {table.notes}_{name}")
            self.run(f"DROP TABLE IF EXISTS {table.notes}")

    def close_tables(self, tables: Sequence[Table]) -> None:
        with self._change():
            for table in tables:
                for event in _CHANGES:
                    self.run(
                        f"CREATE TRIGGER IF NOT EXISTS {table.notes}_closed_{event.lower()}"
                        f" BEFORE {event} ON {table.name} BEGIN SELECT RAISE(ABORT, '{CLOSED}'); END"
                    )

    def open_tables(self, tables: Sequence[Table]) -> None:
        with self._change():
            for table in tables:
                for event in _CHANGES:
                    self.run(f"DROP TRIGGER IF EXISTS {table.notes}_closed_{event.lower()}")

    def tidy(self) -> None:
        """Nobody else moves what was written into the database file."""
        with contextlib.suppress(apsw.BusyError):
            self._session.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        self._session.close()
        self._lock.close()
