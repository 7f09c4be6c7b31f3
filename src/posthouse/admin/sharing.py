"""Who else may do what in the mailboxes of an account (RFC 4314)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts
from posthouse.accounts import usage
from posthouse.accounts.problem import NotAllowed
from posthouse.admin.mailboxes import Desk, find
from posthouse.store import mailboxes, rights
from posthouse.store.notify import tell
from posthouse.store.rights import ANYONE, BadRights, How, Rights, TooManyEntries

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId

EVERYBODY = "anyone"
"""The users of the owner's domain."""


class Grant(NamedTuple):
    """What somebody may do, or may not."""

    user: str
    """An address, or `anyone`."""
    negative: bool
    """These rights are taken away, whatever else gives them."""
    rights: str


async def grants(database: Database, address: str, name: str) -> list[Grant]:
    """Who may do what in a mailbox, beside its owner. Raises NoSuchEntry, NotAllowed."""

    def look(reader: Reader) -> list[Grant]:
        owner, shared = find(reader, address, name)
        found = []
        for entry in rights.entries(reader, owner.id, shared.id):
            user = None if entry.grantee == ANYONE else accounts.by_id(reader, entry.grantee)
            if entry.grantee == ANYONE or user is not None:
                whom = EVERYBODY if user is None else user.address
                found.append(Grant(whom, entry.negative, rights.show(entry.rights)))
        return found

    return await database.read(look)


async def share(
    desk: Desk, address: str, name: str, user: str, letters: str, *, below: bool = False
) -> list[str]:
    """Give `user` (an address, or `anyone`) these rights in a mailbox, instead of what it had; the mailboxes.

    `letters` as of RFC 4314, with + or - before them to add or take away; empty: none at all. `below`: in
    all mailboxes below it too. Raises NoSuchEntry, NotAllowed.
    """
    now = int(desk.clock.now() * 1_000_000)
    how = How(letters[:1]) if letters[:1] in ("+", "-") else How.REPLACE
    wanted = _rights(letters.removeprefix(how.value))

    def change(tx: Tx) -> tuple[list[str], dict[AccountId, int]]:
        owner, shared = find(tx, address, name)
        grantee = _grantee(tx, user)
        if grantee == owner.id:
            raise NotAllowed(f"{owner.address} is the owner, who has all rights.")
        changed: list[str] = []
        heard = {grantee: now if grantee == ANYONE else usage.advance(tx, grantee)}
        inside = mailboxes.canonical_name(name) + mailboxes.SEPARATOR
        for box in mailboxes.every(tx, owner.id):
            if box.id == shared.id or (below and box.name.startswith(inside)):
                try:
                    heard[owner.id] = rights.change(tx, owner.id, box.id, grantee, False, how, wanted)
                except TooManyEntries:
                    raise NotAllowed(f"{box.name} is shared with too many users already.") from None
                changed.append(box.name)
        return changed, heard

    # Locked before they are changed: the accounts' rows come first, of whatever database.
    keys = await desk.database.read(
        lambda reader: (accounts.show(reader, address).id, _grantee(reader, user))
    )
    changed, heard = await desk.database.write([key for key in keys if key != ANYONE], change)
    tell(desk.run_directory, heard)
    return changed


def _rights(letters: str) -> Rights:
    try:
        return rights.parse(letters)
    except BadRights as problem:
        raise NotAllowed(
            f"{problem}.",
            "l: see it, r: read, s: mark as seen, w: other flags, i: put mail into it, t: mark as deleted,"
            " e: remove for good, k: make mailboxes below it, x: delete it, a: share it",
        ) from None


def _grantee(reader: Tx | Reader, user: str) -> AccountId:
    return ANYONE if user.lower() == EVERYBODY else accounts.show(reader, user).id
