"""What `posthouse import` and `posthouse export` have in common: accounts, progress, and the summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from posthouse.admin.exchange.accounts import Wanted, read_list
from posthouse.admin.exchange.folders import LoginRefused, NoSuchForm, SourceMissing, SourceProblem
from posthouse.cli.context import with_database
from posthouse.cli.listing import print_listing
from posthouse.cli.problem import CommandProblem
from posthouse.cli.progress import ProgressDisplay
from posthouse.store.changes import QuotaExceeded
from posthouse.store.imports import UidsNotFree

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database
    from posthouse.db.blobs import Blobs

AccountOption: TypeAlias = Annotated[str, Parameter(help="The account here, alice@example.org.")]
AccountsOption: TypeAlias = Annotated[
    Path | None, Parameter(help="A file of accounts: `address [login there [password]]`, one a line.")
]
Flag = Parameter(negative="")

Work: TypeAlias = "Callable[[Config, Database, Blobs, Wanted, ProgressDisplay], Awaitable[dict[str, Any]]]"


def wanted(account: str, accounts: Path | None) -> list[Wanted]:
    """The accounts of the command line. Raises CommandProblem."""
    if bool(account) == (accounts is not None):
        raise CommandProblem(
            "which account?", hint="Give --account ADDRESS, or --accounts FILE.", code=os.EX_USAGE
        )
    if accounts is None:
        return [Wanted(account)]
    try:
        return read_list(accounts.read_text("utf-8").splitlines())
    except FileNotFoundError:
        raise CommandProblem(f"there is no {accounts}", code=os.EX_NOINPUT) from None
    except ValueError as error:
        raise CommandProblem(f"{accounts}: {error}", code=os.EX_USAGE) from None


@contextmanager
def problems() -> Iterator[None]:
    """What goes wrong with mail elsewhere, in the words of a command."""
    try:
        yield
    except SourceMissing as error:
        raise CommandProblem(str(error), code=os.EX_NOINPUT) from None
    except NoSuchForm as error:
        raise CommandProblem(str(error), code=os.EX_DATAERR) from None
    except LoginRefused as error:
        raise CommandProblem(str(error), code=os.EX_NOPERM) from None
    except PermissionError as error:
        raise CommandProblem(
            f"{error.filename}: {error.strerror}",
            hint=f"The command runs as the owner of data_directory, uid {os.geteuid()}: let it in.",
            code=os.EX_NOPERM,
        ) from None
    except SourceProblem as error:
        raise CommandProblem(
            str(error), hint="What was brought stays; the same command goes on.", code=os.EX_UNAVAILABLE
        ) from None
    except QuotaExceeded:
        raise CommandProblem(
            "the account's quota is full",
            hint="`posthouse account set ADDRESS --quota …`; then the same command goes on.",
            code=os.EX_CANTCREAT,
        ) from None
    except UidsNotFree as error:
        raise CommandProblem(str(error), hint="Import without --keep-uids, or into a new account.") from None


def run(
    accounts: Sequence[Wanted], work: Work, unit: str, *, json: bool, config: Path | None
) -> list[dict[str, Any]]:
    """Do `work` for each account and print one line for each; what was printed."""
    records: list[dict[str, Any]] = []

    async def each(loaded: Config, database: Database) -> None:
        from posthouse.db.blobs import open_blobs

        blobs = open_blobs(loaded.database.blobs, loaded.data_directory)
        try:
            with ProgressDisplay(unit, quiet=json) as progress:
                for one in accounts:
                    records.append(await work(loaded, database, blobs, one, progress))
        finally:
            await blobs.close()

    try:
        with problems():
            with_database(config, each)
    finally:
        if records:
            print_listing(records, json=json)
    sys.stdout.flush()
    return records
