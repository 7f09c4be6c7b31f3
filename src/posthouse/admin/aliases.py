"""Addresses that stand for others: add, look at, change, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import domain as domains
from posthouse.accounts.alias import Kind
from posthouse.accounts.directory import Directory
from posthouse.mail.address import canonical, parse_address
from posthouse.routing import Resolution, Router

if TYPE_CHECKING:
    from collections.abc import Iterable

    from posthouse.accounts.alias import Alias
    from posthouse.config import Config
    from posthouse.db import Database, Reader
    from posthouse.ports import Clock


async def add(
    database: Database, address: str, targets: Iterable[str], *, now: float, kind: Kind = Kind.ALIAS
) -> Alias:
    """A new alias. Raises AlreadyThere, NotAllowed."""
    wanted = list(targets)
    return await database.write([], lambda tx: aliases.add(tx, address, wanted, now=now, kind=kind))


async def every(database: Database, domain: str = "") -> list[Alias]:
    """All aliases, or those in `domain`, by address. Raises NoSuchEntry."""

    def look(reader: Reader) -> list[Alias]:
        return aliases.everything(reader, domains.show(reader, domain).name if domain else "")

    return await database.read(look)


async def show(database: Database, address: str) -> Alias:
    """One alias. Raises NoSuchEntry."""
    return await database.read(lambda reader: aliases.show(reader, address))


async def change(
    database: Database,
    address: str,
    *,
    kind: Kind | None = None,
    targets: Iterable[str] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> Alias:
    """Set the kind or all targets, or add and take away some. Raises NoSuchEntry, NotAllowed."""
    wanted = None if targets is None else list(targets)
    more, fewer = list(include), list(exclude)
    return await database.write(
        [],
        lambda tx: aliases.change(tx, address, kind=kind, targets=wanted, include=more, exclude=fewer),
    )


async def remove(database: Database, address: str) -> Alias:
    """Take an alias away. Raises NoSuchEntry."""
    return await database.write([], lambda tx: aliases.remove(tx, address))


async def doubts(database: Database, config: Config, clock: Clock, alias: Alias) -> list[str]:
    """What an administrator may not have meant about an alias, as sentences; empty where all is well."""
    found = []
    key = alias.address
    account = await database.read(lambda reader: accounts.find(reader, key))
    if account is not None and key not in map(canonical, alias.targets):
        found.append(f"The mailbox of the account {key} gets nothing any more, unless the alias names it.")
    if alias.kind is Kind.MOVED:
        return found
    answer = Router(Directory(database), config, clock).resolve(parse_address(key))
    resolution = answer if isinstance(answer, Resolution) else await answer
    for failure in resolution.failures:
        found.append(f"Mail to {failure.address} would be refused: {failure.reply}")
    if not resolution.finals and not resolution.failures:
        found.append(f"Mail to {key} would be refused: {resolution.reply}")
    return found
