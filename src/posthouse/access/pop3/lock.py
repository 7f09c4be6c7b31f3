"""One session per maildrop, on whatever host (RFC 1939 §4): a lease, renewed while the session lives."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from posthouse.db import DatabaseError, leases

if TYPE_CHECKING:
    from posthouse.db import Database
    from posthouse.mail.envelope import AccountId


class MaildropLock:
    """The lock of one session on one mailbox of an account. Make it, `take` it once, `release` it.

    Who holds it and dies without `release` loses it after `leases.LEASE_SECONDS`.
    """

    def __init__(self, database: Database, account: AccountId, mailbox: int) -> None:
        self._database = database
        self._name = f"pop3/{account}/{mailbox}"
        self._holder = secrets.randbits(62) | 1
        self._renewing: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Whether it is ours now. Raises DatabaseError."""
        if not await self._take():
            return False
        self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="maildrop lock")
        return True

    async def release(self) -> None:
        """Let the next session in at once; where the database is away, the lease runs out."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        name, holder = self._name, self._holder
        try:
            await self._database.write([], lambda tx: leases.give_up(tx, name, holder))
        except DatabaseError:
            return

    async def _take(self) -> bool:
        name, holder = self._name, self._holder
        return await self._database.write([], lambda tx: leases.take(tx, name, holder))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(leases.RENEW_SECONDS)
            try:
                await self._take()
            except DatabaseError:
                continue
