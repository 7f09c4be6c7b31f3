"""The schema is brought up to date by whoever comes first."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from posthouse.db import DatabaseError, dialect, migrate
from posthouse.db.connection import Session, connect
from posthouse.db.migrations import all_migrations
from posthouse.db.open import database_path
from tests.unit.db.conftest import URL


def test_a_second_migration_finds_nothing_to_do(tmp_path):
    assert migrate(URL, tmp_path) == [migration.name for migration in all_migrations()]
    assert migrate(URL, tmp_path) == []


def test_several_processes_may_start_on_nothing(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        applied = pool.starmap(migrate, [(URL, tmp_path)] * 3)
    assert sorted(applied, key=len)[:2] == [[], []]
    assert sum(map(len, applied)) == len(all_migrations())


def test_a_database_of_a_newer_program_is_refused_and_left_alone(tmp_path):
    migrate(URL, tmp_path)
    session = Session(connect(tmp_path / "posthouse.db"))
    session.run("INSERT INTO schema_migration (number, name, applied) VALUES (9999, 'future', 0)")
    session.close()
    with pytest.raises(DatabaseError, match="newer"):
        migrate(URL, tmp_path)


def test_a_broken_migration_leaves_nothing_behind(tmp_path, monkeypatch):
    from posthouse.db import migrations

    broken = all_migrations()[0]._replace(sql="CREATE TABLE half (x BIGINT); CREATE TABLE nonsense")
    monkeypatch.setattr(migrations, "all_migrations", lambda: [broken])
    with pytest.raises(DatabaseError):
        migrate(URL, tmp_path)
    monkeypatch.undo()
    migrate(URL, tmp_path)
    session = Session(connect(tmp_path / "posthouse.db"))
    assert session.one("SELECT 1 FROM sqlite_master WHERE name = 'half'") is None
    session.close()


def test_the_database_is_as_designed(tmp_path):
    migrate(URL, tmp_path)
    connection = connect(tmp_path / "posthouse.db")
    settings = {
        name: connection.pragma(name)
        for name in ("journal_mode", "synchronous", "page_size", "mmap_size", "wal_autocheckpoint")
    }
    connection.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 4096,
        "mmap_size": 0,
        "wal_autocheckpoint": 0,
    }


def test_an_id_is_the_row_itself_on_sqlite():
    text = "CREATE TABLE a (\n  id BIGINT PRIMARY KEY, b BLOB, d DOUBLE, PRIMARY KEY (x)\n) WITHOUT ROWID;"
    assert "id INTEGER PRIMARY KEY" in dialect.translate(text, dialect.SQLITE)
    theirs = dialect.translate(text, dialect.POSTGRESQL)
    assert "b BYTEA" in theirs
    assert "d DOUBLE PRECISION" in theirs
    assert "id BIGINT PRIMARY KEY" in theirs
    assert theirs.endswith("\n);") or theirs.endswith(");")
    assert "ROWID" not in theirs


@pytest.mark.parametrize("url", ["mysql://x", "sqlite:///", "posthouse.db"])
def test_other_urls_are_refused(url):
    with pytest.raises(DatabaseError, match="sqlite:///"):
        database_path(url, Path("/data"))


def test_a_path_may_be_relative_or_absolute():
    assert database_path("sqlite:///posthouse.db", Path("/data")) == Path("/data/posthouse.db")
    assert database_path("sqlite:////var/mail.db", Path("/data")) == Path("/var/mail.db")
