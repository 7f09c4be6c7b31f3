"""How the wish for delivery status notifications passes through an alias (RFC 3461 §5.2.7).

The envelope sender stays as it is for all kinds of alias; so the sender is told of what fails behind
them. A list with managers of its own (a new reverse-path, §5.2.7.1) is list software's work.
"""

from __future__ import annotations

from typing import NamedTuple

from posthouse.mail.address import Address
from posthouse.mail.envelope import Notify, Recipient
from posthouse.routing.route import Kind, Resolution


class Carried(NamedTuple):
    """What the final recipients of one RCPT get."""

    notify: Notify
    orcpt: str
    expanded: bool
    """True where the sender is owed a report with action `expanded` now (RFC 3464 §2.3.3)."""


def carry_over(resolution: Resolution, recipient: Recipient) -> Carried:
    """NOTIFY and ORCPT for each final of `resolution`, to which `recipient` was resolved."""
    if resolution.kind in (Kind.LOCAL, Kind.RELAY, Kind.REMOTE):
        return Carried(recipient.notify, recipient.orcpt, False)
    orcpt = recipient.orcpt or original_recipient(recipient.address)
    several = len(resolution.finals) + len(resolution.failures) > 1
    if not several and resolution.kind is not Kind.LIST:
        # RFC 3461 §5.2.7.2: an alias of one address hands everything on and reports nothing itself.
        return Carried(recipient.notify, orcpt, False)
    # RFC 3461 §5.2.7.3: of several, success is reported here, as expanded; failure and delay behind.
    if not recipient.notify & Notify.SUCCESS:
        return Carried(recipient.notify, orcpt, False)
    return Carried(recipient.notify & ~Notify.SUCCESS or Notify.NEVER, orcpt, True)


def original_recipient(address: Address) -> str:
    """An ORCPT that names `address`, for a recipient that came without (RFC 3461 §4.2, RFC 6533 §3)."""
    return f"{'rfc822' if address.ascii else 'utf-8'};{address}"
