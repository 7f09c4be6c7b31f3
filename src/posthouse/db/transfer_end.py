"""One side of a transfer: the few things that SQLite and PostgreSQL do differently there.

What the sides have in common is SQL of the tables (`db.tables`). A watched table notes the key of each row
that changes, whoever changes it; a closed one refuses every change with DatabaseAway. Both are triggers of
the database, so they hold for every process, also for one that knows nothing of the transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from posthouse.db.interface import Parameters, Reader, Row
from posthouse.db.open import POSTGRESQL, database_path, lock_path, postgres_module
from posthouse.db.tables import Table


class End(Reader, Protocol):
    """A connection to one side. Statements outside of `transaction` stand for themselves."""

    def transaction(self) -> AbstractContextManager[None]:
        """What is done within is done wholly or not at all, and durable at its end."""

    def run(self, sql: str, params: Parameters = ()) -> None: ...

    def many(self, sql: str, rows: Sequence[Parameters]) -> None: ...

    def add(self, table: Table, rows: Sequence[Row]) -> list[Row]:
        """Insert rows whose keys are not there; those that another unique row stood in the way of."""

    def forget(self, table: Table, notes: Sequence[Row]) -> None:
        """Drop notes, (key …, version), that have not been renewed."""

    def watch(self, table: Table) -> None:
        """From now on, and for all that is under way, note what changes."""

    def unwatch(self, table: Table) -> None:
        """Note no more, and drop the notes."""

    def close_tables(self, tables: Sequence[Table]) -> None:
        """Have every change refused; what is under way is finished first."""

    def open_tables(self, tables: Sequence[Table]) -> None:
        """Allow changes again."""

    def tidy(self) -> None:
        """After much was written."""

    def close(self) -> None: ...


def open_end(url: str, directory: Path) -> End:
    """A connection to the database of this URL, which has its tables already."""
    if url.startswith(POSTGRESQL):
        postgres_module()
        from posthouse.db.transfer_postgres import PostgresEnd

        return PostgresEnd(url)
    from posthouse.db.transfer_sqlite import SqliteEnd

    path = database_path(url, directory)
    return SqliteEnd(path, lock_path(path))
