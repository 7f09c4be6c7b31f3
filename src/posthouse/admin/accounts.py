"""Users with mailboxes: add, look at, change, give passwords, rename, remove."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import credential as credentials
from posthouse.accounts import domain as domains
from posthouse.accounts import scram
from posthouse.accounts.account import KEEP, Keep
from posthouse.accounts.password import hash_password, prepare
from posthouse.db.blobs import discard
from posthouse.queue.entries import in_queue
from posthouse.store import mailboxes
from posthouse.store.content import Contents
from posthouse.store.removal import BATCH, remove_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posthouse.accounts.account import Account
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId
    from posthouse.ports import Clock


class AccountReport(NamedTuple):
    """An account and what belongs to it."""

    account: Account
    aliases: tuple[str, ...]
    """Addresses that lead to it directly."""
    passwords: tuple[str, ...]
    """The labels of its credentials."""


async def add(
    database: Database,
    address: str,
    password: str | None,
    *,
    now: float,
    name: str = "",
    admin: bool = False,
    quota: int | None = None,
    shared: bool = False,
    mechanisms: Sequence[str] = (),
) -> Account:
    """A new account with its password and the usual mailboxes; without one, nobody can log in.

    `shared` as in `Account`. `mechanisms`: those that are offered; for SCRAM among them keys are kept. Raises
    AlreadyThere, NotAllowed, PasswordError.
    """
    secret, keys = ("", "") if password is None else await _hashed(password, mechanisms)

    def make(tx: Tx) -> Account:
        account = accounts.add(tx, address, now=now, name=name, admin=admin, quota=quota, shared=shared)
        if secret:
            credentials.set_secret(tx, account.id, secret, now=now, scram=keys)
        mailboxes.create_defaults(tx, account.id, now)
        return account

    return await database.write([], make)


async def every(database: Database, domain: str = "") -> list[Account]:
    """All accounts, or those in `domain`, by address. Raises NoSuchEntry."""

    def look(reader: Reader) -> list[Account]:
        return accounts.everything(reader, domains.show(reader, domain).name if domain else "")

    return await database.read(look)


async def show(database: Database, address: str) -> AccountReport:
    """One account. Raises NoSuchEntry."""

    def look(reader: Reader) -> AccountReport:
        account = accounts.show(reader, address)
        labels = tuple(credential.label for credential in credentials.of_account(reader, account.id))
        return AccountReport(account, tuple(aliases.naming(reader, account.address)), labels)

    return await database.read(look)


async def change(
    database: Database,
    address: str,
    *,
    now: float,
    password: str | None = None,
    new_address: str | None = None,
    name: str | None = None,
    admin: bool | None = None,
    active: bool | None = None,
    quota: int | Keep | None = KEEP,
    shared: bool | None = None,
    mechanisms: Sequence[str] = (),
) -> Account:
    """Set what is given, all or nothing.

    With a new address the mail stays, and aliases and catch-alls that name the old one name the new.
    `mechanisms` as for `add`. Raises NoSuchEntry, AlreadyThere, NotAllowed, PasswordError.
    """
    secret, keys = ("", "") if password is None else await _hashed(password, mechanisms)

    def make(tx: Tx) -> Account:
        account = accounts.change(
            tx, address, name=name, admin=admin, active=active, quota=quota, shared=shared
        )
        if secret:
            credentials.set_secret(tx, account.id, secret, now=now, scram=keys)
        return account if new_address is None else _rename(tx, account, new_address)

    return await database.write([], make)


async def remove(database: Database, address: str, clock: Clock) -> list[str]:
    """Remove an account and all its mail; returns the aliases and domains that still name it.

    From the first step on nobody reaches it; its mail goes in batches, and what an interruption
    leaves is removed by the next call. Raises NoSuchEntry, NotAllowed.
    """
    account = await database.write([], lambda tx: accounts.retire(tx, address))
    await clear_away(database, clock)
    removed = account.address
    return await database.read(
        lambda reader: [*aliases.naming(reader, removed), *domains.catching_by(reader, removed)]
    )


async def clear_away(database: Database, clock: Clock) -> None:
    """Delete what is left of all retired accounts."""
    kept = contents(clock)
    for account in await database.read(accounts.retired):
        left = True
        while left:
            left = await database.write([account], partial(_clear, kept, account), long=True)


def contents(clock: Clock) -> Contents:
    """The content of letters, for removals; bodies in the blob store are left to the housekeeping."""

    def remember(tx: Tx, names: Sequence[str]) -> None:
        for name in names:
            discard(tx, name, clock.now())

    return Contents(in_queue, remember)


def _clear(kept: Contents, account: AccountId, tx: Tx) -> bool:
    """One batch; whether something is left."""
    if remove_all(tx, kept, account, BATCH):
        return True
    accounts.forget(tx, account)
    return False


def _rename(tx: Tx, account: Account, new_address: str) -> Account:
    renamed = accounts.rename(tx, account.address, new_address)
    for alias in aliases.naming(tx, account.address):
        # An alias at the old address that means the mailbox there means the mailbox where it is now.
        aliases.change(tx, alias, include=[renamed.address], exclude=[account.address])
    for domain in domains.catching_by(tx, account.address):
        domains.change(tx, domain, catch_all=renamed.address)
    return renamed


async def _hashed(password: str, mechanisms: Sequence[str]) -> tuple[str, str]:
    prepared = prepare(password)
    return await asyncio.to_thread(lambda: (hash_password(prepared), scram.derive(prepared, mechanisms)))
