"""What rules are asked, and what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from posthouse.mail.envelope import Client, Recipient, Sender
from posthouse.mail.reply import Reply
from posthouse.routing import Resolution


class Question(NamedTuple):
    """The evidence at one step of a session; what has not been said yet is None."""

    client: Client
    sender: Sender | None = None
    recipient: Recipient | None = None
    resolution: Resolution | None = None
    """Of `recipient`."""
    pipelined: bool = False
    """The client sent more before it may have read the reply that allows it."""


class Verdict(NamedTuple):
    """The end of a list of rules."""

    reply: Reply | None
    """The refusal, 4xx or 5xx; None: nothing against it."""
    rule: str
    """The rule that decided, by its name in the configuration; empty: none did."""

    @property
    def refused(self) -> bool:
        return self.reply is not None


GO_ON = Verdict(None, "")
"""No rule decided."""

Rule: TypeAlias = Callable[[Question], "Verdict | Awaitable[Verdict | None] | None"]
"""A rule decides, leaves it to those after it (None), or has to look something up."""
