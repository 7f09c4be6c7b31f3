"""A database with a directory in it, for the rooms that read one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

from posthouse.accounts import account, alias, domain
from posthouse.accounts.account import Account
from posthouse.accounts.alias import Kind
from posthouse.accounts.directory import Directory
from posthouse.config import Config, from_mapping
from posthouse.db import Database, Tx, open_database
from posthouse.mail.address import parse_address
from posthouse.routing import Resolution, Router
from tests.databases import AtOnce

T = TypeVar("T")


class Clock:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


class World:
    """A database, a clock, and the directory and router over them."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.path = directory
        self.clock = Clock()
        self.configure({})

    def configure(self, settings: dict[str, object]) -> Config:
        self.config = from_mapping({"hostname": "mail.example.org", **settings}, self.path)
        self.directory = Directory(self.database)
        self.router = Router(self.directory, self.config, self.clock)
        return self.config

    async def change(self, closure: Callable[[Tx], T]) -> T:
        return await self.database.write([], closure)

    async def add_domain(self, name: str, **settings: str) -> None:
        await self.change(lambda tx: domain.add(tx, name, now=self.clock.now(), **settings))

    async def add_account(self, address: str, *, admin: bool = False, name: str = "") -> Account:
        return await self.change(
            lambda tx: account.add(tx, address, now=self.clock.now(), admin=admin, name=name)
        )

    async def add_alias(self, address: str, *targets: str, kind: Kind = Kind.ALIAS) -> None:
        await self.change(lambda tx: alias.add(tx, address, targets, now=self.clock.now(), kind=kind))

    def resolve(self, address: str) -> Resolution:
        """Where the database answers at once."""
        resolution = self.router.resolve(parse_address(address))
        assert isinstance(resolution, Resolution), "this database does not answer at once"
        return resolution

    def finals(self, address: str) -> list[str]:
        """Where mail to `address` goes, as text; where the database answers at once."""
        return [str(final.address) for final in self.resolve(address).finals]

    async def resolved(self, address: str) -> Resolution:
        """On any database."""
        resolution = self.router.resolve(parse_address(address))
        return resolution if isinstance(resolution, Resolution) else await resolution

    async def leads_to(self, address: str) -> list[str]:
        """The same on any database, sorted."""
        resolution = await self.resolved(address)
        return sorted(str(final.address) for final in resolution.finals)


@asynccontextmanager
async def a_world(directory: Path, url: str, *, answers_at_once: bool = False) -> AsyncIterator[World]:
    """An empty directory of domains and accounts; `answers_at_once`: whatever the database is."""
    database = open_database(url, directory)
    try:
        yield World(cast(Database, AtOnce(database, url)) if answers_at_once else database, directory)
    finally:
        await database.close()
