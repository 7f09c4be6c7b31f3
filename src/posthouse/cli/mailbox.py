"""`posthouse mailbox`: mailboxes of an account, and who else may use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import App, Parameter

from posthouse.admin import mailboxes, sharing
from posthouse.admin.mailboxes import Desk
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing
from posthouse.config.units import show_size
from posthouse.machine import MachineClock
from posthouse.store.mailboxes import SpecialUse

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database

app = App(name="mailbox", help="Mailboxes of an account, and who else may use them.")

Use: TypeAlias = Literal["archive", "drafts", "junk", "sent", "trash", "none"]
"""What a mailbox is for (RFC 6154)."""


@app.command(name="list")
def list_(address: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the mailboxes of an account, with the number and size of their messages."""
    found = with_database(config, lambda _, database: mailboxes.every(database, address))
    print_listing(
        (
            {
                "mailbox": box.name,
                "messages": box.messages,
                "unseen": box.unseen,
                "size": box.octets if json else show_size(box.octets),
                "special": box.special,
                "subscribed": box.subscribed,
                "shared with": box.shared,
            }
            for box in found
        ),
        json=json,
    )


@app.command
def create(
    address: str,
    mailbox: str,
    /,
    *,
    special_use: Use = "none",
    subscribe: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigOption = None,
) -> None:
    """Make a mailbox, and those above it that are missing.

    Parameters
    ----------
    mailbox
        Its name, with / between the levels: Lists/Python.
    special_use
        What mail programs are to use it for.
    subscribe
        Mail programs show it: many show nothing else.
    """
    special = _special_use(special_use)
    made = with_database(
        config,
        lambda settings, database: mailboxes.create(
            _desk(settings, database), address, mailbox, special=special, subscribed=subscribe
        ),
    )
    print(f"Made {', '.join(made)} of {address}.")


@app.command(name="set")
def set_(address: str, mailbox: str, /, *, special_use: Use, config: ConfigOption = None) -> None:
    """Change a mailbox.

    Parameters
    ----------
    special_use
        What mail programs are to use it for. Only one mailbox of an account is for each.
    """
    special = _special_use(special_use)
    name = with_database(
        config,
        lambda settings, database: mailboxes.set_special_use(
            _desk(settings, database), address, mailbox, special
        ),
    )
    print(f"{name} of {address} is {'nothing special' if special is None else special.value} now.")


@app.command
def delete(
    address: str,
    mailbox: str,
    /,
    *,
    with_messages: Annotated[bool, Parameter(negative="")] = False,
    below: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete a mailbox. Sessions that look at it end.

    Parameters
    ----------
    with_messages
        Even if there are messages in it, which are gone for good.
    below
        The mailboxes below it too; without, they stay.
    """
    dropped = with_database(
        config,
        lambda settings, database: mailboxes.delete(
            _desk(settings, database), address, mailbox, with_messages=with_messages, below=below
        ),
    )
    print(f"Deleted {', '.join(dropped)} of {address}, with {sum(dropped.values())} messages.")


@app.command
def rename(address: str, mailbox: str, new_name: str, /, *, config: ConfigOption = None) -> None:
    """Rename a mailbox and those below it. INBOX stays, empty: its messages go to the new one.

    Parameters
    ----------
    new_name
        The whole name, with all levels.
    """
    moved = with_database(
        config,
        lambda settings, database: mailboxes.rename(_desk(settings, database), address, mailbox, new_name),
    )
    for old, new in moved.items():
        print(f"{old} of {address} is {new} now.")


@app.command
def subscribe(address: str, mailbox: str, /, *, config: ConfigOption = None) -> None:
    """Let the user's mail programs show a mailbox: many show only those subscribed.

    Parameters
    ----------
    mailbox
        What the user calls it; also a shared one, such as Shared/info@example.org/INBOX.
    """
    name = with_database(
        config,
        lambda settings, database: mailboxes.subscribe(_desk(settings, database), address, mailbox),
    )
    print(f"{address} is subscribed to {name}.")


@app.command
def unsubscribe(address: str, mailbox: str, /, *, config: ConfigOption = None) -> None:
    """Let the user's mail programs hide a mailbox; it may be one that is gone."""
    name = with_database(
        config,
        lambda settings, database: mailboxes.unsubscribe(_desk(settings, database), address, mailbox),
    )
    print(f"{address} is no longer subscribed to {name}.")


def _desk(config: Config, database: Database) -> Desk:
    return Desk(database, MachineClock(), config.data_directory / "run")


def _special_use(use: Use) -> SpecialUse | None:
    return None if use == "none" else SpecialUse[use.upper()]


@app.command
def rights(address: str, mailbox: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show who may do what in a mailbox, beside its owner.

    Parameters
    ----------
    address
        The owner.
    """
    found = with_database(config, lambda _, database: sharing.grants(database, address, mailbox))
    print_listing(
        ({"user": grant.user, "denied": grant.negative, "rights": grant.rights} for grant in found),
        json=json,
        empty="Nobody but its owner: posthouse mailbox share ADDRESS MAILBOX USER RIGHTS",
    )


@app.command
def share(
    address: str,
    mailbox: str,
    user: str,
    rights: Annotated[str, Parameter(allow_leading_hyphen=True)] = "lr",
    /,
    *,
    below: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigOption = None,
) -> None:
    """Let somebody else use a mailbox.

    Parameters
    ----------
    address
        The owner.
    user
        An address; or anyone, which is everybody in the owner's domain.
    rights
        Letters of RFC 4314: lr to read, lrs to mark as seen too, lrswite to work with the messages,
        lrswipkxte for all but sharing on. With + or - before them they are added or taken away.
    below
        The mailboxes below it too.
    """
    changed = with_database(
        config,
        lambda settings, database: sharing.share(
            _desk(settings, database), address, mailbox, user, rights, below=below
        ),
    )
    which = f"the rights {rights.lstrip('+-')} in {', '.join(changed)} of {address}"
    verb = {"+": "was given", "-": "no longer has"}.get(rights[:1], "has")
    print(f"{user} {verb} {which}.")


@app.command
def unshare(
    address: str,
    mailbox: str,
    user: str,
    /,
    *,
    below: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigOption = None,
) -> None:
    """Take all rights in a mailbox from somebody.

    Parameters
    ----------
    below
        In the mailboxes below it too.
    """
    changed = with_database(
        config,
        lambda settings, database: sharing.share(
            _desk(settings, database), address, mailbox, user, "", below=below
        ),
    )
    print(f"{user} has no rights in {', '.join(changed)} of {address} any more.")
