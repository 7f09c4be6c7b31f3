"""Group commit: what a caller may rely on once its future is done."""

from __future__ import annotations

import asyncio
import threading
from math import inf

import apsw
import pytest

from posthouse.db import DatabaseAway, DatabaseError, DiskFull, Overloaded, UniqueViolation
from posthouse.db import writer as writer_module
from posthouse.db.connection import FsyncFailed, connect
from posthouse.db.errors import reply_to
from tests.unit.db.conftest import names, only_sqlite, put


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are parted by what they are, not by the speed of the machine."""
    monkeypatch.setattr(writer_module, "APPLY_SECONDS", inf)
    monkeypatch.setattr(writer_module, "HOLD_SECONDS", inf)


async def test_a_value_comes_only_after_others_can_see_the_row(database, another_view):
    assert await database.write([], put("a", 7)) == 7
    assert another_view() == {"a"}


async def test_what_waits_together_is_committed_together(database):
    values = await asyncio.gather(*(database.write([], put(str(n), n)) for n in range(100)))
    assert values == list(range(100))
    assert database.batches == 1
    assert database.closures == 100


async def test_a_batch_is_bounded_and_the_rest_follows(database):
    values = await asyncio.gather(*(database.write([], put(str(n), n)) for n in range(600)))
    assert values == list(range(600))
    assert database.batches == 3


async def test_letters_that_arrive_during_a_hold_join_the_batch(database):
    # Given a session in the middle of a letter, whose write comes a turn of the loop later,
    database.hold = lambda: 1
    first = database.write([], put("first"))
    late = []
    asyncio.get_running_loop().call_soon(lambda: late.append(database.write([], put("late"))))
    # when both are written,
    await first
    await late[0]
    # then one commit has served both.
    assert database.batches == 1


async def test_one_bad_closure_fails_alone(database, another_view):
    def bad(tx):
        put("half done")(tx)
        raise ValueError("no")

    good = [database.write([], put(str(n))) for n in range(3)]
    failing = database.write([], bad)
    good.append(database.write([], put("after")))
    await asyncio.gather(*good)
    with pytest.raises(ValueError, match="no"):
        await failing
    assert another_view() == {"0", "1", "2", "after"}


async def test_a_unique_violation_is_told_to_who_made_it(database, another_view):
    await database.write([], put("a"))
    twice = database.write([], put("a"))
    beside = database.write([], put("b"))
    with pytest.raises(UniqueViolation):
        await twice
    await beside
    assert another_view() == {"a", "b"}


@pytest.mark.parametrize("swallowed", [False, True])
@only_sqlite
async def test_an_error_that_ends_the_transaction_costs_nobody_else_his_write(
    database, swallowed, another_view
):
    # Given a closure whose error ends the transaction under it, and that may go on regardless,
    def destroys(tx):
        try:
            tx.run("INSERT OR ROLLBACK INTO generation (name, number) VALUES ('directory', 1)")
        except UniqueViolation:
            if not swallowed:
                raise
            put("outside of any transaction")(tx)

    before = database.write([], put("before"))
    destroying = database.write([], destroys)
    after = database.write([], put("after"))
    await asyncio.gather(before, after)
    with pytest.raises((UniqueViolation, DatabaseAway)):
        await destroying
    assert another_view() == {"before", "after"}


@only_sqlite
async def test_a_long_closure_does_not_run_on_the_loop(database):
    thread = await database.write([], lambda tx: threading.current_thread(), long=True)
    assert thread is not threading.main_thread()
    assert await database.write([], lambda tx: threading.current_thread()) is threading.current_thread()


async def test_long_and_short_closures_take_turns(database, another_view):
    done = [database.write([], put(f"long{n}"), long=True) for n in range(20)]
    done += [database.write([], put(f"short{n}")) for n in range(20)]
    await asyncio.gather(*done)
    assert len(another_view()) == 40


async def test_beyond_the_backlog_new_writes_are_refused_with_451(database, monkeypatch, another_view):
    monkeypatch.setattr(writer_module, "BACKLOG", 3)
    taken = [database.write([], put(str(n))) for n in range(3)]
    refused = database.write([], put("too many"))
    with pytest.raises(Overloaded) as caught:
        await refused
    assert reply_to(caught.value).code == 451
    await asyncio.gather(*taken)
    await database.write([], put("room again"))
    assert another_view() == {"0", "1", "2", "room again"}


async def test_what_may_be_lost_goes_along_with_the_next_batch(database, another_view):
    assert database.write_later(put("later"))
    await database.write([], put("now"))
    assert another_view() == {"later", "now"}
    assert database.batches == 1


async def test_what_may_be_lost_is_written_although_nothing_else_is(database, monkeypatch, another_view):
    monkeypatch.setattr(writer_module, "LATER_SECONDS", 0.0)
    written = asyncio.get_running_loop().create_future()
    database._group.after_commit = lambda: written.set_result(None)
    database.write_later(put("later"))
    await asyncio.wait_for(written, 10)
    assert another_view() == {"later"}


async def test_what_may_be_lost_fails_without_harm_and_is_bounded(database, monkeypatch, another_view):
    monkeypatch.setattr(writer_module, "LATER_BACKLOG", 2)
    assert database.write_later(lambda tx: 1 / 0)
    assert database.write_later(put("fine"))
    assert not database.write_later(put("too many"))
    await database.write([], put("now"))
    assert another_view() == {"fine", "now"}


async def test_close_writes_what_is_waiting_and_takes_nothing_more(database, another_view):
    waiting = database.write([], put("a"))
    database.write_later(put("b"))
    await database.close()
    await waiting
    assert another_view() == {"a", "b"}
    with pytest.raises(DatabaseAway):
        await database.write([], put("c"))
    with pytest.raises(DatabaseAway):
        await database.read(names)


async def test_a_cancelled_caller_does_not_disturb_the_others(database, another_view):
    cancelled = database.write([], put("cancelled"))
    other = database.write([], put("other"))
    cancelled.cancel()
    await other
    assert "other" in another_view()


@only_sqlite
async def test_a_full_disk_fails_the_batch_with_452_and_works_again(database, another_view):
    # Given a database that may not grow,
    connection = database._engine._connection
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages + 2)
    # when more is written than fits,
    big = b"x" * 100_000

    def store(tx):
        tx.run("INSERT INTO content_body (content, body) VALUES (1, ?)", (big,))

    futures = [database.write([], put("beside")), database.write([], store)]
    for future in futures:
        with pytest.raises(DiskFull) as caught:
            await future
        assert reply_to(caught.value).code == 452
    # then nothing of it is there, and with space it works.
    assert another_view() == set()
    connection.pragma("max_page_count", pages + 1000)
    await database.write([], store)
    assert (await database.read(lambda reader: reader.one("PRAGMA integrity_check"))) == ("ok",)


@only_sqlite
async def test_a_failed_fsync_ends_all_writing(database, monkeypatch, another_view):
    # Given a disk that refuses the fsync of a commit,
    ended = []
    database.on_fatal = ended.append
    session = database._engine._tx

    class Failing:
        connection = session.connection

        def end(self, how):
            session.end("ROLLBACK")
            if how == "COMMIT":
                raise FsyncFailed("disk I/O error")

        def __getattr__(self, name):
            return getattr(session, name)

    monkeypatch.setattr(database._engine, "_tx", Failing())
    first = database.write([], put("a"))
    # when a letter is written, it is not acknowledged,
    with pytest.raises(DatabaseAway):
        await first
    # and neither is any other: the worker is told to end.
    assert len(ended) == 1
    with pytest.raises(DatabaseAway):
        await database.write([], put("b"))
    assert another_view() == set()


@only_sqlite
async def test_a_writer_that_ignores_the_lock_file_is_waited_for(database, another_view):
    # Given somebody with sqlite3 in a transaction,
    other = connect(database._path)
    other.execute("BEGIN IMMEDIATE")
    waiting = database.write([], put("a"))
    other.execute("INSERT INTO generation (name, number) VALUES ('theirs', 1)")
    await asyncio.sleep(0)
    assert not waiting.done()
    # when it commits, we go on.
    other.execute("COMMIT")
    other.close()
    await waiting
    assert another_view() == {"a", "theirs"}


async def test_errors_of_sql_are_named(database):
    with pytest.raises(DatabaseError, match="missing"):
        await database.write([], lambda tx: tx.run("INSERT INTO missing VALUES (1)"))


def test_an_old_sqlite_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(DatabaseError, match="too old"):
        connect(tmp_path / "x.db", create=True)


@pytest.mark.parametrize("how", ["it works", "another fails", "it raises"])
async def test_closures_in_a_row_run_together_in_their_order(database, how):
    # given closures of two kinds that may run together, and one between them that runs alone
    calls = []

    class Counting:
        def __call__(self, tx):
            return tx.one("UPDATE generation SET number = number + 1 WHERE name = 'a' RETURNING number")[0]

    def together(tx, closures):
        calls.append(len(closures))
        if how == "it raises" and len(calls) < 2:
            raise RuntimeError
        return [closure(tx) for closure in closures]

    await database.write([], put("a", 1))
    writes = [database.write([], Counting(), together=together) for _ in range(3)]
    writes.append(database.write([], Counting()))
    writes += [database.write([], Counting(), together=together) for _ in range(2)]
    failing = database.write([], lambda tx: 1 // 0) if how == "another fails" else None
    # then each has its own answer, in the order in which they were asked
    assert await asyncio.gather(*writes) == [2, 3, 4, 5, 6, 7]
    assert calls[0] == 3
    if how == "it works":
        assert calls == [3, 2]
    if failing is not None:
        with pytest.raises(ZeroDivisionError):
            await failing
