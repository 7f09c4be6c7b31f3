"""While the mail moves to another database no attempt is begun, and those under way are finished."""

from __future__ import annotations

import asyncio

from posthouse.db import bump
from posthouse.db.generations import STANDSTILL
from posthouse.queue import entries
from tests.unit.runner.conftest import World


async def bumped(world: World, runner) -> None:
    """Change the generation and have the runner look."""
    before = world.database.generation(STANDSTILL)
    await world.database.write([], lambda tx: bump(tx, STANDSTILL))
    await world.until(lambda: world.database.generation(STANDSTILL) > before)
    await runner._look()


async def test_nothing_is_begun_what_waits_goes_back_and_what_is_under_way_is_recorded(world):
    runner = world.runner(limit=1)
    world.gate = asyncio.Event()
    await world.accept("a@south.test", runner=runner)
    await world.until(lambda: world.under_way == 1)
    await world.accept("b@south.test", runner=runner)

    await bumped(world, runner)

    assert not runner.has_room()
    held = {row[2]: row[7] != 0 for row in world.queue()}
    assert held == {"a@south.test": True, "b@south.test": False}
    await world.accept("c@south.test")
    await runner._look()
    world.gate.set()
    await world.until(lambda: {row[2] for row in world.queue()} == {"b@south.test", "c@south.test"})
    await runner._look()
    assert len(world.jobs) == 1
    assert world.look(entries.in_hand) == 0

    await bumped(world, runner)
    assert runner.has_room()
    await world.until(lambda: world.count("queue_entry") == 0)
