"""`posthouse alias`: addresses that stand for others."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cyclopts import App

from posthouse.accounts.alias import Alias
from posthouse.accounts.alias import Kind as AliasKind
from posthouse.admin import aliases
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing, print_record
from posthouse.machine import MachineClock

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database

app = App(name="alias", help="Addresses that stand for others: aliases, forwards, lists, moved users.")

Kind: TypeAlias = Literal["alias", "forward", "list", "moved"]


@app.command
def add(address: str, target: str, /, *more: str, kind: Kind = "alias", config: ConfigOption = None) -> None:
    """Make an address that stands for one or more others.

    Parameters
    ----------
    target
        Where its mail goes; its own address means the mailbox of the account there.
    kind
        alias: senders learn nothing; forward: they are told the new address and the mail goes on;
        list: as alias, and users may see the members; moved: they are told the new address, and that is all.
    """
    now = time.time()

    async def work(settings: Config, database: Database) -> Alias:
        alias = await aliases.add(database, address, (target, *more), now=now, kind=AliasKind(kind))
        await _warn(settings, database, alias)
        return alias

    print(_sentence(with_database(config, work)))


@app.command(name="list")
def list_(*, domain: str = "", json: JsonOption = False, config: ConfigOption = None) -> None:
    """List aliases, all or those in one domain."""
    found = with_database(config, lambda _, database: aliases.every(database, domain))
    print_listing(
        map(_record, found), json=json, empty="There is no alias: posthouse alias add ADDRESS TARGET"
    )


@app.command
def show(address: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one alias."""
    print_record(
        _record(with_database(config, lambda _, database: aliases.show(database, address))), json=json
    )


@app.command(name="set")
def set_(
    address: str,
    /,
    *target: str,
    kind: Kind | None = None,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    config: ConfigOption = None,
) -> None:
    """Change an alias.

    Parameters
    ----------
    target
        Instead of all its targets.
    kind
        alias, forward, list or moved.
    include
        One more target; may be given several times.
    exclude
        A target to take away; may be given several times.
    """

    async def work(settings: Config, database: Database) -> Alias:
        alias = await aliases.change(
            database,
            address,
            kind=None if kind is None else AliasKind(kind),
            targets=target or None,
            include=include,
            exclude=exclude,
        )
        await _warn(settings, database, alias)
        return alias

    print(_sentence(with_database(config, work)))


@app.command
def remove(address: str, /, *, config: ConfigOption = None) -> None:
    """Take an alias away."""
    alias = with_database(config, lambda _, database: aliases.remove(database, address))
    print(f"Removed the {alias.kind.value} {alias.address}.")


async def _warn(config: Config, database: Database, alias: Alias) -> None:
    for doubt in await aliases.doubts(database, config, MachineClock(), alias):
        print(f"posthouse: warning: {doubt}", file=sys.stderr)


def _sentence(alias: Alias) -> str:
    return f"{alias.address} ({alias.kind.value}) → {', '.join(map(str, alias.targets))}"


def _record(alias: Alias) -> dict[str, Any]:
    return {
        "address": alias.address,
        "kind": alias.kind.value,
        "targets": [str(target) for target in alias.targets],
    }
