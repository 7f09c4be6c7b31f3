"""Letters that are entered together end as they would have, one after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from posthouse.acceptance.bounces import Bounces
from posthouse.acceptance.fates import Copy, Forms
from posthouse.acceptance.letter import Letter, Plan, Store
from posthouse.acceptance.transaction import Committed, Entry, Lifetimes, Refused, Terms
from posthouse.db import Database, Tx, open_database
from posthouse.journey import record
from posthouse.mail.address import parse_address
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import AccountId, Client, LetterId, Notify, Recipient, Sender
from posthouse.mail.ids import LetterIds
from posthouse.store import mailboxes
from tests.databases import engine, fresh_url

__all__ = ["engine"]

NAMES = ("alice", "bob", "carol")
QUOTAS = (None, 3000, 900)


class _Standing:
    def now(self) -> float:
        return 1.8e9


class Office:
    """Where letters are entered into a database of its own."""

    def __init__(self, engine: str, directory: Path) -> None:
        directory.mkdir()
        self.database: Database = open_database(fresh_url(engine), directory)
        clock = _Standing()
        ids = LetterIds(2, lambda: 1)
        bounces = Bounces("mail.north.test", ids, random.Random(1).randbytes, 86400.0, keep_journeys=True)
        self.terms = Terms(clock, bounces, Lifetimes(1.0, 1.0, 1.0), 0, True, 1)
        self._ids = iter(range(1_000_000, 2_000_000))

    async def prepare(self) -> None:
        def fill(tx: Tx) -> None:
            for id, (name, quota) in enumerate(zip(NAMES, QUOTAS, strict=True), 1):
                tx.run(
                    "INSERT INTO account (id, address, quota, created) VALUES (?, ?, ?, 0)",
                    (id, f"{name}@north.test", quota),
                )
                mailboxes.create_defaults(tx, AccountId(id), 1e6)

        await self.database.write([], fill)

    def entry(self, id: int, size: int, places: list[tuple[int, str]], notify: Notify) -> Entry:
        """A letter of `size` octets for accounts 1 to 3, each with a mailbox."""
        content = MemoryContent(b"Subject: x\r\n\r\n" + b"x" * (size - 14))
        letter = Letter(LetterId(id), Sender(None), Client("local"), content, b"", 1.0)
        letter.steps.append(record.sender(1.0, "", size))
        fates = tuple(
            Store(
                number,
                Recipient(parse_address(f"{NAMES[account - 1]}@north.test"), notify),
                AccountId(account),
                f"{NAMES[account - 1]}@north.test",
                mailbox,
                b"",
            )
            for number, (account, mailbox) in enumerate(places, 1)
        )
        forms = Forms(b"(envelope)", b"(structure)")
        copy = Copy(id, content.size, 1.0, forms, lambda: next(self._ids))
        plan = Plan(fates, (), tuple((index,) for index in range(len(fates))))
        return Entry(self.terms, letter, plan, copy, "", b"", leased=False)

    def enter(self, entry: Entry) -> asyncio.Future[Committed]:
        return self.database.write(entry.plan.accounts, entry, together=entry.together)

    async def all(self, sql: str) -> list[Any]:
        return await self.database.read(lambda reader: reader.all(sql))

    async def state(self) -> dict[str, Any]:
        """Everything but modseqs, of which letters that are entered together share one."""
        steps = await self.all("SELECT id, part, steps FROM journey ORDER BY id, part")
        return {
            "accounts": await self.all("SELECT id, used FROM account ORDER BY id"),
            "messages": await self.all(
                "SELECT p.account, m.name, p.uid, p.size, e.content, e.envelope, e.bodystructure"
                " FROM placement p JOIN email e ON e.account = p.account AND e.id = p.email"
                " JOIN mailbox m ON m.account = p.account AND m.id = p.mailbox ORDER BY 1, 2, 3"
            ),
            "mailboxes": await self.all("SELECT account, name, uidnext FROM mailbox ORDER BY account, name"),
            "content": await self.all(
                "SELECT id, size, head, body FROM content JOIN content_body ON content = id ORDER BY id"
            ),
            "journeys": [(id, part, record.decode(bytes(stored))) for id, part, stored in steps],
            "new": await self.all("SELECT id FROM journey_new ORDER BY id"),
        }


@pytest.fixture
async def offices(engine: str, tmp_path: Path) -> AsyncIterator[tuple[Office, Office]]:
    both = Office(engine, tmp_path / "together"), Office(engine, tmp_path / "alone")
    for office in both:
        await office.prepare()
    yield both
    for office in both:
        await office.database.close()


@pytest.mark.parametrize("seed", range(8))
async def test_together_or_one_after_another_is_the_same(offices: tuple[Office, Office], seed: int) -> None:
    # given letters of all kinds; with even seeds none for a mailbox that is full or not there
    together, alone = offices
    chance = random.Random(seed)
    accounts = [1] if seed % 2 == 0 else [1, 2, 3]
    names = ["INBOX", "Archive"] if seed % 2 == 0 else ["INBOX", "INBOX", "Archive", "Lists"]
    letters = [
        (
            number,
            chance.randrange(20, 500),
            [
                (account, chance.choice(names))
                for account in chance.sample(accounts, chance.randint(1, len(accounts)))
            ],
            Notify.SUCCESS if chance.random() < 0.1 else Notify.NEVER,
        )
        for number in range(1, 40)
    ]
    # when
    at_once = await asyncio.gather(
        *[together.enter(together.entry(*letter)) for letter in letters], return_exceptions=True
    )
    in_turn = [
        (await asyncio.gather(alone.enter(alone.entry(*letter)), return_exceptions=True))[0]
        for letter in letters
    ]
    # then
    assert together.database.batches < alone.database.batches / 5  # type: ignore[attr-defined]
    assert [_answer(one) for one in at_once] == [_answer(one) for one in in_turn]
    assert await together.state() == await alone.state()


def _answer(done: Committed | BaseException) -> object:
    if isinstance(done, Committed):
        return done.answer, [account for account, _ in done.changed], done.queued, done.bounced
    assert isinstance(done, Refused)
    return done.answer
