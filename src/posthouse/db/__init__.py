"""The database: durable writes in groups, reads, leases, generations and blobs.

    database = open_database("sqlite:///posthouse.db", data_directory)   # in a running loop, after fork
    uid = await database.write([account], lambda tx: deposit(tx, …))        # returns after the fsync
    rows = await database.read(lambda reader: reader.all("SELECT …"))

No other room knows which database it is on: SQLite, or PostgreSQL (`postgresql://…`). SQL is the common
tongue of both with `?` for parameters: `INSERT … ON CONFLICT`, `UPDATE … RETURNING`; no rowid, no PRAGMA,
no functions of one of them; the present moment is `tx.now()` (the database's clock) or a parameter
(`ports.Clock`).
"""

from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, Overloaded, UniqueViolation
from posthouse.db.generations import bump
from posthouse.db.interface import Database, Question, Reader, Tx
from posthouse.db.open import migrate, open_announcements, open_database

__all__ = [
    "Database",
    "DatabaseAway",
    "DatabaseError",
    "DiskFull",
    "Overloaded",
    "Question",
    "Reader",
    "Tx",
    "UniqueViolation",
    "bump",
    "migrate",
    "open_announcements",
    "open_database",
]
