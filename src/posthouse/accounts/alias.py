"""Aliases: addresses of ours that stand for other addresses, here or elsewhere.

Four kinds, told apart by what the one who writes to them learns:

- `alias`: nothing; 250, and the letter goes to the targets.
- `forward`: 251 with the new address; the letter goes there (RFC 5321 §3.4).
- `list`: as `alias`, and EXPN shows the members to authenticated users.
- `moved`: 551 with the new address; the letter is refused (RFC 5321 §3.4).

An alias may share its address with an account; it then comes first, and a target equal to its own
address means that account's mailbox. So `alice → alice, carol@example.net` forwards and keeps a copy.
"""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import domain as domains
from posthouse.accounts.account import address_of
from posthouse.accounts.directory import begin_change
from posthouse.accounts.domain import Rows, in_domain
from posthouse.accounts.problem import AlreadyThere, NotAllowed, no_such
from posthouse.db import Tx
from posthouse.mail.address import Address, canonical, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET_LIMIT = 1000
"""Targets of one alias at most."""


class Kind(Enum):
    """What an alias does."""

    ALIAS = "alias"
    FORWARD = "forward"
    LIST = "list"
    MOVED = "moved"


class Alias(NamedTuple):
    """One alias with its targets."""

    address: str
    """Canonical."""
    kind: Kind
    targets: tuple[Address, ...]
    created: float
    """Seconds since 1970 UTC."""


def add(tx: Tx, text: str, targets: Iterable[str], *, now: float, kind: Kind = Kind.ALIAS) -> Alias:
    """A new alias. Raises AlreadyThere, NotAllowed."""
    begin_change(tx)
    address = address_of(text)
    key = canonical(address)
    if domains.find(tx, key.rpartition("@")[2]) is None:
        raise NotAllowed(
            f"{address.domain} is not a domain of ours.",
            f"Add it first: posthouse domain add {address.domain}",
        )
    if find(tx, key) is not None:
        raise AlreadyThere(f"The alias {key} is there already.", f"Change it: posthouse alias set {key} …")
    alias = Alias(key, kind, _targets(targets), now)
    _check(alias)
    tx.run("INSERT INTO alias (address, kind, created) VALUES (?, ?, ?)", (key, kind.value, now))
    _write_targets(tx, alias)
    return alias


def find(rows: Rows, address: str) -> Alias | None:
    """The alias whose canonical address is `address`, or None."""
    row = rows.one("SELECT kind, created FROM alias WHERE address = ?", (address,))
    if row is None:
        return None
    kind, created = row
    found = rows.all("SELECT target FROM alias_target WHERE address = ? ORDER BY target", (address,))
    return Alias(address, Kind(kind), tuple(parse_address(target) for (target,) in found), created)


def show(rows: Rows, text: str) -> Alias:
    """The alias of the address `text`, in any spelling. Raises NoSuchEntry with the nearest, NotAllowed."""
    address = canonical(address_of(text))
    alias = find(rows, address)
    if alias is None:
        known = (name for (name,) in rows.all("SELECT address FROM alias"))
        raise no_such("alias", address, known)
    return alias


def everything(rows: Rows, domain: str = "") -> list[Alias]:
    """All aliases, or those in `domain`, by address."""
    where, values = ("WHERE address LIKE ? ESCAPE '!'", (in_domain(domain),)) if domain else ("", ())
    targets: dict[str, list[Address]] = {}
    for address, target in rows.all("SELECT address, target FROM alias_target ORDER BY address, target"):
        targets.setdefault(address, []).append(parse_address(target))
    found = rows.all(f"SELECT address, kind, created FROM alias {where} ORDER BY address", values)
    return [
        Alias(address, Kind(kind), tuple(targets.get(address, ())), created)
        for address, kind, created in found
    ]


def naming(rows: Rows, address: str) -> list[str]:
    """The aliases that have the canonical `address` among their targets."""
    return [alias.address for alias in everything(rows) if address in map(canonical, alias.targets)]


def change(
    tx: Tx,
    text: str,
    *,
    kind: Kind | None = None,
    targets: Iterable[str] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> Alias:
    """Set the kind or all targets, or add and take away some. Raises NoSuchEntry, NotAllowed."""
    begin_change(tx)
    alias = show(tx, text)
    if kind is not None:
        alias = alias._replace(kind=kind)
    kept = {canonical(target): target for target in (alias.targets if targets is None else _targets(targets))}
    for target in _targets(include):
        kept.setdefault(canonical(target), target)
    for target in _targets(exclude):
        if kept.pop(canonical(target), None) is None:
            raise no_such(f"target of {alias.address}", canonical(target), kept)
    alias = alias._replace(targets=tuple(kept.values()))
    _check(alias)
    tx.run("UPDATE alias SET kind = ? WHERE address = ?", (alias.kind.value, alias.address))
    tx.run("DELETE FROM alias_target WHERE address = ?", (alias.address,))
    _write_targets(tx, alias)
    return alias


def remove(tx: Tx, text: str) -> Alias:
    """Take the alias away. Raises NoSuchEntry."""
    begin_change(tx)
    alias = show(tx, text)
    tx.run("DELETE FROM alias_target WHERE address = ?", (alias.address,))
    tx.run("DELETE FROM alias WHERE address = ?", (alias.address,))
    return alias


def _targets(texts: Iterable[str]) -> tuple[Address, ...]:
    """The addresses, equal ones once."""
    return tuple({canonical(address): address for address in map(address_of, texts)}.values())


def _write_targets(tx: Tx, alias: Alias) -> None:
    tx.many(
        "INSERT INTO alias_target (address, target) VALUES (?, ?)",
        [(alias.address, str(target)) for target in alias.targets],
    )


def _check(alias: Alias) -> None:
    if not alias.targets:
        raise NotAllowed(f"The alias {alias.address} would have no target.", "Remove it instead.")
    if len(alias.targets) > TARGET_LIMIT:
        raise NotAllowed(f"An alias has at most {TARGET_LIMIT} targets, not {len(alias.targets)}.")
    if alias.kind is Kind.MOVED:
        if len(alias.targets) != 1:
            raise NotAllowed("One moves to one new address, not to several.")
        if canonical(alias.targets[0]) == alias.address:
            raise NotAllowed(f"{alias.address} cannot have moved to itself.")


def lists_named(rows: Rows, local: str, limit: int) -> tuple[str, ...]:
    """Canonical addresses of the lists with this local part, in whatever domain, at most `limit`."""
    start = unicodedata.normalize("NFC", local.lower()) + "@"
    found = rows.all(
        "SELECT address FROM alias WHERE kind = ? AND substr(address, 1, ?) = ? ORDER BY address LIMIT ?",
        (Kind.LIST.value, len(start), start, limit),
    )
    return tuple(address for (address,) in found)
