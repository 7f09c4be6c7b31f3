"""PostgreSQL: other hosts in the way, connections that break, and a COMMIT whose outcome nobody heard."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from multiprocessing import get_context

import pytest

from posthouse.db import DatabaseAway, DatabaseError, dialect, migrate, open_database
from posthouse.db.limits import USUAL
from posthouse.db.migrations import all_migrations
from posthouse.db.open import capacity
from tests.databases import postgres
from tests.servers import until
from tests.unit.db.conftest import names, only_postgresql, put

pytestmark = only_postgresql


@pytest.fixture(autouse=True)
def _on_postgresql(engine):
    """Left out where there is none."""


@pytest.fixture
def psycopg_session(database_url):
    """A connection of a bystander."""
    from posthouse.db.postgres_session import PostgresSession

    session = PostgresSession(database_url)
    session.open()
    yield session
    session.close()


@pytest.fixture
async def other(database_url, tmp_path):
    """The database as another host has it."""
    database = open_database(database_url, tmp_path)
    yield database
    await database.close()


def account(number: int):
    return lambda tx: tx.run(
        "INSERT INTO account (id, address, created) VALUES (?, ?, 0)", (number, f"{number}@example.org")
    )


def used(reader, number: int = 1) -> int:
    return reader.one("SELECT used FROM account WHERE id = ?", (number,))[0]


def backend(database) -> int:
    """The server's process for the writing connection."""
    return database._engine.session._connection.backend_pid


def terminate(session, process: int) -> None:
    session.all("SELECT pg_terminate_backend(CAST(? AS INTEGER), 5000)", (process,))
    session.settle()


# ── values ──


async def test_values_come_back_as_they_went_in(database):
    values = (b"\0\xff%s?", "100 % of 'it'? ü", -(2**63), 0.1 + 0.2, None, True)

    def story(tx):
        tx.run("CREATE TEMPORARY TABLE x (a BYTEA, b TEXT, c BIGINT, d DOUBLE PRECISION, e TEXT, f BIGINT)")
        tx.run("INSERT INTO x VALUES (?, ?, ?, ?, ?, ?)", values)
        return tx.all(
            "SELECT a, b, c, d, e, f FROM x WHERE b LIKE '100 \\% of ''it''?%' ESCAPE '\\' AND f = ?", (1,)
        )

    assert await database.write([], story) == [(*values[:5], 1)]


async def test_a_text_with_nul_is_refused_and_never_cut(database, another_view):
    with pytest.raises(DatabaseError, match="NUL"):
        await database.write([], put("cut\0here"))
    values = await asyncio.gather(
        database.write([], put("before")), database.write([], put("\0")), database.write([], put("after")),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(value) for value in values] == [int, DatabaseError, int]
    assert another_view() == {"before", "after"}


async def test_a_sum_is_an_integer_as_on_sqlite(database):
    row = await database.read(lambda reader: reader.one("SELECT sum(number), count(*) FROM generation"))
    assert row == (1, 1)
    assert [type(value) for value in row] == [int, int]


async def test_text_is_ordered_by_code_point_whatever_the_servers_language(database):
    words = ["b", "B", "a", "_", "ä", "é", "Z", "z", "-"]
    for word in words:
        await database.write([], put(word))
    rows = await database.read(lambda reader: reader.all("SELECT name FROM generation ORDER BY name"))
    assert [name for (name,) in rows if len(name) == 1] == sorted(words)


async def test_many_rows_are_read_in_pieces(database):
    await database.write(
        [], lambda tx: tx.many("INSERT INTO generation VALUES (?, ?)", ((f"{n}", n) for n in range(1200)))
    )
    found = await database.read(
        lambda reader: [
            row[0] for row in reader.each("SELECT number FROM generation WHERE name <> ?", ("directory",))
        ]
    )
    assert sorted(found) == list(range(1200))


async def test_the_clock_is_the_servers(database):
    reading = await database.read(
        lambda reader: (
            reader.now(),
            reader.one("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)")[0],
        )
    )
    writing = await database.write(
        [],
        lambda tx: (
            tx.now(),
            tx.one("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)")[0],
        ),
    )
    for ours, theirs in (reading, writing):
        assert abs(ours - theirs) < 0.6


async def test_an_error_tells_nothing_of_what_the_row_holds(database):
    await database.write([], put("secret@example.org"))
    with pytest.raises(DatabaseError) as caught:
        await database.write([], put("secret@example.org"))
    assert "secret" not in str(caught.value)


# ── other hosts ──


async def test_what_is_read_under_an_account_holds_until_it_is_written(database, other):
    # Given an account among the keys of each write,
    await database.write([], account(1))

    def add(tx):
        tx.run("UPDATE account SET used = ? WHERE id = 1", (used(tx) + 1,))

    # when two hosts read it and write what they have made of it,
    await asyncio.gather(*(host.write([1], add) for _ in range(50) for host in (database, other)))
    # then nothing is lost.
    assert await database.read(used) == 100


async def test_two_hosts_that_embrace_are_parted_and_both_succeed(database, other):
    for number in (1, 2):
        await database.write([], account(number))
    met = threading.Barrier(2)
    runs = []

    def story(first, second):
        def closure(tx):
            runs.append(first)
            tx.count("UPDATE account SET used = used + 1 WHERE id = ?", (first,))
            if len(runs) <= 2:
                met.wait(10)
            tx.count("UPDATE account SET used = used + 1 WHERE id = ?", (second,))

        return closure

    await asyncio.gather(database.write([], story(1, 2)), other.write([], story(2, 1)))
    assert len(runs) > 2
    assert [await database.read(lambda reader, n=n: used(reader, n)) for n in (1, 2)] == [2, 2]


async def test_accounts_are_locked_in_order_so_that_hosts_do_not_embrace(database, other):
    for number in (1, 2):
        await database.write([], account(number))
    runs = []

    def story(first, second):
        def closure(tx):
            runs.append(first)
            for number in (first, second):
                tx.count("UPDATE account SET used = used + 1 WHERE id = ?", (number,))

        return closure

    for _ in range(30):
        await asyncio.gather(database.write([2, 1], story(1, 2)), other.write([1, 2], story(2, 1)))
    assert len(runs) == 60


def test_several_hosts_may_start_on_nothing(database_url, tmp_path):
    with get_context("spawn").Pool(3) as pool:
        applied = pool.starmap(migrate, [(database_url, tmp_path)] * 3)
    assert sorted(applied, key=len)[:2] == [[], []]
    assert sum(map(len, applied)) == len(all_migrations())


def test_a_database_of_a_newer_program_is_refused(database_url, tmp_path, psycopg_session):
    migrate(database_url, tmp_path)
    psycopg_session.run("INSERT INTO schema_migration (number, name, applied) VALUES (9999, 'future', 0)")
    psycopg_session.settle()
    with pytest.raises(DatabaseError, match="newer"):
        migrate(database_url, tmp_path)


def test_a_broken_migration_leaves_nothing_behind(database_url, tmp_path, monkeypatch, psycopg_session):
    from posthouse.db import migrations

    broken = all_migrations()[0]._replace(sql="CREATE TABLE half (x BIGINT); CREATE TABLE nonsense")
    monkeypatch.setattr(migrations, "all_migrations", lambda: [broken])
    with pytest.raises(DatabaseError):
        migrate(database_url, tmp_path)
    monkeypatch.undo()
    migrate(database_url, tmp_path)
    assert psycopg_session.one("SELECT 1 FROM pg_tables WHERE tablename = 'half'") is None


# ── connections that break ──


async def test_a_connection_that_broke_is_made_again(database, psycopg_session, another_view):
    await database.write([], put("a"))
    terminate(psycopg_session, backend(database))
    await database.write([], put("b"))
    assert another_view() == {"a", "b"}


async def test_a_connection_that_breaks_in_a_batch_costs_nobody_his_write(
    database, psycopg_session, another_view
):
    broken = []

    def breaks(tx):
        put("half")(tx)
        if not broken:
            broken.append(backend(database))
            terminate(psycopg_session, broken[0])
        return tx.one("SELECT 7")

    values = await asyncio.gather(
        database.write([], put("before")), database.write([], breaks), database.write([], put("after"))
    )
    assert values == [1, (7,), 1]
    assert another_view() == {"before", "half", "after"}


async def test_a_reader_whose_connection_broke_reads_again(database, psycopg_session):
    def process(reader):
        return reader.one("SELECT pg_backend_pid()")[0]

    before = await database.read(process)
    terminate(psycopg_session, before)
    assert await database.read(process) != before


async def test_a_reader_leaves_no_transaction_behind(database, psycopg_session):
    process = await database.read(lambda reader: reader.one("SELECT pg_backend_pid()")[0])
    state = "SELECT state FROM pg_stat_activity WHERE pid = CAST(? AS INTEGER)"
    async with asyncio.timeout(10):
        while psycopg_session.one(state, (process,)) != ("idle",):
            psycopg_session.settle()
            await asyncio.sleep(0.005)


async def test_a_server_that_says_nothing_is_given_up(database, another_view, monkeypatch):
    # Given a server whose process for us does not go on,
    await database.write([], put("a"))
    stopped = backend(database)
    monkeypatch.setattr(database._engine.session, "_patience", 0.2)
    os.kill(stopped, signal.SIGSTOP)
    try:
        # when something is to be written, then another connection does it.
        await database.write([], put("b"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert another_view() == {"a", "b"}


async def test_while_the_server_is_away_callers_are_told_and_afterwards_all_is_well(tmp_path, monkeypatch):
    from posthouse.db import postgres as driver
    from posthouse.db import postgres_conninfo, postgres_writer

    server = type(postgres())(postgres().programs)
    try:
        database = open_database(server.url, tmp_path)
        await database.write([], put("a"))
        await database.read(names)
        server.halt()
        monkeypatch.setattr(postgres_conninfo, "AGAIN_SECONDS", 0.0)
        monkeypatch.setattr(postgres_writer, "LEARN_SECONDS", 0.2)
        with pytest.raises(DatabaseAway):
            await database.write([], put("lost"))
        with pytest.raises(DatabaseAway):
            await database.read(names)
        monkeypatch.setattr(driver, "STALE_SECONDS", 0.0)
        with pytest.raises(DatabaseAway):
            database.generation("directory")
        monkeypatch.undo()
        server.start()
        await database.write([], put("b"))
        assert await database.read(names) == {"a", "b"}
        await database.close()
    finally:
        server.stop()


# ── a COMMIT whose outcome nobody heard ──


class Unheard:
    """The next COMMIT is answered by silence: the connection is gone, the server's end of it is not."""

    def __init__(self, database, monkeypatch, *, arrives: bool) -> None:
        self.session = session = database._engine.session
        self.left = None
        settle = session.settle
        run = session.run
        state = {"commit": False}

        def watch(sql, params=()):
            if sql == "COMMIT" and self.left is None:
                state["commit"] = True
                if not arrives:
                    return
            run(sql, params)

        def broken():
            if not state["commit"]:
                return settle()
            state["commit"] = False
            if arrives:
                settle()
            self.left = session._connection
            session._connection = session._opened = None
            raise session._lost("connection reset by peer")

        monkeypatch.setattr(session, "run", watch)
        monkeypatch.setattr(session, "settle", broken)


async def test_a_commit_that_took_place_is_answered_and_not_repeated(database, monkeypatch, another_view):
    runs = []
    unheard = Unheard(database, monkeypatch, arrives=True)
    assert await database.write([], lambda tx: (runs.append(1), put("a", 5)(tx))[1]) == 5
    assert unheard.left is not None
    assert runs == [1]
    assert another_view() == {"a"}


async def test_a_commit_that_did_not_take_place_is_repeated(database, monkeypatch, another_view):
    runs = []
    unheard = Unheard(database, monkeypatch, arrives=False)

    def closure(tx):
        if runs:
            assert unheard.left is not None
        runs.append(1)
        return put("a", 5)(tx)

    # The server notices that the connection is gone.
    threading.Thread(target=_finish, args=(unheard, False), daemon=True).start()
    assert await database.write([], closure) == 5
    assert runs == [1, 1]
    assert another_view() == {"a"}


async def test_a_commit_still_under_way_is_waited_for(database, monkeypatch, another_view):
    # Given a COMMIT that reaches the server long after we have lost the connection,
    runs = []
    unheard = Unheard(database, monkeypatch, arrives=False)
    late = threading.Thread(target=_finish, args=(unheard, True), daemon=True)
    late.start()
    # then it is not taken for lost.
    assert await database.write([], lambda tx: (runs.append(1), put("a", 5)(tx))[1]) == 5
    assert runs == [1]
    assert another_view() == {"a"}
    late.join(10)


async def test_a_transaction_that_breaks_off_within_a_pipeline_holds_nobody_up(database_url, tmp_path):
    from posthouse.db.postgres_conninfo import Reach
    from posthouse.db.postgres_session import PostgresSession
    from posthouse.db.postgres_writer import WriterSession

    # Given a writer that is heard of no more in the middle of what it sends, which to the server is not idle,
    migrate(database_url, tmp_path)
    lock = "UPDATE generation SET number = number + 1 WHERE name = 'directory' RETURNING number"
    broken = WriterSession(database_url, USUAL._replace(statement_timeout=1.0), Reach())
    broken.open()
    broken.run("BEGIN")
    (number,) = broken.one(lock)
    # then others have what it had locked before they give up, and it is told when it comes back.
    other = PostgresSession(database_url, USUAL)
    other.open()
    assert other.one(lock) == (number,)
    other.settle()
    other.close()
    with pytest.raises(DatabaseAway):
        broken.one(lock)
    broken.close()


def _finish(unheard: Unheard, commit: bool) -> None:
    """The end of the server's side, once somebody waits for it."""
    from posthouse.db.postgres_session import PostgresSession

    watcher = PostgresSession(postgres().url)
    watcher.open()

    def somebody_waits() -> bool:
        waiting = watcher.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        watcher.settle()
        return unheard.left is not None and waiting != (0,)

    until(somebody_waits, what="somebody who waits for the transaction")
    connection = unheard.left
    if commit:
        connection.send_query_params(b"COMMIT", [])
        connection.pipeline_sync()
        until(lambda: not connection.flush(), what="a COMMIT on its way")
        connection.get_result()
    connection.finish()
    watcher.close()


async def test_what_cannot_be_learnt_is_said_to_be_away(database, monkeypatch):
    from posthouse.db import postgres_writer

    # Given a COMMIT that nobody heard the answer of, and a server that takes no connection any more,
    await database.write([], put("before"))
    monkeypatch.setattr(postgres_writer, "LEARN_SECONDS", 0.0)
    unheard = Unheard(database, monkeypatch, arrives=True)
    reconnect = unheard.session.open

    def refused():
        if unheard.left is not None:
            raise DatabaseAway("connection refused")
        reconnect()

    monkeypatch.setattr(unheard.session, "open", refused)
    # when something is written, then nothing is claimed about it.
    with pytest.raises(DatabaseAway, match="cannot be learnt"):
        await database.write([], put("a"))


async def test_a_server_tells_how_many_connections_it_has_to_give(database):
    found = await capacity(database)
    assert found is not None
    settings = (
        "SELECT CAST(setting AS BIGINT) FROM pg_settings WHERE name IN"
        " ('max_connections', 'reserved_connections', 'superuser_reserved_connections') ORDER BY name"
    )
    rows = await database.read(lambda reader: reader.all(settings))
    (most,), *reserved = rows
    assert found == (most - sum(number for (number,) in reserved), 0)


def test_only_marks_outside_of_quotes_are_parameters():
    assert dialect.numbered("SELECT '?' || ? WHERE x = ?") == "SELECT '?' || $1 WHERE x = $2"


def test_the_schema_text_is_put_into_postgresqls_words():
    text = (
        "CREATE TABLE a ( -- a; comment\n  b BLOB, d DOUBLE, t TEXT\n) WITHOUT ROWID;\n"
        "CREATE TABLE c (x BIGINT);"
    )
    assert dialect.statements(dialect.translate(text, dialect.POSTGRESQL)) == [
        'CREATE TABLE a ( \n  b BYTEA, d DOUBLE PRECISION, t TEXT COLLATE "C"\n)',
        "CREATE TABLE c (x BIGINT)",
    ]
