"""The collection against live uploads: two hosts store, commit, delete and collect at once, while days go by.

The clock is the tests' own; everything else is real. Each letter goes the way of a real one: its object is
stored, and some time later its row is committed, or never (a crash), or at the worst moment that there is:
when a collector has found that no row names the object, and is about to delete it.
"""

from __future__ import annotations

import asyncio
import random
from math import inf

import pytest

from posthouse.db import DatabaseAway, open_database
from posthouse.db import blobs as blobs_module
from posthouse.db.blobs import collect_remembered, collect_unnamed, discard, moment_of, open_blobs
from posthouse.store import content
from tests.databases import KEY, SECRET, object_store

MINUTE, HOUR = 60.0, 3600.0
HALF = 32
"""Octets of a letter."""
LETTERS = 4
"""New ones in each step, on each host."""
STEPS = 16
SKEW = 2 * MINUTE
"""Between the clocks of the hosts."""


class World:
    """What is true for all hosts."""

    def __init__(self, seed: int) -> None:
        self.now = 1_800_000_000.0
        self.chance = random.Random(seed)
        self.numbers = iter(range(1, 1_000_000))
        self.pending: dict[str, Letter] = {}
        self.committed: dict[str, Letter] = {}
        self.refused = 0
        self.raced = 0

    def new_name(self, skew: float) -> str:
        return f"{int((self.now + skew) * 1000):012x}{self.chance.randbytes(10).hex()}"


class Timed:
    """A `Tx` by the world's clock."""

    def __init__(self, tx, world: World) -> None:
        self._tx = tx
        self.now = lambda: world.now

    def __getattr__(self, name):
        return getattr(self._tx, name)


class Letter:
    """An object, and the row that may come to name it."""

    def __init__(self, host: Host, name: str, octets: bytes, due: float | None) -> None:
        self.host = host
        self.name = name
        self.octets = octets
        self.read = b""
        self.due = due
        """When its row is to be committed; None: when a collector is at its object, or never."""
        self.id = next(host.world.numbers)

    async def commit(self) -> None:
        world = self.host.world
        if world.pending.pop(self.name, None) is None:
            return  # another has

        def put(tx) -> None:
            content.put(Timed(tx, world), self.id, b"", None, size=len(self.octets), blob=self.name)

        try:
            await self.host.database.write([], put)
        except DatabaseAway:
            world.refused += 1
        else:
            world.committed[self.name] = self

    async def read_half_and_delete(self) -> None:
        """Somebody begins to read it, and then its row goes."""
        host = self.host
        del host.world.committed[self.name]
        self.read = await host.blobs.read(self.name, 0, HALF)

        def delete(tx) -> None:
            tx.run("DELETE FROM content WHERE id = ?", (self.id,))
            discard(tx, self.name, host.now())

        await host.database.write([], delete)

    async def read_the_rest(self) -> None:
        self.read += await self.host.blobs.read(self.name, HALF, HALF)
        assert self.read == self.octets


class Racing:
    """Blobs as a collector uses them, with others who are quicker just when it hurts."""

    def __init__(self, blobs, world: World) -> None:
        self._blobs = blobs
        self._world = world

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    async def delete(self, name: str) -> None:
        if letter := self._world.pending.get(name):
            self._world.raced += 1
            await letter.commit()
        await self._blobs.delete(name)


class Host:
    """One that takes letters and keeps house, without asking whether another does."""

    def __init__(self, world: World, database, blobs, skew: float) -> None:
        self.world = world
        self.database = database
        self.blobs = blobs
        self.skew = skew
        self.rounds = 0.0
        self.round_ended = asyncio.Event()

    def now(self) -> float:
        return self.world.now + self.skew

    async def take(self, number: int) -> None:
        """Store the object of a letter; what becomes of it is a matter of chance."""
        world = self.world
        octets = world.chance.randbytes(2 * HALF)
        path = self.blobs.spool_directory / f"{id(self)}-{number}"
        path.write_bytes(octets)
        due = world.chance.choice((0.0, 0.0, world.chance.uniform(0, 30 * HOUR), None))
        name = await self.blobs.store(path, world.new_name(self.skew))
        letter = Letter(self, name, octets, None if due is None else world.now + due)
        world.pending[name] = letter
        if due == 0.0:
            await letter.commit()

    async def collect(self) -> None:
        """Without end."""
        upto = ""
        blobs = Racing(self.blobs, self.world)
        try:
            while True:
                if self.rounds % 3 == 0:
                    upto = ""  # a new process, which knows of nothing that was looked at
                now = self.now()
                await collect_remembered(self.database, blobs, now)
                upto = (await collect_unnamed(self.database, blobs, now, content.named, upto)).upto
                self.rounds += 1
                self.round_ended.set()
        finally:
            self.rounds = inf  # nobody waits for one that has failed
            self.round_ended.set()

    async def a_whole_round(self) -> None:
        """Until one that has begun from now on has ended."""
        wanted = self.rounds + 2
        while self.rounds < wanted:
            self.round_ended.clear()
            await self.round_ended.wait()


@pytest.fixture
def url(engine, tmp_path, monkeypatch):
    """Of the objects: on files with SQLite, on S3 with PostgreSQL, as installations have them."""
    if engine == "sqlite":
        return "file:blobs"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return object_store().url(tmp_path.name)


@pytest.fixture
async def hosts(database_url, url, tmp_path, database):
    world = World(3522)
    hosts = []
    for skew in (0.0, SKEW):
        hosts.append(Host(world, open_database(database_url, tmp_path), open_blobs(url, tmp_path), skew))
    yield hosts
    for host in hosts:
        await host.database.close()
        await host.blobs.close()


async def what_is_there(host: Host) -> tuple[set[str], set[str], dict[str, float]]:
    """Objects, names in rows, and remembered ones with the time when they were."""
    objects = {name async for page in host.blobs.names_before(4e9) for name in page}
    rows, garbage = await host.database.read(
        lambda reader: (
            reader.all("SELECT blob FROM content WHERE blob IS NOT NULL"),
            reader.all("SELECT name, since FROM blob_garbage"),
        )
    )
    return objects, {name for (name,) in rows}, dict(garbage)


async def step(hosts: list[Host]) -> None:
    """Some letters come, some are committed, some are deleted under who reads them; then hours go by."""
    world = hosts[0].world
    due = [letter for letter in world.pending.values() if letter.due is not None and letter.due <= world.now]
    names = world.chance.sample(sorted(world.committed), min(3, len(world.committed)))
    deleted = [world.committed[name] for name in names]
    await asyncio.gather(
        *(host.take(number) for host in hosts for number in range(LETTERS)),
        *(letter.commit() for letter in due),
        *(letter.read_half_and_delete() for letter in deleted),
    )
    world.now += 50 * MINUTE
    await asyncio.gather(*(host.a_whole_round() for host in hosts))
    await asyncio.gather(*(letter.read_the_rest() for letter in deleted))
    world.now += world.chance.uniform(0.5, 9) * HOUR


async def nothing_is_lost_and_nothing_stays(hosts: list[Host]) -> None:
    """When each collector has been everywhere."""
    world = hosts[0].world
    then = world.now
    for host in hosts:
        await host.a_whole_round()
    objects, rows, garbage = await what_is_there(hosts[0])
    assert rows == set(world.committed)
    assert rows <= objects, "a committed row lacks its object"
    for name in objects - rows:
        if name in garbage:
            assert then - garbage[name] <= blobs_module.GRACE_SECONDS + SKEW
        else:
            assert then - moment_of(name) <= blobs_module.UNNAMED_SECONDS + SKEW


async def test_no_committed_row_ever_lacks_its_object_and_no_other_object_outlives_its_time(hosts):
    # Given two hosts that collect all the time, and letters of every fate,
    world = hosts[0].world
    collectors = [asyncio.ensure_future(host.collect()) for host in hosts]
    try:
        for _ in range(STEPS):
            await step(hosts)
            await nothing_is_lost_and_nothing_stays(hosts)
        # when all that was under way is over,
        world.now += 50 * HOUR
        await nothing_is_lost_and_nothing_stays(hosts)
    finally:
        for collector in collectors:
            collector.cancel()
        await asyncio.wait(collectors)
    assert all(collector.cancelled() for collector in collectors), collectors
    # then there is an object for each row, with its octets, and no other;
    objects, rows, garbage = await what_is_there(hosts[1])
    assert (objects, garbage) == (rows, {})
    for letter in world.committed.values():
        assert await hosts[1].blobs.read(letter.name, 0, 100) == letter.octets
    # and all of that has happened: rows came, came too late, and came just when the collector did.
    assert len(rows) > STEPS
    assert world.refused > STEPS / 2
    assert world.raced > 5
