"""A database file of its own, made from what stands in the main database and so made anew where need be.

It lies beside the SQLite file. One that another version has made, or that is no database any more, is removed
and begun afresh: nothing is lost but the time to fill it again.

So is one that is ahead of the main database, which then is a backup that was restored. Who fills the file
holds a lease in the main database meanwhile, and has noted here when it ends (`leases.note`): a backup has
an earlier end of it, unless less than half the lease's time went by between the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import apsw

from posthouse.db.connection import connect
from posthouse.db.errors import DatabaseError
from posthouse.db.lockfile import LockFile
from posthouse.db.open import lock_path
from posthouse.db.sqlite import SqliteDatabase

_LEASE = "CREATE TABLE lease (name TEXT PRIMARY KEY, holder BIGINT NOT NULL, expires DOUBLE NOT NULL)"
"""For the checkpointer, and how far the file is."""


class Source(NamedTuple):
    """What a file is made from."""

    path: Path
    """The main database."""
    lease: str
    """Whose holder fills the file."""


def open_rebuildable(path: Path, schema: str, version: int, source: Source) -> SqliteDatabase:
    """The file with this schema, whoever else opens it at the same time; bound to the running loop.

    `version` grows with each change of `schema`, and of what is put in.
    """
    lock = LockFile(lock_path(path))
    try:
        lock.take()
        if _version(path) != version or _ends(path, source.lease) > _ends(source.path, source.lease):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            connection = connect(path, create=True)
            script = f"BEGIN IMMEDIATE; {_LEASE}; {schema}; PRAGMA user_version = {version}; COMMIT"
            connection.cursor().execute(script).fetchall()
            connection.close(True)
    finally:
        lock.close()
    return SqliteDatabase(path, lock_path(path))


def _ends(path: Path, lease: str) -> float:
    """See `leases.ends`; 0 also where there is no such file, or table."""
    if not path.exists():
        return 0.0
    connection = connect(path, readonly=True)
    try:
        query = "SELECT COALESCE(max(expires), 0.0) FROM lease WHERE name = ?"
        ends = connection.cursor().execute(query, (lease,)).get
    except apsw.SQLError:
        return 0.0
    finally:
        connection.close(True)
    return ends if isinstance(ends, float) else 0.0


def _version(path: Path) -> int | None:
    """Of which version the file is; None where it is none, or no database."""
    if not path.exists():
        return None
    try:
        connection = connect(path)
        try:
            return int(connection.pragma("user_version"))
        finally:
            connection.close(True)
    except (apsw.NotADBError, apsw.CorruptError):
        return None
    except DatabaseError as error:
        if isinstance(error.__cause__, apsw.NotADBError | apsw.CorruptError):
            return None
        raise
