"""`posthouse account`: users with mailboxes."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from posthouse.accounts.account import KEEP, Account, Keep
from posthouse.accounts.password import prepare, weakness
from posthouse.admin import accounts, search
from posthouse.admin.accounts import AccountReport
from posthouse.admin.search import Index
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.indexing import WaitOption, print_index, until_whole, with_index
from posthouse.cli.listing import print_listing, print_record
from posthouse.cli.problem import CommandProblem
from posthouse.config.units import parse_size, show_size
from posthouse.machine import MachineClock

if TYPE_CHECKING:
    pass

app = App(name="account", help="Users with mailboxes.")

PasswordOption: TypeAlias = Annotated[
    bool, Parameter(negative="", help="Read the password from one line of standard input.")
]


@app.command
def add(
    address: str,
    /,
    *,
    name: str = "",
    admin: Annotated[bool, Parameter(negative="")] = False,
    quota: str = "default",
    shared: Annotated[bool, Parameter(negative="")] = False,
    password_stdin: PasswordOption = False,
    config: ConfigOption = None,
) -> None:
    """Make an account with the usual mailboxes. The address is the login name.

    Parameters
    ----------
    name
        The user's name, for people.
    admin
        Make it an administrator.
    quota
        Of all its mail, such as 5GB; none; or default, which is accounts.mailbox_size_limit.
    shared
        For several users, who find its mailboxes below Shared once they have rights in them; it has a
        password only where one is given.
    """
    octets = _quota(quota)
    password = None
    if password_stdin or not shared:
        password = _password(address, from_stdin=password_stdin)
    now = time.time()
    account = with_database(
        config,
        lambda settings, database: accounts.add(
            database,
            address,
            password,
            now=now,
            name=name,
            admin=admin,
            quota=octets,
            shared=shared,
            mechanisms=settings.accounts.auth_mechanisms,
        ),
    )
    print(f"Made the account {account.address}.")
    if shared:
        print(f"Let somebody use it: posthouse mailbox share {account.address} INBOX USER lrswite")


@app.command(name="list")
def list_(*, domain: str = "", json: JsonOption = False, config: ConfigOption = None) -> None:
    """List accounts, all or those in one domain."""
    found = with_database(config, lambda _, database: accounts.every(database, domain))
    print_listing(
        (_record(account, json=json) for account in found),
        json=json,
        empty="There is no account yet: posthouse account add ADDRESS",
    )


@app.command
def show(address: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one account, with its aliases and the names of its passwords."""
    report: AccountReport = with_database(config, lambda _, database: accounts.show(database, address))
    record = _record(report.account, json=json)
    print_record({**record, "aliases": report.aliases, "passwords": report.passwords}, json=json)


@app.command(name="set")
def set_(
    address: str,
    /,
    *,
    new_address: str | None = None,
    name: str | None = None,
    admin: Annotated[bool | None, Parameter(negative="--no-admin")] = None,
    enable: Annotated[bool, Parameter(negative="")] = False,
    disable: Annotated[bool, Parameter(negative="")] = False,
    quota: str | None = None,
    shared: Annotated[bool | None, Parameter(negative="--no-shared")] = None,
    password: Annotated[bool, Parameter(negative="")] = False,
    password_stdin: PasswordOption = False,
    config: ConfigOption = None,
) -> None:
    """Change an account.

    Parameters
    ----------
    new_address
        Rename it; mail and password stay, the old address is free.
    name
        The user's name, for people.
    admin
        Make it an administrator, or no longer one.
    enable
        Let it log in and receive mail again.
    disable
        Keep its mail, but take none for it and let nobody log in.
    quota
        Of all its mail, such as 5GB; none; or default.
    shared
        Others find its mailboxes below Shared, or below Other Users.
    password
        Ask for a new password.
    """
    if enable and disable:
        raise CommandProblem("--enable and --disable exclude each other", code=os.EX_USAGE)
    octets: int | Keep | None = KEEP if quota is None else _quota(quota)
    new_password = _password(address, from_stdin=password_stdin) if password or password_stdin else None
    now = time.time()
    account = with_database(
        config,
        lambda settings, database: accounts.change(
            database,
            address,
            now=now,
            password=new_password,
            new_address=new_address,
            name=name,
            admin=admin,
            active=enable if enable or disable else None,
            quota=octets,
            shared=shared,
            mechanisms=settings.accounts.auth_mechanisms,
        ),
    )
    print(f"Changed {account.address}.")
    if new_address is not None:
        print(
            f"Mail to the old address is refused now; `posthouse alias add {address} {new_address}` keeps it."
        )


@app.command
def remove(
    address: str,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove an account and all its mail, for good.

    Parameters
    ----------
    yes
        Do not ask.
    """
    if not yes:
        _confirm(address)
    naming = with_database(config, lambda _, database: accounts.remove(database, address, MachineClock()))
    print(f"Removed {address} and its mail.")
    if naming:
        print(f"posthouse: warning: still named by {', '.join(naming)}", file=sys.stderr)


@app.command
def reindex(
    address: str = "",
    /,
    *,
    all: Annotated[bool, Parameter(negative="")] = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have the full-text index of an account made anew.

    The server does it in the background; searches find everything meanwhile.

    Parameters
    ----------
    all
        Of every account.
    """
    if bool(address) == all:
        raise CommandProblem("name one account, or say --all", code=os.EX_USAGE)

    async def work(index: Index) -> None:
        await search.reindex(index, address)
        if wait:
            await until_whole(index, address, quiet=json)
        if json:
            await print_index(index, address, json=True)

    with_index(config, work)
    if not json and not wait:
        print(f"The index of {address or 'all accounts'} will be made anew: posthouse account index.")


@app.command
def index(
    address: str = "", /, *, wait: WaitOption = False, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show how far the full-text index is, of one account or of each. Messages not in it yet are read."""

    async def work(index: Index) -> None:
        if wait:
            await until_whole(index, address, quiet=json)
        await print_index(index, address, json=json)

    with_index(config, work)


def _confirm(address: str) -> None:
    if not sys.stdin.isatty():
        raise CommandProblem(
            f"removing {address} deletes all its mail", hint="Say so with --yes.", code=os.EX_USAGE
        )
    if input(f"Remove {address} and all its mail, for good? Type the address: ") != address:
        raise CommandProblem("nothing was removed", code=os.EX_DATAERR)


def _password(address: str, *, from_stdin: bool) -> str:
    """One line of standard input, or asked for twice; warned of when weak."""
    if from_stdin:
        line = sys.stdin.readline()
        if not line:
            raise CommandProblem("standard input holds no password", code=os.EX_NOINPUT)
        password = line.rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass(f"New password of {address}: ")
        if password != getpass.getpass("Once more: "):
            raise CommandProblem("these are not the same", code=os.EX_DATAERR)
    else:
        raise CommandProblem(
            "there is no password, and nobody to ask",
            hint="Give it on one line of standard input, with --password-stdin.",
            code=os.EX_USAGE,
        )
    prepare(password)
    if weak := weakness(password, address):
        print(f"posthouse: warning: {weak}", file=sys.stderr)
    return password


def _quota(text: str) -> int | None:
    if text == "default":
        return None
    if text == "none":
        return 0
    try:
        return parse_size(text)
    except ValueError as error:
        raise CommandProblem(f"--quota {text}: {error}, none or default", code=os.EX_USAGE) from None


def _record(account: Account, *, json: bool) -> dict[str, Any]:
    quota: Any = account.quota
    if not json:
        quota = "default" if quota is None else show_size(quota) if quota else "none"
    return {
        "address": account.address,
        "name": account.name,
        "state": account.state.value,
        "admin": account.admin,
        "shared": account.shared,
        "quota": quota,
        "used": account.used,
    }
