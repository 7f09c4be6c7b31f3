"""`posthouse export`: the mail of accounts goes into files that other programs read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from posthouse.admin.exchange import accounts as who
from posthouse.admin.exchange.accounts import Wanted
from posthouse.admin.exchange.maildir import MaildirTarget
from posthouse.admin.exchange.mbox import MboxTarget
from posthouse.admin.exchange.take import Target, take
from posthouse.cli.context import ConfigOption, JsonOption
from posthouse.cli.mailtransfer import AccountOption, AccountsOption, run, wanted
from posthouse.cli.problem import CommandProblem
from posthouse.cli.progress import ProgressDisplay

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database
    from posthouse.db.blobs import Blobs

app = App(name="export", help="The mail of accounts goes into files that other programs read.")

MailboxOption = Annotated[tuple[str, ...], Parameter(help="Only this mailbox; may be given several times.")]


@app.command
def maildir(
    path: str,
    /,
    *,
    account: AccountOption = "",
    accounts: AccountsOption = None,
    mailbox: MailboxOption = (),
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a new Maildir++, with flags, keywords, dates, UIDs and subscriptions as Dovecot keeps them.

    Parameters
    ----------
    path
        A directory that is new or empty. {user}, {domain} and {address} stand for those of each account.
    """
    _take(MaildirTarget, path, wanted(account, accounts), mailbox, json, config)


@app.command
def mbox(
    path: str,
    /,
    *,
    account: AccountOption = "",
    accounts: AccountsOption = None,
    mailbox: MailboxOption = (),
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a new directory with an mbox file (mboxrd) for each mailbox.

    Parameters
    ----------
    path
        A directory that is new or empty. {user}, {domain} and {address} stand for those of each account.
    """
    _take(MboxTarget, path, wanted(account, accounts), mailbox, json, config)


def _take(
    make: Callable[[Path], Target],
    path: str,
    people: list[Wanted],
    only: tuple[str, ...],
    json: bool,
    config: Path | None,
) -> None:
    if len({one.filled(path) for one in people}) < len(people):
        raise CommandProblem(
            "several accounts cannot go to one place", hint="Put {address} into the path.", code=os.EX_USAGE
        )
    here = Path.cwd()

    async def work(
        loaded: Config, database: Database, blobs: Blobs, one: Wanted, progress: ProgressDisplay
    ) -> dict[str, Any]:
        account = await who.find(database, one.address)
        try:
            target = make(here / one.filled(path))
        except FileExistsError as error:
            raise CommandProblem(str(error), code=os.EX_CANTCREAT) from None
        counts = await take(target, database, blobs, account.id, only, progress)
        return {"account": account.address, "mailboxes": len(counts), "messages": sum(counts.values())}

    run(people, work, "messages", json=json, config=config)
