"""`posthouse mailbox`: mailboxes of an account, and who else may use them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from posthouse.admin import mailboxes
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing
from posthouse.config.units import show_size

app = App(name="mailbox", help="Mailboxes of an account, and who else may use them.")


@app.command(name="list")
def list_(address: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the mailboxes of an account."""
    found = with_database(config, lambda _, database: mailboxes.every(database, address))
    print_listing(
        (
            {
                "mailbox": box.name,
                "messages": box.messages,
                "unseen": box.unseen,
                "size": box.octets if json else show_size(box.octets),
                "special": box.special,
                "shared with": box.shared,
            }
            for box in found
        ),
        json=json,
    )


@app.command
def rights(address: str, mailbox: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show who may do what in a mailbox, beside its owner.

    Parameters
    ----------
    address
        The owner.
    """
    found = with_database(config, lambda _, database: mailboxes.grants(database, address, mailbox))
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
        config, lambda _, database: mailboxes.share(database, address, mailbox, user, rights, below=below)
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
        config, lambda _, database: mailboxes.share(database, address, mailbox, user, "", below=below)
    )
    print(f"{user} has no rights in {', '.join(changed)} of {address} any more.")
