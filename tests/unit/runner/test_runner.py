"""The runner: every entry gets one fate, and everybody concerned is told of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from posthouse.db import DatabaseAway, Overloaded, bump, open_database
from posthouse.journey import record
from posthouse.mail.envelope import Notify
from posthouse.mail.outcome import Delivered
from posthouse.mail.reply import OK
from posthouse.queue import entries, operations
from posthouse.queue.operations import Selection
from posthouse.runner import destinations
from posthouse.runner import runner as runner_module
from tests.unit.runner.conftest import DATA, LATER, NO, YES, Carrying

DAY = 86_400.0


async def test_a_fresh_letter_is_tried_at_once_and_leaves_nothing_behind(world):
    runner = world.runner()
    id = await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.count("queue_letter") == 0)
    (job,) = world.jobs
    assert job.prefix == b"Received: r\r\n"
    assert job.content.data == DATA
    assert str(job.sender.address) == "alice@north.test"
    assert [str(recipient.address) for recipient in job.recipients] == ["bob@south.test"]
    assert world.hops == ["south.test"]
    assert [world.count(table) for table in ("queue_entry", "content", "content_body")] == [0, 0, 0]
    assert world.story(id) == ["attempt", "delivered"]


async def test_recipients_of_one_next_hop_travel_together_and_others_apart(world):
    runner = world.runner()
    await world.accept(
        "a@south.test",
        "b@west.test",
        "c@south.test",
        runner=runner,
        hop=["south.test", "west.test", "south.test"],
    )
    await world.until(lambda: world.count("queue_letter") == 0)
    together = sorted(sorted(str(recipient.address) for recipient in job.recipients) for job in world.jobs)
    assert together == [["a@south.test", "c@south.test"], ["b@west.test"]]


async def test_a_deferred_letter_is_tried_again_when_it_is_due(world):
    runner = world.runner()
    world.answer = lambda job: [LATER]
    id = await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.queue() and world.queue()[0][4] == 1)
    assert world.queue() == [
        (id, 1, "bob@south.test", "south.test", 1, world.clock.now() + 300, "450 4.2.0 busy", 0)
    ]
    # Before it is due, nobody tries it;
    world.clock.moment += 299
    runner.wake()
    await runner._look()
    assert len(world.jobs) == 1
    # when it is, the content comes from the database.
    world.answer = lambda job: [YES]
    world.clock.moment += 1
    runner.wake()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert world.jobs[1].content.data == DATA
    assert world.story(id) == ["attempt", "deferred", "attempt", "delivered"]


async def test_over_five_days_a_letter_is_tried_warned_of_once_and_bounced_at_the_end(world):
    runner = world.runner()
    world.answer = lambda job: [LATER]
    id = await world.accept("bob@south.test", runner=runner)
    began = world.clock.now()

    async def carry(letter, sender, recipients, content):
        return Carrying(lambda tx, some: Carried([Delivered(OK)] * len(some)))

    world.prepare = runner._prepare = carry
    kept = []
    while True:
        mine = [row for row in world.queue() if row[0] == id]
        if not mine:
            break
        kept += [row for row in world.bounces() if row not in kept]
        if mine[0][7] == 0:
            world.clock.moment = max(world.clock.moment, mine[0][5])
            runner.wake()
        await asyncio.sleep(0.001)
    assert 100 < len(world.jobs) < 130
    assert began + 5 * DAY <= world.clock.now() < began + 5 * DAY + 4000
    story = world.story(id)
    assert story.count("delay-warning") == 1
    assert story.count("failed") == 1
    assert story.count("dsn-sent") == 2
    (failed,) = world.steps(id, record.FAILED)
    assert "5.4.7" in failed[4]
    assert "450 4.2.0 busy" in failed[4]


async def test_the_sender_is_told_of_a_failure_in_the_same_transaction(world):
    runner = world.runner()
    world.carry = lambda *_: pytest.fail("the bounce waits for its own turn")
    world.answer = lambda job: [NO]
    runner.wake = lambda: None
    id = await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.bounces())
    ((data, parent, sender, recipient),) = world.bounces()
    assert (parent, sender, recipient) == (id, "", "alice@north.test")
    assert b"550 5.1.1 no such user" in data
    assert b"mx.south.test" in data
    assert world.story(id) == ["attempt", "failed", "dsn-sent"]
    assert [row[0] for row in world.queue()] != [id]


@pytest.mark.parametrize(
    ("sender", "notify"),
    [("", Notify.UNSTATED), ("alice@north.test", Notify.NEVER), ("alice@north.test", Notify.SUCCESS)],
)
async def test_nobody_is_told_who_is_nobody_or_did_not_want_to_know(world, sender, notify):
    runner = world.runner()
    world.answer = lambda job: [NO]
    id = await world.accept("bob@south.test", runner=runner, sender=sender, notify=notify)
    await world.until(lambda: world.count("queue_letter") == 0)
    assert world.story(id) == ["attempt", "failed"]


@pytest.mark.parametrize(("dsn", "told"), [(False, True), (True, False)])
async def test_success_is_reported_unless_the_next_hop_will_do_it(world, dsn, told):
    runner = world.runner()
    world.dsn = dsn
    runner.wake = lambda: None
    id = await world.accept("bob@south.test", runner=runner, notify=Notify.SUCCESS)
    await world.until(lambda: id not in [row[0] for row in world.queue()])
    assert bool(world.bounces()) is told
    if told:
        assert b"Action: relayed" in world.bounces()[0][0]


async def test_each_recipient_has_a_fate_of_his_own(world):
    runner = world.runner()
    runner.wake = lambda: None
    world.answer = lambda job: [YES, LATER, NO]
    id = await world.accept("a@south.test", "b@south.test", "c@south.test", runner=runner)
    await world.until(lambda: world.bounces())
    assert [(row[1], row[4]) for row in world.queue() if row[0] == id] == [(2, 1)]
    assert world.count("content") == 2
    assert world.story(id) == ["attempt", "delivered", "deferred", "failed", "dsn-sent"]


async def test_when_nobody_answers_there_the_others_are_deferred_untried(world):
    runner = world.runner(limit=1)
    world.talks = False
    world.gate = asyncio.Event()
    world.answer = lambda job: [LATER] * len(job.recipients)
    for n in range(10):
        await world.accept(f"user{n}@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    world.gate.set()
    await world.until(lambda: all(row[4] == 1 and row[7] == 0 for row in world.queue()))
    assert len(world.jobs) == 1
    assert len(world.queue()) == 10


async def test_a_busy_answer_is_for_one_letter_only(world):
    runner = world.runner(limit=1)
    world.answer = lambda job: [LATER]
    for n in range(4):
        await world.accept(f"user{n}@south.test", runner=runner)
    await world.until(lambda: all(row[4] == 1 for row in world.queue()))
    assert len(world.jobs) == 4


async def test_no_more_attempts_at_one_destination_than_allowed(world):
    runner = world.runner(limit=7)
    world.gate = asyncio.Event()
    for n in range(60):
        await world.accept(f"user{n}@south.test", runner=runner)
    await world.accept("other@west.test", runner=runner, hop="west.test")
    await world.until(lambda: world.under_way == 8)
    world.gate.set()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert world.most_under_way == 8


async def test_a_destination_waits_for_a_place_but_not_for_ever(world, monkeypatch):
    monkeypatch.setattr(destinations, "WORKERS", 2)
    runner = world.runner()
    for n in range(12):
        await world.accept(f"u@d{n}.test", runner=runner, hop=f"d{n}.test")
    await world.until(lambda: world.count("queue_letter") == 0)
    assert world.most_under_way <= 2
    assert len(world.jobs) == 12


async def test_an_attempt_that_breaks_off_is_deferred_and_the_queue_goes_on(world):
    runner = world.runner()

    def answer(job):
        if str(job.recipients[0].address).startswith("bad"):
            raise ValueError("a defect")
        return [YES]

    world.answer = answer
    bad = await world.accept("bad@south.test", runner=runner)
    await world.accept("good@south.test", runner=runner)
    await world.until(lambda: [row[4] for row in world.queue()] == [1])
    assert world.queue()[0][0] == bad


async def test_a_worker_that_lost_its_lease_changes_nothing(world, monkeypatch):
    # Given an attempt under way while somebody else takes its entry over,
    runner = world.runner()
    world.gate = asyncio.Event()
    id = await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    await world.database.write([], lambda tx: tx.run("UPDATE queue_entry SET holder = 77"))
    # when the attempt ends well,
    world.gate.set()
    await world.until(lambda: world.story(id))
    # then the entry is theirs still, and the journey tells of our delivery.
    assert world.queue()[0][7] == 77
    assert world.story(id) == ["attempt", "delivered"]


async def test_the_final_dot_waits_for_a_lease_with_five_seconds_left(world, monkeypatch):
    runner = world.runner()
    world.gate = asyncio.Event()
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    (job,) = world.jobs
    now = runner_module.monotonic()
    assert job.may_finish()
    monkeypatch.setattr("posthouse.runner.errand.monotonic", lambda: now + 9)
    assert job.may_finish()
    monkeypatch.setattr("posthouse.runner.errand.monotonic", lambda: now + 11)
    assert not job.may_finish()
    # Renewed, it may.
    await world.database.write([], lambda tx: tx.run("UPDATE queue_entry SET lease = lease - 6"))
    await runner._renew()
    monkeypatch.setattr("posthouse.runner.errand.monotonic", lambda: now + 9.5)
    assert job.may_finish()
    world.gate.set()


async def test_what_is_too_old_to_begin_is_left_to_others(world, monkeypatch):
    runner = world.runner()
    now = runner_module.monotonic()
    monkeypatch.setattr("posthouse.runner.errand.monotonic", lambda: now + 11)
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: not runner._errands)
    assert world.jobs == []
    assert len(world.queue()) == 1


async def test_a_result_is_written_again_until_the_database_takes_it(world, monkeypatch):
    monkeypatch.setattr(runner_module, "AGAIN_SECONDS", 0.0)
    runner = world.runner()
    world.gate = asyncio.Event()
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    write, refused = world.database.write, []

    def sometimes(keys, closure, **more):
        if len(refused) < 3:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(Overloaded("for now"))
            refused.append(closure)
            return future
        return write(keys, closure, **more)

    monkeypatch.setattr(world.database, "write", sometimes)
    world.gate.set()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert len(refused) == 3
    assert len(world.jobs) == 1


async def test_an_outcome_stands_although_its_notification_cannot_be_written(world, monkeypatch):
    runner = world.runner()
    world.answer = lambda job: [NO]
    monkeypatch.setattr(runner._recording._bounces, "write", lambda *_: 1 / 0)
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.count("queue_letter") == 0)
    assert len(world.jobs) == 1


async def test_two_workers_try_each_entry_once(world, tmp_path):
    other = open_database(world.url, tmp_path)
    world.databases.append(other)
    for n in range(150):
        await world.accept(f"user{n}@south.test")
    runners = [world.runner(), world.runner(other)]
    for runner in runners:
        runner.wake()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert sorted(str(job.recipients[0].address) for job in world.jobs) == sorted(
        f"user{n}@south.test" for n in range(150)
    )


async def test_entries_of_a_dead_worker_are_taken_over(world):
    await world.accept("bob@south.test")
    await world.database.write(
        [], lambda tx: tx.run("UPDATE queue_entry SET holder = 77, lease = ?", (tx.now() - 1,))
    )
    world.runner()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert len(world.jobs) == 1


async def test_after_an_outage_holders_have_fifteen_seconds_for_their_results(world, monkeypatch):
    now, away, looks = [1000.0], [True], [0]
    next_due = runner_module.queue.next_due

    def look(reader):
        looks[0] += 1
        if away[0]:
            raise DatabaseAway("the server is gone")
        return next_due(reader)

    async def two_looks() -> None:
        """One may have begun before; the other one knows all."""
        begun = looks[0]
        await world.until(lambda: runner.wake() or looks[0] >= begun + 2)

    monkeypatch.setattr(runner_module, "monotonic", lambda: now[0])
    monkeypatch.setattr(runner_module.queue, "next_due", look)
    # Given an outage, in which another's lease runs out,
    runner = world.runner()
    await two_looks()
    await world.accept("bob@south.test")
    await world.database.write(
        [], lambda tx: tx.run("UPDATE queue_entry SET holder = 77, lease = ?", (tx.now() - 1,))
    )
    # when it is over, then he can still record what he did;
    away[0] = False
    await two_looks()
    now[0] += runner_module.AFTER_OUTAGE_SECONDS - 0.1
    await two_looks()
    assert [row[7] for row in world.queue()] == [77]
    # after that somebody else tries.
    now[0] += 0.2
    await world.until(lambda: runner.wake() or world.count("queue_letter") == 0)
    assert len(world.jobs) == 1


async def test_what_is_still_under_way_is_not_begun_twice_after_a_lost_lease(world):
    runner = world.runner()
    world.gate = asyncio.Event()
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    # Given that our own lease ran out, and that we ourselves claim the entry again,
    await world.database.write([], lambda tx: tx.run("UPDATE queue_entry SET holder = 0"))
    await runner._look()
    assert world.queue()[0][7] == world.database.holder
    # then the attempt under way is the only one, and it counts.
    assert world.under_way == 1
    world.gate.set()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert len(world.jobs) == 1


async def test_there_is_room_for_a_bounded_number(world, monkeypatch):
    monkeypatch.setattr(runner_module, "IN_HAND", 3)
    runner = world.runner()
    world.gate = asyncio.Event()
    for n in range(3):
        assert runner.has_room()
        await world.accept(f"user{n}@south.test", runner=runner)
    assert not runner.has_room()
    for n in range(5):
        await world.accept(f"more{n}@south.test")
    await runner._look()
    assert len(runner._errands) == 3
    # When there is room again, the rest follows without a poll.
    world.gate.set()
    await world.until(lambda: world.count("queue_letter") == 0)
    assert len(world.jobs) == 8


async def test_stopping_gives_back_what_waits_and_lets_what_is_under_way_finish(world):
    runner = world.runner(limit=1)
    world.gate = asyncio.Event()
    first = await world.accept("first@south.test", runner=runner)
    second = await world.accept("second@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    stopping = asyncio.ensure_future(runner.stop(10))
    await asyncio.sleep(0)
    assert not runner.has_room()
    world.gate.set()
    await stopping
    assert world.story(first) == ["attempt", "delivered"]
    assert [(row[0], row[4], row[7]) for row in world.queue()] == [(second, 0, 0)]


async def test_an_attempt_cut_off_by_stopping_is_deferred_and_journeyed(world):
    runner = world.runner()
    world.gate = asyncio.Event()
    id = await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    await runner.stop(0.0)
    assert [(row[0], row[4], row[7]) for row in world.queue()] == [(id, 1, 0)]
    assert world.story(id) == ["deferred"]


async def test_what_an_administrator_deleted_meanwhile_stays_deleted(world):
    runner = world.runner()
    world.gate = asyncio.Event()
    world.answer = lambda job: [LATER]
    await world.accept("bob@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    await world.database.write([], lambda tx: operations.delete(tx, Selection(), lambda tx, ids: None))
    world.gate.set()
    await world.until(lambda: not runner._errands)
    assert world.queue() == []


@dataclass
class Carried:
    """What a delivery here tells the runner."""

    outcomes: list
    steps: list = field(default_factory=list)
    after: object = lambda: None


async def test_delivery_here_happens_in_the_transaction_that_records_it(world):
    runner = world.runner()
    told = []

    def carry(letter, sender, recipients, content, tx, some):
        assert content.data == DATA
        assert [number for number, _ in recipients] == [1, 2]
        for _ in some:
            bump(tx, "delivered")
        return Carried(
            [Delivered(OK, "mailbox INBOX of bob@north.test"), None],
            after=lambda: told.append(world.database.generation("delivered")),
        )

    world.carry = carry
    id = await world.accept("bob@north.test", "list@north.test", runner=runner, hop=entries.LOCAL)
    await world.until(lambda: told)
    assert world.count("queue_letter") == 0
    assert world.jobs == []
    assert told == [2]
    assert world.story(id) == ["delivered"]


async def test_a_delivery_here_is_not_made_for_entries_that_are_lost(world):
    runner = world.runner()
    delivered = []

    async def prepare(letter, sender, recipients, content):
        await world.database.write(
            [], lambda tx: tx.run("UPDATE queue_entry SET holder = 77 WHERE number = 1")
        )

        def carry(tx, some):
            delivered.append([entry.number for entry in some])
            return Carried([Delivered(OK)] * len(some))

        return Carrying(carry)

    runner._prepare = prepare
    id = await world.accept("a@north.test", "b@north.test", runner=runner, hop=entries.LOCAL)
    await world.until(lambda: world.story(id))
    assert delivered == [[2]]
    assert [(row[1], row[7]) for row in world.queue()] == [(1, 77)]


async def test_a_delivery_here_that_fails_is_deferred_with_nothing_half_done(world):
    runner = world.runner()

    def carry(letter, sender, recipients, content, tx, some):
        tx.run("INSERT INTO generation (name, number) VALUES ('half', 1)")
        raise ValueError("a defect")

    world.carry = carry
    await world.accept("bob@north.test", runner=runner, hop=entries.LOCAL)
    await world.until(lambda: [row[4] for row in world.queue()] == [1])
    assert world.database.generation("half") == 0
