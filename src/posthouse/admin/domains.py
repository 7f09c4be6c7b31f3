"""Domains whose mail is ours: add, look at, change, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import domain as domains

if TYPE_CHECKING:
    from posthouse.accounts.domain import Domain
    from posthouse.db import Database, Reader


class DomainReport(NamedTuple):
    """A domain and what lies in it."""

    domain: Domain
    accounts: int
    aliases: int


async def add(
    database: Database, name: str, *, now: float, catch_all: str = "", separator: str = "+"
) -> Domain:
    """Take mail for `name` from now on. Raises AlreadyThere, NotAllowed."""
    return await database.write(
        [], lambda tx: domains.add(tx, name, now=now, catch_all=catch_all, separator=separator)
    )


async def every(database: Database) -> list[DomainReport]:
    """All domains, by name."""

    def look(reader: Reader) -> list[DomainReport]:
        return [_report(reader, domain) for domain in domains.everything(reader)]

    return await database.read(look)


async def show(database: Database, name: str) -> DomainReport:
    """One domain. Raises NoSuchEntry."""
    return await database.read(lambda reader: _report(reader, domains.show(reader, name)))


async def change(
    database: Database, name: str, *, catch_all: str | None = None, separator: str | None = None
) -> Domain:
    """Set what is not None. Raises NoSuchEntry, NotAllowed."""
    return await database.write(
        [], lambda tx: domains.change(tx, name, catch_all=catch_all, separator=separator)
    )


async def remove(database: Database, name: str) -> Domain:
    """Take no more mail for a domain, which must be empty. Raises NoSuchEntry, NotAllowed."""
    return await database.write([], lambda tx: domains.remove(tx, name))


def _report(reader: Reader, domain: Domain) -> DomainReport:
    return DomainReport(
        domain,
        len(accounts.everything(reader, domain.name)),
        len(aliases.everything(reader, domain.name)),
    )
