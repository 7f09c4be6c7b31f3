"""Quota, asked before a letter comes: whether an account has room for it.

Only a hint, for the reply to RCPT; what counts is the condition of `usage.charge` in the transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from posthouse.accounts import account as accounts
from posthouse.accounts import usage

if TYPE_CHECKING:
    from posthouse.accounts.directory import Directory
    from posthouse.db import Database, Reader
    from posthouse.mail.envelope import AccountId


class Quota:
    """`default`: octets for accounts that have no limit of their own; 0: none."""

    def __init__(self, database: Database, directory: Directory, default: int) -> None:
        self._database = database
        self._directory = directory
        self._default = default

    def is_full(self, account: AccountId, octets: int) -> bool | Awaitable[bool]:
        """Whether so many octets more would exceed the account's limit."""
        limited = self._directory.recall(
            ("limited", account), lambda reader: self._is_limited(reader, account)
        )
        if isinstance(limited, bool):
            return self._look(account, octets) if limited else False
        return self._is_full_later(limited, account, octets)

    async def _is_full_later(self, limited: Awaitable[bool], account: AccountId, octets: int) -> bool:
        if not await limited:
            return False
        full = self._look(account, octets)
        return full if isinstance(full, bool) else await full

    def _is_limited(self, reader: Reader, account: AccountId) -> bool:
        found = accounts.by_id(reader, account)
        return found is not None and bool(self._default if found.quota is None else found.quota)

    def _look(self, account: AccountId, octets: int) -> bool | Awaitable[bool]:
        def look(reader: Reader) -> bool:
            try:
                used, allowed = usage.usage(reader, account, self._default)
            except usage.NoSuchAccount:
                return False
            return 0 < allowed < used + octets

        if self._database.immediate:
            return self._database.point(look)
        return self._database.read(look, point=True)
