"""Open the database that a URL names, with its schema up to date.

`sqlite:///posthouse.db` lies under the data directory, `sqlite:////var/lib/mail.db` where it says.
"""

from __future__ import annotations

import time
from pathlib import Path

from posthouse.db import dialect
from posthouse.db.connection import Session, connect
from posthouse.db.errors import DatabaseError
from posthouse.db.lockfile import LockFile
from posthouse.db.migrations import all_migrations
from posthouse.db.sqlite import SqliteDatabase

SCHEME = "sqlite:///"


def database_path(url: str, directory: Path) -> Path:
    """The file that an SQLite URL names."""
    if not url.startswith(SCHEME) or len(url) == len(SCHEME):
        raise DatabaseError(f"database.url must be {SCHEME}FILE, not {url.split('://')[0]}://…")
    return directory / url[len(SCHEME) :]


def lock_path(path: Path) -> Path:
    """The lock file of a database file."""
    return path.with_name(path.name + ".lock")


def migrate(url: str, directory: Path) -> list[str]:
    """Bring the schema up to date, whoever else tries at the same time; the names of the migrations applied.

    A database newer than this program is refused.
    """
    path = database_path(url, directory)
    lock = LockFile(lock_path(path))
    try:
        lock.take()
        session = Session(connect(path, create=True))
        try:
            session.begin("BEGIN IMMEDIATE")
            applied = _apply(session)
            session.end("COMMIT")
            return applied
        finally:
            session.close()
    finally:
        lock.close()


def _apply(session: Session) -> list[str]:
    session.run(
        "CREATE TABLE IF NOT EXISTS schema_migration "
        "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied DOUBLE NOT NULL)"
    )
    done = {int(number) for (number,) in session.all("SELECT number FROM schema_migration")}
    migrations = all_migrations()
    if done - {migration.number for migration in migrations}:
        raise DatabaseError("the database was made by a newer Posthouse; upgrade this one")
    applied = []
    for migration in migrations:
        if migration.number in done:
            continue
        session.run(dialect.translate(migration.sql, dialect.SQLITE))
        session.run(
            "INSERT INTO schema_migration (number, name, applied) VALUES (?, ?, ?)",
            (migration.number, migration.name, time.time()),
        )
        applied.append(migration.name)
    return applied


def open_database(url: str, directory: Path) -> SqliteDatabase:
    """The database, migrated, bound to the running loop. To be called after fork; ends with `close()`."""
    path = database_path(url, directory)
    migrate(url, directory)
    return SqliteDatabase(path, lock_path(path))
