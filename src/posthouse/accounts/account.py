"""Accounts: somebody (or something) with mailboxes and a login, known by one address.

The login name is the address. An account may be disabled: it keeps its mail, takes none (550 5.2.1)
and lets nobody in. It may be an administrator; one of those takes the mail of postmaster and abuse
where these have no address of their own (RFC 5321 §4.5.1), so the last one is neither removed,
disabled nor demoted.

Removing goes in two steps, for the mail of an account may be large: `retire` makes the account
unreachable and frees its address at once; `forget` deletes the row when the store has deleted the mail.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, cast

from posthouse.accounts import domain as domains
from posthouse.accounts.directory import begin_change
from posthouse.accounts.domain import Rows, in_domain
from posthouse.accounts.problem import AlreadyThere, NotAllowed, no_such
from posthouse.db import Tx
from posthouse.mail.address import Address, AddressError, canonical, parse_address
from posthouse.mail.envelope import AccountId

_COLUMNS = "id, address, name, state, admin, quota, used, created, shared"
NAME_LIMIT = 200
"""Characters of a display name at most."""


class State(Enum):
    """What an account may do."""

    ACTIVE = "active"
    DISABLED = "disabled"
    RETIRED = "retired"
    """On its way out: its mail is being deleted."""


class Keep(Enum):
    """The value of an argument that changes nothing, where None means something."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


class Account(NamedTuple):
    """One account."""

    id: AccountId
    address: str
    """Canonical; also the login name."""
    name: str
    """Display name."""
    state: State
    admin: bool
    quota: int | None
    """Octets; 0: none; None: accounts.mailbox_size_limit of the configuration."""
    used: int
    """Octets of mail."""
    created: float
    """Seconds since 1970 UTC."""
    shared: bool
    """Nobody's in particular: others find its mailboxes below `Shared`, not below `Other Users`."""

    @property
    def active(self) -> bool:
        return self.state is State.ACTIVE


def address_of(text: str) -> Address:
    """The full address in `text`. Raises NotAllowed that says what is wrong."""
    try:
        address = parse_address(text.strip())
    except AddressError as problem:
        hint = "" if "@" in text else f"Write it in full: {text}@example.org"
        raise NotAllowed(f"{text!r} is not an address: {problem}.", hint) from None
    if not address.domain:
        raise NotAllowed(f"{text!r} has no domain.", f"Write it in full: {text}@example.org")
    return address


def add(
    tx: Tx,
    text: str,
    *,
    now: float,
    name: str = "",
    admin: bool = False,
    quota: int | None = None,
    shared: bool = False,
) -> Account:
    """A new account at the address `text`, still without password and mailboxes.

    Raises AlreadyThere, NotAllowed.
    """
    begin_change(tx)
    address = _free_address(tx, text)
    row = tx.one("SELECT MAX(id) FROM account")
    highest = cast("int | None", row[0]) if row is not None else None
    # By the clock, so that the id of a removed account is not given again.
    number = AccountId(max((highest or 0) + 1, int(now * 1000)))
    account = Account(number, address, _name(name), State.ACTIVE, admin, _quota(quota), 0, now, shared)
    tx.run(
        f"INSERT INTO account ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, address, account.name, account.state.value, int(admin), account.quota, 0, now, int(shared)),
    )
    return account


def find(rows: Rows, address: str) -> Account | None:
    """The account whose canonical address is `address`, or None."""
    row = rows.one(f"SELECT {_COLUMNS} FROM account WHERE address = ?", (address,))
    return None if row is None else _account(row)


def by_id(rows: Rows, number: AccountId) -> Account | None:
    """The account with this id, or None."""
    row = rows.one(f"SELECT {_COLUMNS} FROM account WHERE id = ?", (number,))
    return None if row is None else _account(row)


def show(rows: Rows, text: str) -> Account:
    """The account of the address `text`, in any spelling. Raises NoSuchEntry with the nearest, NotAllowed."""
    address = canonical(address_of(text))
    account = find(rows, address)
    if account is None or account.state is State.RETIRED:
        raise no_such("account", address, (account.address for account in everything(rows)))
    return account


def everything(rows: Rows, domain: str = "") -> list[Account]:
    """All accounts, or those in `domain`, by address; those on their way out are left out."""
    where, values = ("AND address LIKE ? ESCAPE '!'", (in_domain(domain),)) if domain else ("", ())
    sql = f"SELECT {_COLUMNS} FROM account WHERE state <> 'retired' {where} ORDER BY address"
    return [_account(row) for row in rows.all(sql, values)]


def named(rows: Rows, local: str, limit: int) -> tuple[str, ...]:
    """The addresses of active accounts with this local part, in any domain; at most `limit`."""
    pattern = local.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_") + "@%"
    sql = "SELECT address FROM account WHERE address LIKE ? ESCAPE '!' AND state = 'active' ORDER BY address"
    return tuple(address for (address,) in rows.all(f"{sql} LIMIT {limit:d}", (pattern,)))


def administrators(rows: Rows) -> list[Account]:
    """The active administrators, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM account WHERE admin = 1 AND state = 'active' ORDER BY created, id"
    return [_account(row) for row in rows.all(sql)]


def change(
    tx: Tx,
    text: str,
    *,
    name: str | None = None,
    admin: bool | None = None,
    active: bool | None = None,
    quota: int | Keep | None = KEEP,
    shared: bool | None = None,
) -> Account:
    """Set what is given. Raises NoSuchEntry, NotAllowed."""
    begin_change(tx)
    account = show(tx, text)
    if (admin is False and account.admin) or (active is False and account.active):
        _refuse_for_last_administrator(tx, account)
    if name is not None:
        account = account._replace(name=_name(name))
    if admin is not None:
        account = account._replace(admin=admin)
    if active is not None:
        account = account._replace(state=State.ACTIVE if active else State.DISABLED)
    if quota is not KEEP:
        account = account._replace(quota=_quota(quota))
    if shared is not None:
        account = account._replace(shared=shared)
    tx.run(
        "UPDATE account SET name = ?, state = ?, admin = ?, quota = ?, shared = ? WHERE id = ?",
        (
            account.name,
            account.state.value,
            int(account.admin),
            account.quota,
            int(account.shared),
            account.id,
        ),
    )
    return account


def rename(tx: Tx, old: str, new: str) -> Account:
    """Give the account another address; mail and passwords stay.

    Raises NoSuchEntry, AlreadyThere, NotAllowed.
    """
    begin_change(tx)
    account = show(tx, old)
    address = _free_address(tx, new)
    tx.run("UPDATE account SET address = ? WHERE id = ?", (address, account.id))
    return account._replace(address=address)


def retire(tx: Tx, text: str) -> Account:
    """Make the account unreachable and its address free; its mail waits to be deleted.

    Raises NoSuchEntry, NotAllowed.
    """
    begin_change(tx)
    account = show(tx, text)
    _refuse_for_last_administrator(tx, account)
    tx.run("DELETE FROM credential WHERE account = ?", (account.id,))
    tx.run(
        "UPDATE account SET state = 'retired', admin = 0, address = ? WHERE id = ?",
        (f"{account.id}@retired.invalid", account.id),
    )
    return account._replace(state=State.RETIRED, admin=False)


def retired(rows: Rows) -> list[AccountId]:
    """Accounts whose mail has still to be deleted."""
    sql = "SELECT id FROM account WHERE state = 'retired' ORDER BY id"
    return [AccountId(row[0]) for row in rows.all(sql)]


def forget(tx: Tx, number: AccountId) -> None:
    """Delete the row of a retired account, once nothing of it is left in the store."""
    tx.run("DELETE FROM account WHERE id = ? AND state = 'retired'", (number,))


def _account(row: tuple[object, ...]) -> Account:
    number, address, name, state, admin, quota, used, created, shared = cast(
        "tuple[int, str, str, str, int, int | None, int, float, int]", row
    )
    return Account(
        AccountId(number), address, name, State(state), bool(admin), quota, used, created, bool(shared)
    )


def _free_address(tx: Tx, text: str) -> str:
    """The canonical form of an address that may become an account's."""
    address = address_of(text)
    try:
        key = canonical(address)
    except AddressError as problem:
        raise NotAllowed(f"{text!r} is not an address: {problem}.") from None
    domain = domains.find(tx, key.rpartition("@")[2])
    if domain is None:
        raise NotAllowed(
            f"{address.domain} is not a domain of ours.",
            f"Add it first: posthouse domain add {address.domain}",
        )
    if find(tx, key) is not None:
        raise AlreadyThere(f"The account {key} is there already.")
    return key


def _refuse_for_last_administrator(tx: Tx, account: Account) -> None:
    others = [other for other in administrators(tx) if other.id != account.id]
    if account.admin and account.active and not others:
        raise NotAllowed(
            f"{account.address} is the last active administrator.",
            "Make another one first: posthouse account set ADDRESS --admin",
        )


def _name(text: str) -> str:
    if len(text) > NAME_LIMIT or not text.isprintable():
        raise NotAllowed(f"A name has at most {NAME_LIMIT} printable characters.")
    return text


def _quota(octets: int | None) -> int | None:
    if octets is not None and not 0 <= octets < 1 << 62:
        raise NotAllowed("A quota is a number of octets, 0 for none.")
    return octets
