"""One SQL text for both databases: what each spells differently, in one place."""

from __future__ import annotations

import itertools
import re

SQLITE = (
    (re.compile(r"^-- on postgresql$.*?^-- end$", re.MULTILINE | re.DOTALL), ""),
    # A BIGINT key would cost SQLite a second tree; INTEGER PRIMARY KEY is the row's own number.
    (re.compile(r"\bBIGINT PRIMARY KEY\b"), "INTEGER PRIMARY KEY"),
)
"""SQLite takes BLOB, DOUBLE, BIGINT and WITHOUT ROWID as they are."""

POSTGRESQL = (
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bDOUBLE\b"), "DOUBLE PRECISION"),
    (re.compile(r"\)\s*WITHOUT ROWID\b"), ")"),
    # Order and comparison by code point, as on SQLite, whatever the database's own collation is.
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),
)


def translate(sql: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    """The schema text as one database wants it."""
    for pattern, replacement in rules:
        sql = pattern.sub(replacement, sql)
    return sql


_COMMENT = re.compile(r"--[^\n]*")


def statements(sql: str) -> list[str]:
    """A schema text as single statements, without comments."""
    return [text for part in _COMMENT.sub("", sql).split(";") if (text := part.strip())]


_PIECES = re.compile(r"'[^']*'|\?")


def numbered(sql: str) -> str:
    """A statement with PostgreSQL's `$1`, `$2` … in place of each `?` outside of quotes."""
    numbers = itertools.count(1)
    return _PIECES.sub(lambda piece: f"${next(numbers)}" if piece[0] == "?" else piece[0], sql)
