"""One schema text for both databases: what each spells differently, in one place."""

from __future__ import annotations

import re

# A BIGINT key would cost SQLite a second tree; INTEGER PRIMARY KEY is the row's own number.
SQLITE = ((re.compile(r"\bBIGINT PRIMARY KEY\b"), "INTEGER PRIMARY KEY"),)
"""SQLite takes BLOB, DOUBLE, BIGINT and WITHOUT ROWID as they are."""

POSTGRESQL = (
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bDOUBLE\b"), "DOUBLE PRECISION"),
    (re.compile(r"\)\s*WITHOUT ROWID\b"), ")"),
)


def translate(sql: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    """The schema text as one database wants it."""
    for pattern, replacement in rules:
        sql = pattern.sub(replacement, sql)
    return sql
