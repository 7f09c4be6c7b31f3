"""Slots: no two processes have the same one, whatever their hosts, and ids differ because of it."""

from __future__ import annotations

import asyncio

import pytest_asyncio

from posthouse.db import open_database
from posthouse.db.slots import Slot
from posthouse.mail.ids import SLOTS, LetterIds
from tests.unit.db.conftest import database_url, engine

__all__ = ["database_url", "engine"]


@pytest_asyncio.fixture
async def processes(database_url, tmp_path):
    """Some processes on one database."""
    databases = [open_database(database_url, tmp_path) for _ in range(4)]
    yield databases
    for database in databases:
        await database.close()


def slots(processes, count: int):
    """A slot for each, and where the numbers appear."""
    numbers: list[list[int]] = [[] for _ in processes]
    return [
        Slot(database, count, seen.append) for database, seen in zip(processes, numbers, strict=True)
    ], numbers


async def expire(database) -> None:
    await database.write([], lambda tx: tx.run("UPDATE lease SET expires = ?", (tx.now() - 1,)))


async def test_processes_that_start_together_have_different_slots(processes):
    made, numbers = slots(processes, 4)
    await asyncio.gather(*(slot.keep() for slot in made))
    assert sorted(numbers) == [[0], [1], [2], [3]]


async def test_a_slot_is_kept_and_said_once(processes):
    made, numbers = slots(processes, SLOTS)
    for _ in range(3):
        await asyncio.gather(*(slot.keep() for slot in made))
    assert [len(seen) for seen in numbers] == [1] * 4


async def test_a_slot_that_was_given_up_is_free(processes):
    made, numbers = slots(processes, 4)
    await asyncio.gather(*(slot.keep() for slot in made))
    await made[2].give_up()
    next_one = Slot(processes[2], 4, numbers[2].append)
    await next_one.keep()
    assert numbers[2][0] == numbers[2][1]


async def test_who_was_away_for_too_long_takes_another(processes):
    (first, second, *_), numbers = slots(processes, 2)
    await first.keep()
    # Given that the lease of the first has expired, and that another has taken its slot,
    await expire(processes[0])
    while numbers[1] != numbers[0]:
        await second.give_up()
        numbers[1].clear()
        second = Slot(processes[1], 2, numbers[1].append)
        await second.keep()
    # when it comes back, then it has another one.
    await first.keep()
    assert sorted(numbers[0]) == [0, 1]
    await second.keep()
    assert len(numbers[1]) == 1


async def test_who_was_away_and_is_not_missed_keeps_his(processes):
    (first, *_), numbers = slots(processes, SLOTS)
    await first.keep()
    await expire(processes[0])
    await first.keep()
    assert len(numbers[0]) == 1


async def test_more_processes_than_slots_start_all_the_same(processes):
    made, numbers = slots(processes, 2)
    await asyncio.gather(*(slot.keep() for slot in made))
    assert {0, 1} <= {number for seen in numbers for number in seen}
    assert all(numbers)


async def test_ids_of_processes_that_start_in_the_same_millisecond_differ(processes):
    made = []
    makers = []
    for database in processes:
        ids = LetterIds(0, lambda: 1_800_000_000_000)
        makers.append(ids)
        made.append(Slot(database, SLOTS, ids.move))
    await asyncio.gather(*(slot.keep() for slot in made))
    drawn = [ids.new() for ids in makers for _ in range(10_000)]
    assert len(set(drawn)) == len(drawn)
