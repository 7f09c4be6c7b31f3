"""A runner on a real database, with a next hop that does as the test says and a clock that the test moves."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NamedTuple

import pytest

from posthouse.acceptance.bounces import Bounces
from posthouse.db import open_database
from posthouse.db.blobs import discard, open_blobs
from posthouse.journey import record
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import Notify
from posthouse.mail.ids import LetterIds
from posthouse.mail.outcome import Deferred, Delivered, Failed
from posthouse.mail.reply import Reply
from posthouse.outbound.send import Sent
from posthouse.queue import entries
from posthouse.queue.entries import NewEntry, QueueLetter
from posthouse.queue.schedule import Schedule
from posthouse.runner.recording import Recording
from posthouse.runner.runner import Runner
from posthouse.store import content as contents
from tests.databases import at_once, database_url, engine

PLACE = "mx.south.test[192.0.2.1]:25"
YES = Delivered(Reply(250, "2.0.0", "Ok"), PLACE)
LATER = Deferred(Reply(450, "4.2.0", "busy"), PLACE)
NO = Failed(Reply(550, "5.1.1", "no such user"), PLACE)
DATA = b"Subject: hello\r\nFrom: alice@north.test\r\n\r\nbody\r\n"


class Clock:
    def __init__(self) -> None:
        self.moment = 1.8e9

    def now(self) -> float:
        return self.moment


class Fresh(NamedTuple):
    letter: QueueLetter
    entries: list[NewEntry]
    content: MemoryContent
    leased_until: float


class Carrying:
    """A `runner.errand.Carry` that touches no account."""

    accounts = ()

    def __init__(self, carry) -> None:
        self.carry = carry

    def __call__(self, tx, entries):
        return self.carry(tx, entries)


class World:
    """One database, and as many runners as wanted."""

    def __init__(self, directory, database_url) -> None:
        self.url = database_url
        self.database = open_database(database_url, directory)
        self.look = at_once(self.database, database_url)
        self.blobs = open_blobs("file:blobs", directory)
        self.directory = directory
        self.clock = Clock()
        self.ids = LetterIds(1, lambda: int(self.clock.now() * 1000))
        self.jobs = []
        self.hops = []
        self.answer = lambda job: [YES] * len(job.recipients)
        self.dsn = False
        self.talks = True
        self.gate = None
        self.under_way = self.most_under_way = 0
        self.carry = None
        self.runners = []
        self.databases = [self.database]

    def runner(self, database=None, limit=20) -> Runner:
        database = database or self.database
        bounces = Bounces("mail.north.test", self.ids, lambda n: b"x" * n, 432_000, keep_journeys=True)
        release = contents.Contents(
            entries.in_queue, lambda tx, names: [discard(tx, name, self.clock.now()) for name in names]
        ).release
        recording = Recording(
            bounces,
            Schedule(300, 4000, 4 * 3600),
            database.holder,
            release,
            self.ids.new,
            lambda: 0.5,
            keep_journeys=True,
        )

        async def load(id):
            return await database.read(partial(contents.find, blobs=self.blobs, id=id), point=True)

        runner = Runner(
            database,
            self.clock,
            recording,
            send=self.send,
            prepare=self.prepare,
            load=load,
            destination_concurrency_limit=limit,
            port=25,
        )
        runner.start()
        self.runners.append(runner)
        return runner

    async def send(self, hop, job) -> Sent:
        self.hops.append(str(hop))
        self.jobs.append(job)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
            outcomes = self.answer(job)
        finally:
            self.under_way -= 1
        talk = ("dialogue", self.clock.now(), {"place": PLACE, "lines": [("C", "MAIL FROM:<a@b>", 0.1)]})
        return Sent(tuple(outcomes), (talk,) if self.talks else (), dsn=self.dsn)

    async def prepare(self, letter, sender, recipients, content):
        return Carrying(partial(self.carry, letter, sender, recipients, content))

    async def accept(
        self,
        *recipients,
        runner=None,
        sender="alice@north.test",
        hop="south.test",
        notify=0,
        due=None,
        parent=None,
    ):
        """What acceptance does: a letter in the queue, leased to the runner, and taken by it."""
        id = self.ids.new()
        content = MemoryContent(DATA)
        now = self.clock.now()
        letter = QueueLetter(
            id, sender, "7BIT", False, "", "", b"Received: r\r\n", id, 100, now, now + 5 * 86_400, parent
        )
        new = [
            NewEntry(n, recipient, int(notify), "", hop if isinstance(hop, str) else hop[n - 1])
            for n, recipient in enumerate(recipients, 1)
        ]
        database = runner._database if runner else self.database

        def write(tx):
            contents.put(tx, id, content.head, DATA[len(content.head) :], size=len(DATA))
            return entries.insert(
                tx, letter, new, due=now if due is None else due, holder=database.holder if runner else 0
            )

        until = await database.write([], write)
        if runner is not None:
            runner.take(Fresh(letter, new, content, until))
        return id

    async def until(self, condition) -> None:
        """Let everybody work until it is so."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 (rows of a database set no event)
                await asyncio.sleep(0.001)

    def queue(self):
        return self.look(
            lambda reader: reader.all(
                "SELECT letter, number, recipient, next_hop, attempts, due, reason, holder FROM queue_entry"
            )
        )

    def count(self, table) -> int:
        return self.look(lambda reader: reader.one(f"SELECT count(*) FROM {table}"))[0]

    def bounces(self):
        """(content, parent) of letters that we wrote."""
        return [
            (head + body, *rest)
            for head, body, *rest in self.look(
                lambda reader: reader.all(
                    "SELECT c.head, b.body, q.parent, q.sender, e.recipient FROM queue_letter q"
                    " JOIN content c ON c.id = q.content JOIN content_body b ON b.content = c.id"
                    " JOIN queue_entry e ON e.letter = q.id WHERE q.parent IS NOT NULL"
                )
            )
        ]

    def story(self, id) -> list[str]:
        """The kinds of step in a letter's journey."""
        journey = self.look(lambda reader: record.load(reader, id))
        return [] if journey is None else [record.KINDS[step[0]][0] for step in journey.steps]

    def steps(self, id, kind):
        journey = self.look(lambda reader: record.load(reader, id))
        return [step for step in journey.steps if step[0] == kind]


@pytest.fixture
async def world(tmp_path, database_url):
    world = World(tmp_path, database_url)
    yield world
    for runner in world.runners:
        await runner.stop(0.1)
    for database in world.databases:
        await database.close()
    await world.blobs.close()


__all__ = ["DATA", "LATER", "NO", "YES", "Notify", "World", "database_url", "engine"]
