"""An account on either database, and what lies in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from posthouse.accounts import account as accounts
from posthouse.accounts import domain as domains
from posthouse.admin.exchange.bring import Outcome, Place, Wishes, bring
from posthouse.admin.exchange.folders import Source
from posthouse.admin.exchange.take import Target, take
from posthouse.db import open_database
from posthouse.db.blobs import open_blobs
from posthouse.store import mailboxes, read, snapshot
from posthouse.store.read import Column
from posthouse.store.uids import ALL
from tests.databases import database_url, engine

__all__ = ["database_url", "engine"]

NOW = 1_700_000_000.0
IDS = itertools.count(1)


class Quiet:
    def stage(self, name: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


class Account:
    """One account of ours."""

    def __init__(self, database, blobs, id: int) -> None:
        self.database, self.blobs, self.id = database, blobs, id
        self.place = Place(database, blobs, IDS.__next__, lambda: NOW, 0)

    async def bring(self, source: Source, **wishes) -> Outcome:
        try:
            return await bring(source, self.place, self.id, "alice@north.test", Wishes(**wishes), Quiet())
        finally:
            await source.close()

    async def take(self, target: Target, *only: str) -> dict[str, int]:
        return await take(target, self.database, self.blobs, self.id, only, Quiet())

    async def everything(self) -> dict[str, list[tuple]]:
        """Each mailbox that is not empty: UID, flags, keywords, internal date and octets of each message."""
        found = {}
        for mailbox in await self.database.read(lambda reader: mailboxes.every(reader, self.id)):
            view, dates, messages = await self.database.read(
                lambda reader, id=mailbox.id: (
                    snapshot.take(reader, self.id, id),
                    dict(read.fetch(reader, self.id, id, ALL, [Column.UID, Column.ARRIVED])),
                    read.messages(reader, self.blobs, self.id, id, ALL),
                )
            )
            if len(view):
                found[mailbox.name] = [
                    (
                        *(entry.uid, entry.flags, entry.keywords, dates[entry.uid]),
                        b"".join([piece async for piece in message.chunks()]),
                    )
                    for entry, (_, message) in zip(map(view.entry, range(len(view))), messages, strict=True)
                ]
        return found

    async def uidvalidity(self, name: str = "INBOX") -> int:
        found = await self.database.read(lambda reader: mailboxes.find(reader, self.id, name))
        return found.uidvalidity

    async def write(self, closure: Callable) -> None:
        await self.database.write([self.id], closure)


@pytest.fixture
async def make_account(database_url: str, tmp_path: Path):
    database = open_database(database_url, tmp_path)
    blobs = open_blobs("file:blobs", tmp_path)
    names = itertools.count(1)

    async def make() -> Account:
        name = f"user{next(names)}@north.test"

        def closure(tx):
            if name.startswith("user1@"):
                domains.add(tx, "north.test", now=NOW)
            account = accounts.add(tx, name, now=NOW)
            mailboxes.create_defaults(tx, account.id, NOW)
            return account.id

        return Account(database, blobs, await database.write([], closure))

    yield make
    await blobs.close()
    await database.close()


@pytest.fixture
async def account(make_account) -> Account:
    return await make_account()
