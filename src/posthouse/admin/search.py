"""The full-text index of users' mail: how far it is, and have it made anew."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts
from posthouse.store import backlog as backlogs
from posthouse.store.backlog import Backlog
from posthouse.store.notify import is_served, tell

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.db import Database
    from posthouse.store.fulltext import FullText


class Index(NamedTuple):
    """The index, the mail that it is of, and where running workers are told."""

    database: Database
    fulltext: FullText
    run_directory: Path


async def progress(index: Index, address: str = "") -> dict[str, Backlog]:
    """How far the index of one account is, or of each, by address. Raises NoSuchEntry."""
    return {
        account.address: await backlogs.backlog(index.database, index.fulltext, account.id)
        for account in await _accounts(index, address)
    }


async def waiting(index: Index, address: str = "") -> int:
    """How many messages of one account are not in the index yet, or of all. Raises NoSuchEntry."""
    if address:
        return sum(found.waiting for found in (await progress(index, address)).values())
    return sum((await backlogs.waiting(index.database, index.fulltext)).values())


async def reindex(index: Index, address: str = "") -> None:
    """Forget the index of one account, or of all.

    A running server begins to make it anew at once, another one when it starts; until then searches read
    the messages. Raises NoSuchEntry.
    """
    fulltext = index.fulltext
    for account in await _accounts(index, address):
        left = True
        while left:
            left = await fulltext.database.write([], partial(fulltext.forget, account=account.id), long=True)
        tell(index.run_directory, {account.id: 0})


async def is_being_made(index: Index) -> bool:
    """Whether there is somebody who makes it: a worker of this host, or whoever is at it now."""
    return is_served(index.run_directory) or await backlogs.is_worked_on(index.database)


async def _accounts(index: Index, address: str) -> list[Account]:
    if address:
        return [await index.database.read(lambda reader: accounts.show(reader, address))]
    return await index.database.read(lambda reader: accounts.everything(reader, ""))
