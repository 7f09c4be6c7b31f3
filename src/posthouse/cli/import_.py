"""`posthouse import`: mail of other systems comes into accounts here."""

from __future__ import annotations

import getpass
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from posthouse.admin.exchange import accounts as who
from posthouse.admin.exchange.accounts import Wanted
from posthouse.admin.exchange.bring import Place, Wishes, bring
from posthouse.admin.exchange.folders import Source
from posthouse.admin.exchange.imap import ImapSource, Login, Server
from posthouse.admin.exchange.maildir import MaildirSource
from posthouse.admin.exchange.mbox import MboxSource
from posthouse.cli.context import ConfigOption, JsonOption
from posthouse.cli.mailtransfer import AccountOption, AccountsOption, Flag, run, wanted
from posthouse.cli.problem import CommandProblem, tell
from posthouse.cli.progress import ProgressDisplay
from posthouse.mail.ids import SLOTS, LetterIds

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database
    from posthouse.db.blobs import Blobs

app = App(name="import", help="Mail of other systems comes into accounts here.")

PASSWORD = "POSTHOUSE_IMPORT_PASSWORD"


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """What all imports can be told."""

    keep_uids: Annotated[bool, Flag] = False
    """Keep UIDs and UIDVALIDITY, so that clients need not fetch anew; into new mailboxes only."""
    no_flags: Annotated[bool, Flag] = False
    """Leave the flags of messages that were brought before as they are here."""
    dry_run: Annotated[bool, Flag] = False
    """Only count what would be brought."""
    map: tuple[str, ...] = ()
    """FOLDER=MAILBOX: a folder that goes to a mailbox of another name. May be given several times."""

    def wishes(self) -> Wishes:
        names = {}
        for text in self.map:
            folder, found, mailbox = text.partition("=")
            if not found or not folder or not mailbox:
                raise CommandProblem(f"--map {text}: FOLDER=MAILBOX is wanted", code=os.EX_USAGE)
            names[folder] = mailbox
        return Wishes(self.keep_uids, not self.no_flags, self.dry_run, names)


AS_USUAL = How()


@app.command
def maildir(
    path: str,
    /,
    *,
    account: AccountOption = "",
    accounts: AccountsOption = None,
    how: How = AS_USUAL,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Bring a Maildir or Maildir++ of Dovecot, Courier or another program.

    Parameters
    ----------
    path
        The directory with cur, new and tmp. {user}, {domain}, {address} and {login} stand for those of
        each account.
    """

    async def source(one: Wanted) -> Source:
        return MaildirSource(Path(one.filled(path)))

    return _bring(source, wanted(account, accounts), how, json, config)


@app.command
def mbox(
    path: str,
    /,
    *,
    account: AccountOption = "",
    accounts: AccountsOption = None,
    format: Literal["mboxrd", "mboxo", "mboxcl", "mboxcl2"] = "mboxrd",
    mailbox: str = "",
    how: How = AS_USUAL,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Bring an mbox file, or a directory of them.

    Parameters
    ----------
    path
        A file, or a directory whose files become mailboxes of their names. {user}, {domain}, {address} and
        {login} stand for those of each account.
    format
        How lines of the text that begin with "From" are told from the beginnings of messages.
    mailbox
        Where a single file goes; default: INBOX.
    """

    async def source(one: Wanted) -> Source:
        return MboxSource(Path(one.filled(path)), format, mailbox)

    return _bring(source, wanted(account, accounts), how, json, config)


@app.command
def imap(
    host: str,
    /,
    *,
    account: AccountOption = "",
    accounts: AccountsOption = None,
    login: str = "",
    master_user: str = "",
    password_file: Path | None = None,
    port: int = 0,
    security: Literal["tls", "starttls", "none"] = "tls",
    ca_file: Path | None = None,
    how: How = AS_USUAL,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Bring mail from another server over IMAP. Nothing is changed there.

    The password is that of the list of accounts, else the first line of --password-file, else
    $POSTHOUSE_IMPORT_PASSWORD, else asked for.

    Parameters
    ----------
    host
        The other server.
    login
        The login name there; default: the address.
    master_user
        Log in as this user on behalf of each account (Dovecot's master user).
    password_file
        Of the user, or of the master user.
    port
        Default: 993, and 143 without implicit TLS.
    security
        tls: from the first octet; starttls; none: in the clear.
    ca_file
        Certificates to trust beside the system's.
    """
    try:
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise CommandProblem(f"{ca_file}: {error}", code=os.EX_NOINPUT) from None
    server = Server(host, port or (993 if security == "tls" else 143), security, context)
    people = wanted(account, accounts)
    common = _password(password_file) if any(not one.password for one in people) else ""

    async def source(one: Wanted) -> Source:
        name = one.login or login or one.address
        return await ImapSource.connect(server, Login(name, one.password or common, master_user))

    return _bring(source, people, how, json, config)


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            return (file.read_text("utf-8").splitlines() or [""])[0]
        except OSError as error:
            raise CommandProblem(f"{file}: {error.strerror}", code=os.EX_NOINPUT) from None
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if sys.stdin.isatty():
        return getpass.getpass("Password there: ")
    raise CommandProblem(
        "there is no password", hint=f"Use --password-file or ${PASSWORD}.", code=os.EX_USAGE
    )


def _bring(
    open_source: Callable[[Wanted], Awaitable[Source]],
    people: list[Wanted],
    how: How,
    json: bool,
    config: Path | None,
) -> int:
    """Bring the mail of each account; the exit code: messages left out, or not whole, are a failure."""
    wishes = how.wishes()
    skipped: list[str] = []
    warnings: list[str] = []

    async def work(
        loaded: Config, database: Database, blobs: Blobs, one: Wanted, progress: ProgressDisplay
    ) -> dict[str, Any]:
        account = await who.find(database, one.address)
        ids = LetterIds(int.from_bytes(os.urandom(2)) % SLOTS, lambda: int(time.time() * 1000))
        place = Place(database, blobs, ids.new, time.time, loaded.accounts.mailbox_size_limit)
        source = await open_source(one)
        try:
            outcome = await bring(source, place, account.id, account.address, wishes, progress)
        finally:
            await source.close()
        skipped.extend(f"{one.address}: {why}" for why in outcome.skipped)
        warnings.extend(outcome.warnings)
        return {
            "account": account.address,
            "mailboxes": outcome.folders,
            "added": outcome.added,
            "there_already": outcome.known,
            "flags_changed": outcome.flags_changed,
            "octets": outcome.octets,
            "uids_not_kept": outcome.uids_not_kept,
            "skipped": outcome.skipped_count,
            "warnings": outcome.warnings if json else len(outcome.warnings),
        }

    run(people, work, "messages", json=json, config=config)
    for why in skipped:
        tell(f"left out: {why}")
    for warning in warnings:
        tell(f"warning: {warning}", "What there is of it was brought; look for a whole copy.")
    return os.EX_DATAERR if skipped or warnings else os.EX_OK
