"""Open the database that a URL names, with its schema up to date.

`sqlite:///posthouse.db` lies under the data directory, `sqlite:////var/lib/mail.db` where it says;
`postgresql://user@host/database` is read by libpq, which knows many more parameters.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.db import dialect
from posthouse.db.connection import Session, connect
from posthouse.db.errors import DatabaseAway, DatabaseError
from posthouse.db.interface import Database
from posthouse.db.limits import USUAL, Capacity, Limits
from posthouse.db.lockfile import LockFile
from posthouse.db.migrations import pending
from posthouse.db.sqlite import SqliteDatabase
from posthouse.db.tables import require_mail

if TYPE_CHECKING:
    from types import ModuleType

    from posthouse.db.announcements import Announcements

SCHEME = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")


def postgres_module() -> ModuleType:
    """The driver, which needs packages that not everybody has."""
    try:
        from posthouse.db import postgres
    except ImportError as error:
        raise DatabaseError(
            f"PostgreSQL needs more packages: pip install posthouse[cluster] ({error})"
        ) from error
    return postgres


def database_path(url: str, directory: Path) -> Path:
    """The file that an SQLite URL names."""
    if not url.startswith(SCHEME) or len(url) == len(SCHEME):
        raise DatabaseError(f"database.url must be {SCHEME}FILE, not {url.split('://')[0]}://…")
    return directory / url[len(SCHEME) :]


def lock_path(path: Path) -> Path:
    """The lock file of a database file."""
    return path.with_name(path.name + ".lock")


def migrate(url: str, directory: Path, limits: Limits = USUAL, *, for_transfer: bool = False) -> list[str]:
    """Bring the schema up to date, whoever else tries at the same time; the names of the migrations applied.

    A database newer than this program is refused; and one whose mail has moved, or is not there yet, unless
    it is opened `for_transfer`.
    """
    if url.startswith(POSTGRESQL):
        applied: list[str] = postgres_module().migrate(url, limits, for_transfer=for_transfer)
        return applied
    path = database_path(url, directory)
    lock = LockFile(lock_path(path))
    try:
        lock.take()
        session = Session(connect(path, create=True))
        try:
            session.begin("BEGIN IMMEDIATE")
            done = _apply(session)
            session.end("COMMIT")
            if not for_transfer:
                require_mail(session)
            return done
        finally:
            session.close()
    finally:
        lock.close()


def _apply(session: Session) -> list[str]:
    session.run(
        "CREATE TABLE IF NOT EXISTS schema_migration "
        "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied DOUBLE NOT NULL)"
    )
    applied = []
    for migration in pending(session.all("SELECT number FROM schema_migration")):
        session.run(dialect.translate(migration.sql, dialect.SQLITE))
        session.run(
            "INSERT INTO schema_migration (number, name, applied) VALUES (?, ?, ?)",
            (migration.number, migration.name, time.time()),
        )
        applied.append(migration.name)
    return applied


def open_database(url: str, directory: Path, limits: Limits = USUAL, *, prepared: bool = False) -> Database:
    """The database, migrated, bound to the running loop. To be called after fork; ends with `close()`.

    `prepared`: whoever started us has migrated it, so that it may be away at the moment.
    """
    try:
        migrate(url, directory, limits)
    except DatabaseAway:
        if not prepared:
            raise
    if url.startswith(POSTGRESQL):
        database: Database = postgres_module().PostgresDatabase(url, limits)
        return database
    path = database_path(url, directory)
    return SqliteDatabase(path, lock_path(path))


def open_announcements(url: str, limits: Limits) -> Announcements | None:
    """Announcements among those who use this database; None where there are no other hosts."""
    if not url.startswith(POSTGRESQL):
        return None
    from posthouse.db.postgres_announcements import PostgresAnnouncements

    return PostgresAnnouncements(url, limits)


async def capacity(database: Database) -> Capacity | None:
    """How many connections its server has to give; None where that is no question."""
    if isinstance(database, SqliteDatabase):
        return None
    found: Capacity = await postgres_module().capacity(database)
    return found
