"""Domains for which we are the final destination, with their catch-all and subaddress separator.

A domain is named by its A-labels in lower case. One that still has accounts or aliases is not removed.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, cast

from posthouse.accounts.directory import begin_change
from posthouse.accounts.problem import AlreadyThere, NotAllowed, no_such
from posthouse.db import Reader, Tx
from posthouse.mail.address import AddressError, canonical, domain_to_ascii, parse_address

Rows: TypeAlias = Tx | Reader
"""What can be asked for rows: a transaction or a reader."""

_SEPARATORS = frozenset("+-_.=#~!*/")
_COLUMNS = "name, catch_all, separator, created"


class Domain(NamedTuple):
    """A domain of ours."""

    name: str
    catch_all: str
    """Where mail for unknown addresses goes; empty: nowhere, it is refused."""
    separator: str
    """Characters that part user and detail of a subaddress (RFC 5233); empty: no subaddresses."""
    created: float
    """Seconds since 1970 UTC."""


def domain_name(text: str) -> str:
    """The name of a domain as it is stored. Raises NotAllowed for what is none."""
    try:
        name = domain_to_ascii(text.strip().removesuffix(".").removeprefix("@"))
    except AddressError as problem:
        raise NotAllowed(f"{text!r} is not a domain: {problem}.") from None
    if name.startswith("[") or name.rpartition(".")[2].isdecimal():
        raise NotAllowed(f"{text} is an address of a machine, not a domain.")
    if not name:
        raise NotAllowed("The name of the domain is empty.")
    return name


def add(tx: Tx, name: str, *, now: float, catch_all: str = "", separator: str = "+") -> Domain:
    """Make `name` a domain of ours. Raises AlreadyThere, NotAllowed."""
    begin_change(tx)
    domain = Domain(domain_name(name), _catch_all(catch_all), _separator(separator), now)
    if find(tx, domain.name) is not None:
        raise AlreadyThere(f"The domain {domain.name} is there already.")
    tx.run(f"INSERT INTO domain ({_COLUMNS}) VALUES (?, ?, ?, ?)", domain)
    return domain


def find(rows: Rows, name: str) -> Domain | None:
    """The domain whose stored name is `name`, or None."""
    row = rows.one(f"SELECT {_COLUMNS} FROM domain WHERE name = ?", (name,))
    return None if row is None else Domain(*row)


def show(rows: Rows, name: str) -> Domain:
    """The domain `name`, in any spelling. Raises NoSuchEntry with the nearest names, NotAllowed."""
    stored = domain_name(name)
    domain = find(rows, stored)
    if domain is None:
        raise no_such("domain", stored, (domain.name for domain in everything(rows)))
    return domain


def everything(rows: Rows) -> list[Domain]:
    """All domains, by name."""
    return [Domain(*row) for row in rows.all(f"SELECT {_COLUMNS} FROM domain ORDER BY name")]


def first(rows: Rows) -> Domain | None:
    """The oldest domain, which stands in where an address has none (`postmaster` alone, our literals)."""
    row = rows.one(f"SELECT {_COLUMNS} FROM domain ORDER BY created, name LIMIT 1")
    return None if row is None else Domain(*row)


def catching_by(rows: Rows, address: str) -> list[str]:
    """The domains whose catch-all is the canonical `address`."""
    return [
        domain.name
        for domain in everything(rows)
        if domain.catch_all and canonical(parse_address(domain.catch_all)) == address
    ]


def change(tx: Tx, name: str, *, catch_all: str | None = None, separator: str | None = None) -> Domain:
    """Set what is not None; an empty string turns the thing off. Raises NoSuchEntry, NotAllowed."""
    begin_change(tx)
    domain = show(tx, name)
    if catch_all is not None:
        domain = domain._replace(catch_all=_catch_all(catch_all))
    if separator is not None:
        domain = domain._replace(separator=_separator(separator))
    tx.run(
        "UPDATE domain SET catch_all = ?, separator = ? WHERE name = ?",
        (domain.catch_all, domain.separator, domain.name),
    )
    return domain


def remove(tx: Tx, name: str) -> Domain:
    """No longer accept mail for the domain. Raises NoSuchEntry, and NotAllowed while addresses lie in it."""
    begin_change(tx)
    domain = show(tx, name)
    for table, noun in (("account", "accounts"), ("alias", "aliases")):
        number = _addresses_in(tx, table, domain.name)
        if number:
            raise NotAllowed(
                f"The domain {domain.name} still has {number} {noun}.",
                f"Remove or rename them first: posthouse {table} list --domain {domain.name}",
            )
    tx.run("DELETE FROM domain WHERE name = ?", (domain.name,))
    return domain


def _addresses_in(rows: Rows, table: str, name: str) -> int:
    row = rows.one(f"SELECT COUNT(*) FROM {table} WHERE address LIKE ? ESCAPE '!'", (in_domain(name),))
    return 0 if row is None else cast(int, row[0])


def in_domain(name: str) -> str:
    """A pattern for LIKE … ESCAPE '!' that the canonical addresses of the domain `name` match."""
    return "%@" + name.replace("!", "!!").replace("_", "!_").replace("%", "!%")


def _catch_all(text: str) -> str:
    if not text:
        return ""
    try:
        address = parse_address(text)
    except AddressError as problem:
        raise NotAllowed(f"{text!r} cannot be the catch-all: {problem}.") from None
    if not address.domain:
        raise NotAllowed("The catch-all must be a full address, with its domain.")
    return str(address)


def _separator(text: str) -> str:
    if len(text) > 4 or not _SEPARATORS.issuperset(text):
        allowed = " ".join(sorted(_SEPARATORS))
        raise NotAllowed(f"{text!r} cannot part a subaddress.", f"Up to four of: {allowed}")
    return text
