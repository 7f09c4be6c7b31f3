"""Ten clients change one mailbox at random, and a model beside them knows what must come of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time

from tests.clients.person import Person
from tests.imapclient import ImapClient, Told
from tests.servers import ServeProcess

CLIENTS = 10
SECONDS = 60
FEW = 40
"""Messages below which nobody deletes."""


class Model:
    """What was answered with OK, whoever did it."""

    def __init__(self) -> None:
        self.appended: dict[int, str] = {}
        """UID → subject."""
        self.gone: set[int] = set()
        self.moved: dict[int, int] = {}
        """UID in the Archive → UID it had."""
        self.keywords: dict[tuple[int, str], bool] = {}
        """Of each keyword only one client disposes, so that what it did last is what holds."""
        self.done = 0

    def mailbox(self) -> dict[int, frozenset[str]]:
        """UID → keywords."""
        alive = self.appended.keys() - self.gone
        has: dict[int, set[str]] = {uid: set() for uid in alive}
        for (uid, keyword), is_set in self.keywords.items():
            if is_set and uid in has:
                has[uid].add(keyword)
        return {uid: frozenset(keywords) for uid, keywords in has.items()}


class Worker:
    """One of the ten."""

    def __init__(self, number: int, told: Told, model: Model) -> None:
        self.keyword = f"$Number{number}"
        self.told = told
        self.model = model
        self.chance = random.Random(number)
        self.letters = 0

    async def work(self, until: float) -> None:
        acts = [self.append, self.store, self.store, self.store_many, self.delete, self.move,
                self.fetch, self.noop, self.idle, self.expunge]  # fmt: skip
        while time.monotonic() < until:
            await self.chance.choice(acts)()
            self.model.done += 1

    def one(self) -> int:
        """A UID that this client knows; 0: none."""
        known = [uid for uid in self.told.uids if uid]
        return self.chance.choice(known) if known else 0

    async def append(self) -> None:
        self.letters += 1
        subject = f"{self.keyword}/{self.letters}"
        letter = f"Subject: {subject}\r\n\r\nx\r\n"
        lines = await self.told.do(f"APPEND INBOX {{{len(letter)}+}}\r\n{letter}")
        found = re.search(r"\[APPENDUID \d+ (\d+)\]", lines[-1])
        assert found is not None
        self.model.appended[int(found[1])] = subject

    async def store(self) -> None:
        if uid := self.one():
            await self.store_these(uid, uid)

    async def store_many(self) -> None:
        if uid := self.one():
            await self.store_these(*sorted((uid, self.one())))

    async def store_these(self, first: int, last: int) -> None:
        add = self.chance.random() < 0.6
        await self.told.do(f"UID STORE {first}:{last} {'+' if add else '-'}FLAGS ({self.keyword})")
        for uid in range(first, last + 1):
            self.model.keywords[uid, self.keyword] = add

    async def delete(self) -> None:
        uid = self.one()
        if uid and len(self.told.uids) > FEW:
            await self.told.do(f"UID STORE {uid} +FLAGS (\\Deleted)")
            await self.told.do(f"UID EXPUNGE {uid}")
            self.model.gone.add(uid)

    async def expunge(self) -> None:
        """What others have marked; they are about to do so themselves."""
        await self.told.do("EXPUNGE")

    async def move(self) -> None:
        uid = self.one()
        if uid and len(self.told.uids) > FEW:
            lines = await self.told.do(f"UID MOVE {uid} Archive")
            self.model.gone.add(uid)
            for line in lines:
                if found := re.search(r"\[COPYUID \d+ (\d+) (\d+)\]", line):
                    self.model.moved[int(found[2])] = int(found[1])

    async def fetch(self) -> None:
        if self.told.uids:
            await self.told.do("FETCH 1:* (UID FLAGS)", expunges=False)

    async def noop(self) -> None:
        await self.told.do("NOOP")

    async def idle(self) -> None:
        """Hear a thing or two of the others, if there is any."""
        client = self.told.client
        client.send("i IDLE")
        while not (line := await client.line()).startswith("+"):
            self.told.hear(line, expunges=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                self.told.hear(await client.line(), expunges=True)
        client.send("DONE")
        while not (line := await client.line()).startswith("i OK"):
            self.told.hear(line, expunges=True)


async def test_ten_clients_change_one_mailbox_for_a_minute_and_all_see_the_same(
    server: ServeProcess, alice: Person
) -> None:
    model = Model()
    workers = []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(CLIENTS):
            client = ImapClient(server.address("imap")[1], alice.address, alice.password)
            told = Told(await stack.enter_async_context(client), resyncs=number % 2 == 1)
            if told.resyncs:
                await told.do("ENABLE QRESYNC")
            await told.select()
            workers.append(Worker(number, told, model))

        until = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.work(until))

        # What each was told, by and by, is what a question brings …
        views = []
        for worker in workers:
            told = worker.told
            await told.do("NOOP")
            known = list(zip(told.uids, told.flags, strict=True))
            await told.do("FETCH 1:* (UID FLAGS)", expunges=False)
            for (uid, flags), now in zip(known, zip(told.uids, told.flags, strict=True), strict=True):
                assert uid in (0, now[0])
                assert flags in (None, now[1])
            views.append(dict(zip(told.uids, told.flags, strict=True)))
    # … and the same for all, and what was answered with OK
    assert model.done > CLIENTS * 50
    assert all(view == views[0] for view in views)
    assert views[0] == model.mailbox()
    assert [str(subject) for subject in alice.subjects()] == [
        subject for uid, subject in sorted(model.appended.items()) if uid not in model.gone
    ]
    assert alice.subjects("Archive") == [model.appended[was] for _, was in sorted(model.moved.items())]
    assert len(set(model.moved.values())) == len(model.moved)
