"""Places: what a mailbox's name means to a user, and what he may do there (RFC 2342, RFC 4314).

His own mailboxes have no prefix; those of others are `Other Users/alice@example.org/Projects`, those of
shared accounts `Shared/info@example.org/INBOX`. Where he has no right `l` there is nothing at all as far
as he is told: the answer is the same whether mailbox and account are there or not.

Rights are looked at in the transaction that needs them. The owner has all, and costs no look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from posthouse.accounts import account as accounts
from posthouse.accounts.account import State
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.store import mailboxes, rights
from posthouse.store.flags import ALL_FLAGS, Flag
from posthouse.store.mailboxes import SEPARATOR, Mailbox, MailboxError, MailboxNotFound, canonical_name
from posthouse.store.rights import ANYONE, EVERY, NONE, Entry, Rights

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId

T = TypeVar("T")

OTHERS = "Other Users"
SHARED = "Shared"


class User(Protocol):
    """Who has logged in, whatever the protocol."""

    @property
    def account(self) -> AccountId: ...
    @property
    def login(self) -> str:
        """The address of the account."""

    async def read(self, fn: Callable[[Reader], T]) -> T:
        """What `fn` finds; for what takes well under a millisecond."""


class Visitor(NamedTuple):
    """A user, where there is nothing more to know of."""

    account: AccountId
    login: str
    database: Database

    async def read(self, fn: Callable[[Reader], T]) -> T:
        return await self.database.read(fn, point=True)


class NoPermission(MailboxError):
    """The user lacks a right."""

    code = "NOPERM"


class Missing(MailboxNotFound):
    """There is no such mailbox, as far as the user is told."""


class MayBeCreated(Missing):
    """There is no mailbox of his own to put messages into; he may make it (RFC 3501 §6.3.11)."""

    code = "TRYCREATE"


class Place(NamedTuple):
    """A name, whether there is a mailbox or not."""

    account: AccountId | None
    """Whose; None where there is no such account."""
    name: str
    """The canonical name within the account."""
    prefix: str
    """What stands before it on the wire; empty for the user's own."""

    @property
    def full(self) -> str:
        """The name as the user says it."""
        return self.prefix + self.name


class Found(NamedTuple):
    """A mailbox that is there."""

    account: AccountId
    """Whose."""
    mailbox: Mailbox
    rights: Rights
    """The user's."""


class Foreign(NamedTuple):
    """A mailbox of somebody else that the user may see."""

    account: AccountId
    mailbox: Mailbox
    """With the name that it has for the user."""
    rights: Rights


async def place(user: User, name: str) -> Place:
    """What the name in a command means. Raises BadMailboxName."""
    parts = _split(name)
    if parts is None:
        return Place(user.account, canonical_name(name), "")
    own = canonical_name(name)
    if await user.read(lambda reader: mailboxes.exists(reader, user.account, own)):
        return Place(user.account, own, "")  # made by an older version, which had no such names
    space, address, inner = parts
    inner = canonical_name(inner) if inner else ""
    try:
        address = canonical(parse_address(address))
    except AddressError:
        return Place(None, inner, f"{space}/{address}/")
    owner = await user.read(lambda reader: accounts.find(reader, address))
    there = owner is not None and owner.state is not State.RETIRED and _space(owner) == space
    return Place(owner.id if owner is not None and there else None, inner, f"{space}/{address}/")


def _split(name: str) -> tuple[str, str, str] | None:
    """Namespace, address and the name there, of a name that is not the user's own."""
    space, _, rest = name.partition(SEPARATOR)
    address, _, inner = rest.partition(SEPARATOR)
    return (space, address, inner) if space in (OTHERS, SHARED) and "@" in address else None


def _space(owner: Account) -> str:
    return SHARED if owner.shared else OTHERS


def find(reader: Tx | Reader, user: User, at: Place, needed: str) -> Found:
    """The mailbox, with the rights `needed` (each of them). Raises Missing, NoPermission."""
    found = look(reader, user, at)
    if found is None:
        raise Missing(f"There is no mailbox {at.full}")
    require(found.rights, needed, at.full)
    return found


def find_any(reader: Tx | Reader, user: User, at: Place, enough: str) -> Found:
    """The mailbox, with one of the rights in `enough` at least. Raises Missing."""
    found = look(reader, user, at)
    if found is None or not found.rights.intersection(enough):
        raise Missing(f"There is no mailbox {at.full}")
    return found


def require(held: Rights, needed: str, name: str) -> None:
    """Refuse where a right is lacking; who lacks `l` too is not told that the mailbox is there (§6)."""
    if held.issuperset(needed):
        return
    if "l" not in held:
        raise Missing(f"There is no mailbox {name}")
    raise NoPermission(f"You have no permission to do that with {name}")


def look(reader: Tx | Reader, user: User, at: Place) -> Found | None:
    """The mailbox, whatever the rights; None where there is none."""
    if at.account is None or not at.name:
        return None
    mailbox = mailboxes.find(reader, at.account, at.name)
    if mailbox is None:
        return None
    return Found(at.account, mailbox, held(reader, user, at.account, mailbox.id))


def held(reader: Tx | Reader, user: User, account: AccountId, mailbox: int) -> Rights:
    """What the user may do in a mailbox."""
    if account == user.account:
        return EVERY
    owner = accounts.by_id(reader, account)
    if owner is None or owner.state is State.RETIRED:
        return NONE
    grantees = (user.account, ANYONE) if _same_domain(owner.address, user.login) else (user.account,)
    return rights.of(reader, account, mailbox, grantees)


def _same_domain(one: str, other: str) -> bool:
    return one.rpartition("@")[2] == other.rpartition("@")[2]


def may_create(tx: Tx, user: User, at: Place) -> AccountId:
    """Whose mailbox it will be. Raises NoPermission without `k` on the nearest parent (RFC 4314 §4)."""
    if at.account == user.account:
        require_own(at.name)
        return user.account
    for parent in reversed(mailboxes.parents(at.name)) if at.account is not None else ():
        found = look(tx, user, at._replace(name=parent))
        if found is not None:
            if "k" in found.rights:
                return found.account
            break
    raise NoPermission(f"You have no permission to make {at.full}")


def require_own(name: str) -> None:
    """Refuse a name that no mailbox of one's own can have. Raises NoPermission."""
    if name.partition(SEPARATOR)[0] in (OTHERS, SHARED):
        raise NoPermission(f"Names that begin with {OTHERS} and {SHARED} are other users' mailboxes")


def foreign(reader: Reader, user: User) -> Iterator[Foreign]:
    """Every mailbox of others that the user may see (`l`)."""
    named: dict[AccountId, dict[int, list[Entry]]] = {}
    for grantee in (ANYONE, user.account):
        for account, id, entry in rights.granted(reader, grantee):
            if account != user.account:
                named.setdefault(account, {}).setdefault(id, []).append(entry)
    for account, boxes in named.items():
        owner = accounts.by_id(reader, account)
        if owner is None or owner.state is State.RETIRED:
            continue
        everybody = _same_domain(owner.address, user.login)
        for mailbox in mailboxes.every(reader, account):
            found = [entry for entry in boxes.get(mailbox.id, ()) if everybody or entry.grantee != ANYONE]
            held = rights.held(found)
            if "l" in held:
                name = SEPARATOR.join((_space(owner), owner.address, mailbox.name))
                # What is Sent or Trash to its owner is not to others (RFC 6154 §2).
                yield Foreign(account, mailbox._replace(name=name, special=""), held)


def flags_kept(held: Rights) -> int:
    """Flags that somebody with these rights may set and clear (RFC 4314 §4)."""
    if held >= EVERY:
        return ALL_FLAGS
    kept = ALL_FLAGS & ~(Flag.SEEN | Flag.DELETED) if "w" in held else 0
    return kept | (Flag.SEEN if "s" in held else 0) | (Flag.DELETED if "t" in held else 0)


def is_read_only(held: Rights) -> bool:
    """Whether a mailbox can only be looked at (RFC 4314 §5.2)."""
    return not held.intersection("iestw")
