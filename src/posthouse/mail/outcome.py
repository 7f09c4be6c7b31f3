"""What became of one recipient at one attempt: three values, carried unchanged from where they arise.

The reply of a remote server, or one of ours where there was no remote server to speak, travels in
them to the queue, the delivery status notification, the journey and the page.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from posthouse.mail.reply import Reply


class Delivered(NamedTuple):
    """The next hop (or the mailbox) has taken responsibility."""

    reply: Reply
    place: str = ""
    """Where it lies now: the next hop's `host[address]:port`, or `mailbox NAME of ADDRESS`."""


class Deferred(NamedTuple):
    """Not now; worth another attempt."""

    reply: Reply
    place: str = ""


class Failed(NamedTuple):
    """Never; a bounce tells the sender."""

    reply: Reply
    place: str = ""


Outcome: TypeAlias = Delivered | Deferred | Failed


def outcome_of(reply: Reply, place: str = "") -> Outcome:
    """What a reply of an SMTP server means for the recipient it answers."""
    if reply.positive:
        return Delivered(reply, place)
    return Deferred(reply, place) if reply.transient else Failed(reply, place)
