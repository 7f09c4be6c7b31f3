"""PostgreSQL as one side of a transfer: rows go in by COPY, in its binary form."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors

from posthouse.db import dialect
from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, UniqueViolation
from posthouse.db.interface import Parameters, Row
from posthouse.db.postgres_session import CLOSED_STATE
from posthouse.db.tables import CLOSED, Table

LOCK_ATTEMPTS: Final = 30
"""Of a second each, to get a table for ourselves for a moment."""
_TYPES: Final = {"BIGINT": "int8", "DOUBLE": "float8", "TEXT": "text", "BLOB": "bytea"}
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class PostgresEnd:
    """See `posthouse.db.transfer_end.End`."""

    def __init__(self, url: str) -> None:
        with _explained():
            self._connection = psycopg.connect(
                url,
                autocommit=True,
                application_name="posthouse migrate-store",
                target_session_attrs="read-write",
                client_encoding="UTF8",
            )
            self._cursor = self._connection.cursor(binary=True)
            self._cursor.execute(_DURABLE)
            self._cursor.execute("SET client_min_messages = warning")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with _explained(), self._connection.transaction():
            yield

    def run(self, sql: str, params: Parameters = ()) -> None:
        with _explained():
            self._cursor.execute(_marked(sql), params)

    def many(self, sql: str, rows: Sequence[Parameters]) -> None:
        with self.transaction():
            self._cursor.executemany(_marked(sql), rows)

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        with _explained():
            return self._cursor.execute(_marked(sql), params).fetchone()

    def all(self, sql: str, params: Parameters = ()) -> list[Row]:
        with _explained():
            return self._cursor.execute(_marked(sql), params).fetchall()

    def each(self, sql: str, params: Parameters = ()) -> Iterator[Row]:
        yield from self.all(sql, params)

    def now(self) -> float:
        row = self.one("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)")
        assert row is not None
        return float(row[0])

    def add(self, table: Table, rows: Sequence[Row]) -> list[Row]:
        try:
            with self._connection.transaction():
                self._copy(table, rows)
            return []
        except errors.UniqueViolation:
            pass
        left = []
        with _explained():
            for row in rows:
                self._cursor.execute(_marked(table.insert + " ON CONFLICT DO NOTHING"), row)
                if not self._cursor.rowcount:
                    left.append(row)
        return left

    def _copy(self, table: Table, rows: Sequence[Row]) -> None:
        names = ", ".join(column.name for column in table.columns)
        with self._cursor.copy(f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([_TYPES[column.type] for column in table.columns])
            for row in rows:
                copy.write_row(row)

    def forget(self, table: Table, notes: Sequence[Row]) -> None:
        # A writer may wait for us while it holds the next note: what is locked is left for the next time.
        names = ", ".join(column.name for column in table.key_columns)
        self.many(
            f"DELETE FROM {table.notes} WHERE ({names}) IN (SELECT {names} FROM {table.notes}"
            f" WHERE {table.is_key} AND version = ? FOR UPDATE SKIP LOCKED)",
            notes,
        )

    # CREATE TRIGGER waits for the transactions that have written to the table, and keeps out others.

    def watch(self, table: Table) -> None:
        self._alone(lambda: self._watch(table))

    def _watch(self, table: Table) -> None:
        old, new = (f"({', '.join(f'{row}.{c.name}' for c in table.key_columns)})" for row in ("OLD", "NEW"))
        self.run(dialect.translate(table.make_notes, dialect.POSTGRESQL))
        self.run(
            f"CREATE OR REPLACE FUNCTION {table.notes}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF TG_OP <> 'DELETE' THEN {table.note('NEW')}; END IF;"
            f" IF TG_OP = 'DELETE' THEN {table.note('OLD')}; END IF;"
            f" IF TG_OP = 'UPDATE' THEN IF {old} <> {new} THEN {table.note('OLD')}; END IF; END IF;"
            " RETURN NULL; END $$"
        )
        self.run(
            f"CREATE OR REPLACE TRIGGER {table.notes}_note AFTER INSERT OR UPDATE OR DELETE ON {table.name}"
            f" FOR EACH ROW EXECUTE FUNCTION {table.notes}_note()"
        )

    def unwatch(self, table: Table) -> None:
        def drop() -> None:
            self.run(f"DROP TRIGGER IF EXISTS {table.notes}_note ON {table.name}")
            self.run(f"DROP FUNCTION IF EXISTS {table.notes}_note()")
            self.run(f"DROP TABLE IF EXISTS {table.notes}")

        self._alone(drop)

    def close_tables(self, tables: Sequence[Table]) -> None:
        """One after the other: to wait for all at once could be a deadlock with those who write."""
        self.run(
            "CREATE OR REPLACE FUNCTION transfer_closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION '{CLOSED}' USING ERRCODE = '{CLOSED_STATE}'; END $$"
        )
        for table in tables:
            self._alone(lambda table=table: self._close(table))  # type: ignore[misc]

    def _close(self, table: Table) -> None:
        self.run(
            f"CREATE OR REPLACE TRIGGER {table.notes}_closed"
            f" BEFORE INSERT OR UPDATE OR DELETE ON {table.name}"
            " FOR EACH STATEMENT EXECUTE FUNCTION transfer_closed()"
        )

    def open_tables(self, tables: Sequence[Table]) -> None:
        for table in tables:
            drop = f"DROP TRIGGER IF EXISTS {table.notes}_closed ON {table.name}"
            self._alone(lambda drop=drop: self.run(drop))  # type: ignore[misc]

    def _alone(self, change: Callable[[], object]) -> None:
        """A change of a table's definition, tried again while others are in the way."""
        for left in reversed(range(LOCK_ATTEMPTS)):
            try:
                with self._connection.transaction():
                    self._cursor.execute("SET LOCAL lock_timeout = '1s'")
                    change()
                return
            except (errors.LockNotAvailable, errors.DeadlockDetected, DatabaseAway) as error:
                if not left:
                    raise DatabaseAway(f"others keep a table busy: {_line(error)}") from error
                time.sleep(0.1)
            except psycopg.Error as error:
                raise _in_our_words(error) from error

    def tidy(self) -> None:
        """The server sees to it itself."""

    def close(self) -> None:
        self._connection.close()


def _marked(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _in_our_words(error: psycopg.Error) -> DatabaseError:
    text = _line(error)
    if isinstance(error, errors.UniqueViolation):
        return UniqueViolation(text)
    if isinstance(error, errors.DiskFull):
        return DiskFull(text)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseAway(text)
    return DatabaseError(text)


@contextlib.contextmanager
def _explained() -> Iterator[Any]:
    try:
        yield
    except psycopg.Error as error:
        raise _in_our_words(error) from error
