"""Two hosts at one letter at the same moment: what one still needs the other does not take away."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from posthouse.acceptance.redelivery import Carried
from posthouse.db import open_database
from posthouse.queue import entries, operations
from posthouse.queue.operations import Selection
from posthouse.store import content as contents
from tests.databases import only_postgresql, postgres
from tests.servers import until
from tests.unit.runner.conftest import YES

pytestmark = only_postgresql


@pytest.fixture
async def other(world, tmp_path):
    """The database as another host has it."""
    database = open_database(world.url, tmp_path)
    world.databases.append(database)
    return database


def release(tx, ids) -> int:
    return contents.Contents(entries.in_queue, lambda tx, names: None).release(tx, ids)


def somebody_waits() -> bool:
    """Whether a connection waits for a lock."""
    from posthouse.db.postgres_session import PostgresSession

    session = PostgresSession(postgres().url)
    session.open()
    (number,) = session.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    session.close()
    return bool(number)


async def test_what_an_administrator_deletes_while_it_is_delivered_is_whole_or_gone(world, other):
    # Given a host in the middle of delivering a letter into a mailbox,
    begun = threading.Event()
    deleted = []

    def carry(letter, sender, recipients, content, tx, some):
        begun.set()
        # while the administrator deletes it on another host, which gets as far as it can,
        until(lambda: deleted or somebody_waits(), what="the deletion, or its wait for a lock")
        tx.run(
            "INSERT INTO email (account, id, content, arrived, size, envelope, bodystructure, prefix)"
            " VALUES (1, 1, ?, 0, 1, ?, ?, ?)",
            (letter.content, b"", b"", b""),
        )
        return Carried([YES] * len(some), [], lambda: None)

    world.carry = carry
    runner = world.runner()
    await world.accept("bob@north.test", hop="local", runner=runner)
    await asyncio.to_thread(begun.wait, 20)
    operation = partial(operations.delete, selection=Selection(), release_content=release)
    done = other.write([], operation)
    done.add_done_callback(deleted.append)
    await done
    await world.until(lambda: not runner._errands)
    # then there is a message with its content, or neither.
    assert world.count("queue_letter") == world.count("queue_entry") == 0
    assert world.count("email") == world.count("content") == world.count("content_body")


async def test_of_two_that_finish_the_last_entries_of_a_letter_one_takes_it_away(world, other):
    for _ in range(20):
        # Given a letter to two, each in the hands of another host,
        id = await world.accept("bob@south.test", "carol@south.test")
        await world.database.write(
            [], lambda tx, id=id: tx.run("UPDATE queue_entry SET holder = number WHERE letter = ?", (id,))
        )
        met = threading.Barrier(2)

        def finish(tx, number, id=id, met=met):
            assert entries.finish(tx, id, number, number)
            if not met.broken:
                try:
                    met.wait(10)
                except threading.BrokenBarrierError:
                    pass
            return entries.leave(tx, id, release)

        # when both finish at the same moment,
        left = await asyncio.gather(
            world.database.write([], partial(finish, number=1)), other.write([], partial(finish, number=2))
        )
        # then one of them, and only one, takes letter and content away.
        assert sorted(left) == [False, True]
        assert world.count("queue_letter") == world.count("content") == world.count("content_body") == 0


async def test_of_two_that_let_go_of_the_last_copies_one_deletes_the_content(world, other):
    for _ in range(20):
        # Given a content that two accounts share,
        id = world.ids.new()

        def share(tx, id=id):
            contents.put(tx, id, b"A: b\r\n\r\n", b"body", size=12)
            for account in (1, 2):
                tx.run(
                    "INSERT INTO email (account, id, content, arrived, size, envelope, bodystructure, prefix)"
                    " VALUES (?, 1, ?, 0, 1, ?, ?, ?)",
                    (account, id, b"", b"", b""),
                )

        await world.database.write([], share)
        met = threading.Barrier(2)

        def let_go(tx, account, id=id, met=met):
            assert tx.count("DELETE FROM email WHERE account = ? AND id = 1", (account,)) == 1
            met.wait(10)
            return release(tx, (id,))

        # when both delete theirs at the same moment, then the content goes, once.
        gone = await asyncio.gather(
            world.database.write([], partial(let_go, account=1)), other.write([], partial(let_go, account=2))
        )
        assert sorted(gone) == [0, 1]
        assert world.count("content") == world.count("content_body") == 0
