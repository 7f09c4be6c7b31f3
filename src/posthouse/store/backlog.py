"""How far the full-text index is: the messages of which it knows nothing yet, which searches read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import usage
from posthouse.db import leases
from posthouse.store import mailboxes, read
from posthouse.store.fulltext import LEASE

if TYPE_CHECKING:
    from posthouse.db import Database, Reader
    from posthouse.mail.envelope import AccountId
    from posthouse.store.fulltext import FullText

_ACCOUNTS = 1000


class Backlog(NamedTuple):
    """Of one account. A message that lies in two mailboxes counts twice, as it does for IMAP."""

    messages: int
    """All of them."""
    waiting: int
    """Those that are not in the index yet."""


async def backlog(database: Database, fulltext: FullText, account: AccountId) -> Backlog:
    """How far the index of an account is. Raises DatabaseError."""
    marks = await fulltext.database.read(lambda reader: fulltext.marks(reader, account))

    def look(reader: Reader) -> Backlog:
        waiting = sum(
            read.count_between(reader, account, mailbox, (marks.get(mailbox, 1), uidnext))
            for mailbox, uidnext in mailboxes.uidnexts(reader, account)
            if marks.get(mailbox, 1) < uidnext
        )
        return Backlog(read.count_placed(reader, account), waiting)

    return await database.read(look)


async def waiting(database: Database, fulltext: FullText) -> dict[AccountId, int]:
    """How many messages of which accounts are not in the index yet. Raises DatabaseError.

    Accounts that have not changed since they were looked at cost nothing.
    """
    found: dict[AccountId, int] = {}
    last = -1
    while page := await database.read(partial(usage.page, after=last, limit=_ACCOUNTS)):
        last = page[-1][0]
        looked_at = partial(fulltext.looked_at, accounts=[account for account, _ in page])
        known = await fulltext.database.read(looked_at)
        for account, modseq in page:
            if known.get(account) != modseq:
                found[account] = (await backlog(database, fulltext, account)).waiting
    return {account: messages for account, messages in found.items() if messages}


async def is_worked_on(database: Database) -> bool:
    """Whether somebody is filling the index just now. Raises DatabaseError."""
    return await database.read(lambda reader: leases.ends(reader, LEASE) > reader.now(), point=True)
