"""`posthouse domain`: the domains whose mail is ours."""

from __future__ import annotations

import time
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from posthouse.admin import domains
from posthouse.admin.domains import DomainReport
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing, print_record

app = App(name="domain", help="Domains whose mail is ours.")


SeparatorOption: TypeAlias = Annotated[str, Parameter(allow_leading_hyphen=True)]


@app.command
def add(
    name: str, /, *, catch_all: str = "", separator: SeparatorOption = "+", config: ConfigOption = None
) -> None:
    """Take mail for a domain.

    Parameters
    ----------
    catch_all
        The address that gets what is sent to nobody; empty: such mail is refused.
    separator
        What parts user and detail, as in alice+lists; empty: nothing does.
    """
    now = time.time()
    domain = with_database(
        config,
        lambda _, database: domains.add(database, name, now=now, catch_all=catch_all, separator=separator),
    )
    print(f"Mail for {domain.name} is ours now.")


@app.command(name="list")
def list_(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List all domains."""
    found = with_database(config, lambda _, database: domains.every(database))
    print_listing(map(_record, found), json=json, empty="There is no domain yet: posthouse domain add NAME")


@app.command
def show(name: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one domain."""
    print_record(_record(with_database(config, lambda _, database: domains.show(database, name))), json=json)


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    catch_all: str | None = None,
    separator: SeparatorOption | None = None,
    config: ConfigOption = None,
) -> None:
    """Change a domain.

    Parameters
    ----------
    catch_all
        The address that gets what is sent to nobody; "" turns it off.
    separator
        What parts user and detail, as in alice+lists; "" turns it off.
    """
    domain = with_database(
        config,
        lambda _, database: domains.change(database, name, catch_all=catch_all, separator=separator),
    )
    print(f"Changed {domain.name}.")


@app.command
def remove(name: str, /, *, config: ConfigOption = None) -> None:
    """Take no more mail for a domain; it must have no accounts and aliases."""
    domain = with_database(config, lambda _, database: domains.remove(database, name))
    print(f"Mail for {domain.name} is no longer ours.")


def _record(report: DomainReport) -> dict[str, Any]:
    domain = report.domain
    return {
        "domain": domain.name,
        "accounts": report.accounts,
        "aliases": report.aliases,
        "catch_all": domain.catch_all,
        "separator": domain.separator,
    }
