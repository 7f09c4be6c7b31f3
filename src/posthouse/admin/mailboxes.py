"""The mailboxes of an account: look at them, make, delete and rename them, and what is subscribed.

All of it works with and without a running server. Sessions that have a mailbox selected learn of what
happens to it as they do of another client's commands: who looks at a deleted one is sent away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from posthouse.access import places
from posthouse.access.places import Visitor
from posthouse.accounts import account as accounts
from posthouse.accounts import usage
from posthouse.accounts.problem import AlreadyThere, NoSuchEntry, NotAllowed, no_such
from posthouse.admin.accounts import contents
from posthouse.store import mailboxes, removal, rights
from posthouse.store.mailboxes import (
    SEPARATOR,
    Mailbox,
    MailboxError,
    MailboxExists,
    MailboxNotFound,
    SpecialUse,
)
from posthouse.store.notify import tell

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId
    from posthouse.ports import Clock

T = TypeVar("T")


class MailboxReport(NamedTuple):
    """A mailbox with its numbers."""

    name: str
    messages: int
    unseen: int
    octets: int
    special: str
    """`\\Sent` …, or empty."""
    subscribed: bool
    shared: int
    """With how many users."""


async def every(database: Database, address: str) -> list[MailboxReport]:
    """The mailboxes of an account, INBOX first. Raises NoSuchEntry."""

    def look(reader: Reader) -> list[MailboxReport]:
        owner = accounts.show(reader, address)
        statuses = mailboxes.statuses(reader, owner.id)
        subscribed = mailboxes.subscriptions(reader, owner.id)
        found = []
        for box in mailboxes.every(reader, owner.id):
            status = statuses[box.name]
            grants = [entry for entry in rights.entries(reader, owner.id, box.id) if not entry.negative]
            found.append(
                MailboxReport(
                    box.name,
                    status.messages,
                    status.unseen,
                    status.size,
                    box.special,
                    box.name in subscribed,
                    len(grants),
                )
            )
        return found

    return await database.read(look)


class Desk(NamedTuple):
    """What a change needs: the database, the time, and where running workers are told."""

    database: Database
    clock: Clock
    run_directory: Path


async def create(
    desk: Desk, address: str, name: str, *, special: SpecialUse | None = None, subscribed: bool = False
) -> list[str]:
    """Make a mailbox, and those above it that are missing; their names.

    Raises NoSuchEntry, AlreadyThere, NotAllowed.
    """
    wanted = _new_name(name)

    def make(tx: Tx, owner: AccountId) -> list[str]:
        made = mailboxes.create(tx, owner, wanted, desk.clock.now(), special=special)
        if subscribed:
            mailboxes.subscribe(tx, owner, wanted)
        return [box.name for box in made]

    return await _change(desk, address, make)


async def delete(
    desk: Desk, address: str, name: str, *, with_messages: bool = False, below: bool = False
) -> dict[str, int]:
    """Delete a mailbox and its subscription; the messages that were in it, by name.

    `below`: those below it too, which stay otherwise. Where there are messages, only `with_messages`; they
    go in batches, and what an interruption leaves is removed by the server. Raises NoSuchEntry, NotAllowed.
    """

    def drop(tx: Tx, owner: AccountId) -> dict[str, int]:
        _, doomed = find(tx, address, name)
        dropped = {}
        for box in mailboxes.every(tx, owner) if below else [doomed]:
            if box.id != doomed.id and not box.name.startswith(doomed.name + SEPARATOR):
                continue
            messages = mailboxes.status(tx, owner, box.name).messages
            if messages and not with_messages:
                raise NotAllowed(
                    f"{box.name} holds {messages} messages.", "They go with it for good with --with-messages."
                )
            mailboxes.delete(tx, owner, box.name)
            mailboxes.unsubscribe(tx, owner, box.name)
            dropped[box.name] = messages
        return dropped

    dropped = await _change(desk, address, drop)
    owner = await desk.database.read(lambda reader: accounts.show(reader, address))
    kept = contents(desk.clock)
    while (
        await desk.database.write([owner.id], lambda tx: removal.sweep(tx, kept, owner.id), long=True)
        >= removal.BATCH
    ):
        pass
    return dropped


async def rename(desk: Desk, address: str, name: str, new_name: str) -> dict[str, str]:
    """Rename a mailbox and those below it, with their subscriptions; the old names and the new.

    INBOX gives its messages to the new mailbox, and stays. Raises NoSuchEntry, AlreadyThere, NotAllowed.
    """
    wanted = _new_name(new_name)

    def move(tx: Tx, owner: AccountId) -> dict[str, str]:
        _, box = find(tx, address, name)
        before = {box.id: box.name for box in mailboxes.every(tx, owner)}
        mailboxes.rename(tx, owner, box.name, wanted, desk.clock.now())
        if box.name == mailboxes.INBOX:
            return {box.name: wanted}
        after = {box.id: box.name for box in mailboxes.every(tx, owner)}
        moved = {old: after[id] for id, old in before.items() if after[id] != old}
        for old in mailboxes.subscriptions(tx, owner).intersection(moved):
            mailboxes.unsubscribe(tx, owner, old)
            mailboxes.subscribe(tx, owner, moved[old])
        return moved

    return await _change(desk, address, move)


async def set_special_use(desk: Desk, address: str, name: str, special: SpecialUse | None) -> str:
    """Say what a mailbox is for, None: nothing special; its name. Raises NoSuchEntry, NotAllowed."""

    def change(tx: Tx, owner: AccountId) -> str:
        _, box = find(tx, address, name)
        mailboxes.set_special_use(tx, owner, box.name, special)
        return box.name

    return await _change(desk, address, change)


async def subscribe(desk: Desk, address: str, name: str) -> str:
    """Let the programs of an account's user show a mailbox: its own, or one of others that it may see.

    `name` is what the user calls it; what is returned is its usual form. Raises NoSuchEntry, NotAllowed.
    """
    owner = await desk.database.read(lambda reader: accounts.show(reader, address))
    user = Visitor(owner.id, owner.address, desk.database)
    with _explained():
        at = await places.place(user, name)

    def change(tx: Tx, owner: AccountId) -> str:
        if not at.prefix:
            find(tx, address, at.name)
        else:
            places.find(tx, user, at, "l")
        mailboxes.subscribe(tx, owner, at.full)
        return at.full

    return await _change(desk, address, change)


async def unsubscribe(desk: Desk, address: str, name: str) -> str:
    """No longer, whether there is such a mailbox or not. Raises NoSuchEntry, NotAllowed."""
    with _explained():
        wanted = mailboxes.canonical_name(name)

    def change(tx: Tx, owner: AccountId) -> str:
        known = mailboxes.subscriptions(tx, owner)
        if wanted not in known:
            raise no_such("subscription", wanted, sorted(known), of=address)
        mailboxes.unsubscribe(tx, owner, wanted)
        return wanted

    return await _change(desk, address, change)


def find(reader: Tx | Reader, address: str, name: str) -> tuple[Account, Mailbox]:
    """An account and its mailbox. Raises NoSuchEntry, NotAllowed."""
    owner = accounts.show(reader, address)
    with _explained():
        found = mailboxes.find(reader, owner.id, mailboxes.canonical_name(name))
    if found is None:
        names = [box.name for box in mailboxes.every(reader, owner.id)]
        raise no_such("mailbox", name, names, of=owner.address)
    return owner, found


def _new_name(name: str) -> str:
    with _explained():
        wanted = mailboxes.canonical_name(name)
        places.require_own(wanted)
    return wanted


async def _change(desk: Desk, address: str, change: Callable[[Tx, AccountId], T]) -> T:
    """Make a change of an account, which its sessions are told of."""
    owner = await desk.database.read(lambda reader: accounts.show(reader, address))

    def closure(tx: Tx) -> tuple[T, int]:
        with _explained():
            return change(tx, owner.id), usage.advance(tx, owner.id)

    changed, modseq = await desk.database.write([owner.id], closure, long=True)
    tell(desk.run_directory, {owner.id: modseq})
    return changed


@contextmanager
def _explained() -> Iterator[None]:
    """What the store refuses, in the words of the other commands."""
    try:
        yield
    except MailboxExists as problem:
        raise AlreadyThere(f"{problem}.") from None
    except MailboxNotFound as problem:
        raise NoSuchEntry(f"{problem}.") from None
    except MailboxError as problem:
        raise NotAllowed(f"{problem}.") from None
