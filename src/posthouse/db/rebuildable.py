"""A database file of its own, made from what stands in the main database and so made anew where need be.

It lies beside the SQLite file. One that another version has made, or that is no database any more, is
removed and begun afresh: nothing is lost but the time to fill it again.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from posthouse.db.connection import connect
from posthouse.db.errors import DatabaseError
from posthouse.db.lockfile import LockFile
from posthouse.db.open import lock_path
from posthouse.db.sqlite import SqliteDatabase

_LEASE = "CREATE TABLE lease (name TEXT PRIMARY KEY, holder BIGINT NOT NULL, expires DOUBLE NOT NULL)"
"""For the checkpointer."""


def open_rebuildable(path: Path, schema: str, version: int) -> SqliteDatabase:
    """The file with this schema, whoever else opens it at the same time; bound to the running loop.

    `version` grows with each change of `schema`.
    """
    lock = LockFile(lock_path(path))
    try:
        lock.take()
        if not _is_sound(path, version):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            connection = connect(path, create=True)
            script = f"BEGIN IMMEDIATE; {_LEASE}; {schema}; PRAGMA user_version = {version}; COMMIT"
            connection.cursor().execute(script).fetchall()
            connection.close(True)
    finally:
        lock.close()
    return SqliteDatabase(path, lock_path(path))


def _is_sound(path: Path, version: int) -> bool:
    if not path.exists():
        return False
    try:
        connection = connect(path)
        try:
            return bool(connection.pragma("user_version") == version)
        finally:
            connection.close(True)
    except (apsw.NotADBError, apsw.CorruptError):
        return False
    except DatabaseError as error:
        if isinstance(error.__cause__, apsw.NotADBError | apsw.CorruptError):
            return False
        raise
