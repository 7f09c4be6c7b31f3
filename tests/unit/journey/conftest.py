"""A database in memory with the schema: transaction and reader in one."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from posthouse.db import dialect
from posthouse.db.connection import Session
from posthouse.db.migrations import all_migrations


@pytest.fixture
def db() -> Iterator[Session]:
    session = Session(apsw.Connection(":memory:"))
    for migration in all_migrations():
        session.run(dialect.translate(migration.sql, dialect.SQLITE))
    yield session
    session.close()
