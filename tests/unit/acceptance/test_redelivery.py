"""A queue entry for ourselves goes where the directory says now, not where it said when it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posthouse.acceptance.redelivery import Redelivery
from posthouse.accounts import account as accounts
from posthouse.accounts import domain as domains
from posthouse.db import open_database
from posthouse.mail.address import parse_address
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import Notify, Recipient, Sender
from posthouse.mail.outcome import Deferred, Delivered, Failed
from posthouse.mail.reply import MAILBOX_BUSY, MAILBOX_FULL, NO_SUCH_USER, RECIPIENT_OK
from posthouse.queue import entries as queue
from posthouse.queue.entries import LOCAL, Entry, NewEntry, QueueLetter
from posthouse.routing.route import Kind, Local, Remote, Resolution, Unknown
from posthouse.store import content as contents
from posthouse.store import mailboxes
from tests.databases import database_url, engine

__all__ = ["database_url", "engine"]

NOW = 1_800_000_000.0
DATA = b"Subject: hello\r\n\r\nhi\r\n"
CAROL = parse_address("carol@north.test")
FIRST_WAIT = 300.0


class Clock:
    def now(self) -> float:
        return NOW


class Directory:
    """A router that knows one answer."""

    answer: Resolution

    def resolve(self, address) -> Resolution:
        return self.answer


class World:
    """One database with the account alice and a letter for carol in the queue."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.database = open_database(database_url, directory)
        self.router = Directory()
        self.told: list[Any] = []
        self.ids = iter(range(1000, 2000))
        self.redelivery = Redelivery(
            self.router,
            Clock(),
            lambda: next(self.ids),
            mailbox_size_limit=0,
            first_wait=FIRST_WAIT,
            changed=lambda account, modseq: self.told.append(account),
            wake=lambda: self.told.append("wake"),
        )
        self.letter = QueueLetter(
            7, "dora@east.test", "7BIT", False, "", "", b"Received: x\r\n", 7, len(DATA), NOW, NOW + 9, last=3
        )

    async def fill(self, quota: int) -> None:
        def write(tx) -> None:
            domains.add(tx, "north.test", now=NOW)
            account = accounts.add(tx, "alice@north.test", now=NOW, quota=quota)
            mailboxes.create_defaults(tx, account.id, NOW)
            self.alice = Local(account.id, "alice@north.test")
            contents.put(tx, 7, b"Subject: hello\r\n\r\n", b"hi\r\n", size=len(DATA))
            queue.insert(tx, self.letter, [NewEntry(3, "carol@north.test", 0, "", LOCAL)], due=NOW, holder=1)

        await self.database.write([], write)

    async def deliver(self, *finals, failures=(), reply=RECIPIENT_OK):
        """What becomes of the entry when carol is this."""
        self.router.answer = Resolution(CAROL, Kind.ALIAS, finals, reply, (), tuple(failures))
        sender = Sender(parse_address("dora@east.test"))
        carry = await self.redelivery.prepare(
            self.letter, sender, [(3, Recipient(CAROL, Notify.FAILURE))], MemoryContent(DATA)
        )
        entry = Entry(7, 3, "carol@north.test", int(Notify.FAILURE), "", LOCAL, 0, False, "")
        carried = await self.database.write([], lambda tx: carry(tx, [entry]))
        carried.after()
        return carried

    async def rows(self, sql: str) -> list[tuple]:
        return await self.database.read(lambda reader: reader.all(sql))


@pytest.fixture
async def world(tmp_path: Path, database_url: str):
    world = World(tmp_path, database_url)
    await world.fill(quota=0)
    yield world
    await world.database.close()


QUEUED = "SELECT number, recipient, next_hop, due, notify FROM queue_entry WHERE number > 3"


async def test_a_recipient_here_gets_a_copy_and_who_watches_is_told(world: World) -> None:
    carried = await world.deliver(world.alice)

    assert carried.outcomes == [Delivered(carried.outcomes[0].reply, "mailbox INBOX of alice@north.test")]
    assert world.told == [world.alice.account]
    ((prefix,),) = await world.rows("SELECT prefix FROM email")
    assert prefix.endswith(b"Received: x\r\n")
    assert b"Delivered-To: alice@north.test" in prefix


async def test_a_recipient_who_has_moved_goes_on_to_the_other_server(world: World) -> None:
    carried = await world.deliver(Remote(parse_address("carol@south.test"), "south.test"))

    assert carried.outcomes == [None]
    assert await world.rows(QUEUED) == [(4, "carol@south.test", "south.test", NOW, int(Notify.FAILURE))]
    assert world.told == ["wake"]


async def test_what_still_cannot_be_stored_waits_on(world: World) -> None:
    carried = await world.deliver(failures=[Unknown(CAROL, MAILBOX_BUSY)], reply=MAILBOX_BUSY)

    assert carried.outcomes == [Deferred(MAILBOX_BUSY)]
    assert await world.rows(QUEUED) == []


async def test_a_recipient_who_is_gone_fails(world: World) -> None:
    carried = await world.deliver(reply=NO_SUCH_USER)

    assert carried.outcomes == [Failed(NO_SUCH_USER)]
    assert await world.rows("SELECT 1 FROM email") == []


async def test_of_several_each_gets_what_is_his_and_a_failure_is_told(world: World) -> None:
    await world.database.write([], lambda tx: accounts.change(tx, "alice@north.test", quota=10))
    remote = Remote(parse_address("dave@south.test"), "south.test")
    later = Unknown(parse_address("eve@north.test"), MAILBOX_BUSY)

    carried = await world.deliver(world.alice, remote, failures=[later])

    assert carried.outcomes == [Failed(MAILBOX_FULL)]
    assert [(row[0], row[1], row[2], row[3]) for row in await world.rows(QUEUED)] == [
        (4, "dave@south.test", "south.test", NOW),
        (5, "eve@north.test", LOCAL, NOW + FIRST_WAIT),
    ]
