"""The tables that both databases have, as the migrations make them: columns and keys.

They are read from an empty database in memory, so that a table or column which a new migration adds is
known here without another word. Tables that a driver keeps for itself are none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from posthouse.db import dialect
from posthouse.db.errors import StoreElsewhere
from posthouse.db.interface import Reader, Row, Tx
from posthouse.db.migrations import all_migrations

TRANSFER = "transfer"
"""The table with what stands in a database about a move to or from it."""

CLOSED = "closed for a transfer"
"""What a change is refused with in a database whose mail moves to another."""


class Column(NamedTuple):
    name: str
    type: str
    """BIGINT | DOUBLE | TEXT | BLOB"""


class Table(NamedTuple):
    """A table, and the statements that need nothing but its columns."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    """Positions of the columns of the primary key, in its order."""

    @property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.columns[position] for position in self.key)

    @property
    def is_wide(self) -> bool:
        """Whether a row may be large."""
        return any(column.type == "BLOB" for column in self.columns)

    def position(self, column: str) -> int:
        """Where a column stands in a row."""
        return [known.name for known in self.columns].index(column)

    def key_of(self, row: Row) -> Row:
        return tuple(row[position] for position in self.key)

    # Statements; the parameters are in the order of the text

    def after(self, key: Row | None, limit: int) -> tuple[str, Sequence[object]]:
        """Rows behind `key` (None: from the first) in the order of keys."""
        names = self._names(self.key_columns)
        where = "" if key is None else f" WHERE ({names}) > ({_marks(self.key)})"
        return f"SELECT {self._all} FROM {self.name}{where} ORDER BY {names} LIMIT ?", (*(key or ()), limit)

    def between(self, key: Row | None, last: Row | None) -> tuple[str, Sequence[object]]:
        """Rows behind `key` up to `last` (None: to the end)."""
        names, marks = self._names(self.key_columns), _marks(self.key)
        conditions = []
        if key is not None:
            conditions.append(f"({names}) > ({marks})")
        if last is not None:
            conditions.append(f"({names}) <= ({marks})")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {self._all} FROM {self.name}{where} ORDER BY {names}", (*(key or ()), *(last or ()))

    def among(self, keys: Sequence[Row]) -> tuple[str, Sequence[object]]:
        """Rows with one of these keys."""
        names = self._names(self.key_columns)
        values = ", ".join([f"({_marks(self.key)})"] * len(keys))
        return (
            f"SELECT {self._all} FROM {self.name} WHERE ({names}) IN (VALUES {values})",
            [value for key in keys for value in key],
        )

    def changed(self, key: Row | None, limit: int) -> tuple[str, Sequence[object]]:
        """Of the keys behind `key` that were noted, in order: version, key, and the row as it is now (NULL:
        it is gone)."""
        keys = self.key_columns
        where = "" if key is None else f" WHERE ({self._names(keys)}) > ({_marks(self.key)})"
        return (
            f"SELECT noted.version, {', '.join(f'noted.{column.name}' for column in keys)},"
            f" {', '.join(f'now.{column.name}' for column in self.columns)}"
            f" FROM (SELECT * FROM {self.notes}{where} ORDER BY {self._names(keys)} LIMIT ?) noted"
            f" LEFT JOIN {self.name} now"
            f" ON {' AND '.join(f'now.{column.name} = noted.{column.name}' for column in keys)}"
            f" ORDER BY {', '.join(f'noted.{column.name}' for column in keys)}",
            (*(key or ()), limit),
        )

    @property
    def insert(self) -> str:
        return f"INSERT INTO {self.name} ({self._all}) VALUES ({_marks(self.columns)})"

    @property
    def delete(self) -> str:
        return f"DELETE FROM {self.name} WHERE {self.is_key}"

    @property
    def is_key(self) -> str:
        """The condition for one key."""
        return " AND ".join(f"{column.name} = ?" for column in self.key_columns)

    # The notes of what has changed

    @property
    def notes(self) -> str:
        """The table with the keys of rows that have changed."""
        return f"{TRANSFER}_{self.name}"

    @property
    def make_notes(self) -> str:
        keys = self.key_columns
        columns = ", ".join(f"{column.name} {column.type} NOT NULL" for column in keys)
        return (
            f"CREATE TABLE IF NOT EXISTS {self.notes} ({columns}, version BIGINT NOT NULL,"
            f" PRIMARY KEY ({self._names(keys)})) WITHOUT ROWID"
        )

    def note(self, row: str) -> str:
        """The statement of a trigger that notes the key of `row`, which is OLD or NEW."""
        names = self._names(self.key_columns)
        values = ", ".join(f"{row}.{column.name}" for column in self.key_columns)
        return (
            f"INSERT INTO {self.notes} ({names}, version) VALUES ({values}, 1)"
            f" ON CONFLICT ({names}) DO UPDATE SET version = {self.notes}.version + 1"
        )

    @property
    def _all(self) -> str:
        return self._names(self.columns)

    @staticmethod
    def _names(columns: Iterable[Column]) -> str:
        return ", ".join(column.name for column in columns)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def all_tables() -> list[Table]:
    """Every table of the schema but the one about transfers, by name."""
    connection = apsw.Connection(":memory:")
    for migration in all_migrations():
        connection.execute(dialect.translate(migration.sql, dialect.SQLITE)).fetchall()
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    tables = [_table(connection, str(name)) for (name,) in names if name != TRANSFER]
    connection.close()
    return tables


def require_mail(reader: Tx | Reader) -> None:
    """Refuse a database whose mail has moved away, or is still being brought here.

    Raises StoreElsewhere.
    """
    rows = reader.all(
        f"SELECT name, value FROM {TRANSFER} WHERE name IN ('to.state', 'to.url', 'from.state', 'from.url')"
    )
    notes = {str(name): str(value) for name, value in rows}
    if notes.get("to.state") == "moved":
        raise StoreElsewhere(f"the mail of this database has moved to {notes['to.url']}: set database.url")
    if notes.get("from.state") == "filling":
        raise StoreElsewhere(
            f"this database is being filled from {notes['from.url']}: wait for `posthouse migrate-store`"
        )


def schema_version() -> int:
    """The number of the newest migration."""
    return all_migrations()[-1].number


def _table(connection: apsw.Connection, name: str) -> Table:
    columns: list[Column] = []
    key: dict[int, int] = {}
    rows: list[Any] = connection.execute(f"PRAGMA table_info({name})").fetchall()
    for position, column, kind, _, _, of_key in rows:
        columns.append(Column(column, "BIGINT" if kind == "INTEGER" else kind))
        if of_key:
            key[of_key] = position
    return Table(name, tuple(columns), tuple(key[number] for number in sorted(key)))
