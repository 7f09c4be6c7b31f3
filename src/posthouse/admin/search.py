"""The full-text index of users' mail: have it made anew."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from posthouse.accounts import account as accounts

if TYPE_CHECKING:
    from posthouse.db import Database
    from posthouse.store.fulltext import FullText


async def reindex(database: Database, fulltext: FullText, address: str = "") -> None:
    """Forget the index of one account, or of all.

    The server makes it anew, beginning within a minute; until then searches read the messages. Raises
    NoSuchEntry.
    """
    if address:
        found = [await database.read(lambda reader: accounts.show(reader, address))]
    else:
        found = await database.read(lambda reader: accounts.everything(reader, ""))
    for account in found:
        left = True
        while left:
            left = await fulltext.database.write([], partial(fulltext.forget, account=account.id), long=True)
