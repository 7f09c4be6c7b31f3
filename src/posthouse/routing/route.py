"""The answers of routing: what one recipient is, and where its letter goes."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from posthouse.mail.address import Address
from posthouse.mail.envelope import AccountId
from posthouse.mail.reply import Reply


class Kind(Enum):
    """What the address of a RCPT is to us."""

    LOCAL = "local"
    """An account."""
    ALIAS = "alias"
    """Stands for others: an alias, a catch-all, or postmaster where nobody defined it."""
    FORWARD = "forward"
    """An alias whose new address the sender is told (251)."""
    LIST = "list"
    MOVED = "moved"
    """Refused with the new address (551)."""
    RELAY = "relay"
    """In a domain that we pass mail on for."""
    REMOTE = "remote"
    """In somebody else's domain; only our own clients may send there."""
    UNKNOWN = "unknown"
    """In a domain of ours, but nobody: refused for good, or for now."""


class Local(NamedTuple):
    """A final recipient here."""

    account: AccountId
    address: str
    """The canonical address of the account."""
    detail: str = ""
    """The detail of a subaddress (RFC 5233), as written; empty where there is none."""


class Remote(NamedTuple):
    """A final recipient elsewhere."""

    address: Address
    next_hop: str
    """A domain in A-labels, whose MX records decide, or `[host]:port`."""


class Unknown(NamedTuple):
    """A target of an alias to which nothing can be delivered, and why."""

    address: Address
    reply: Reply


Final: TypeAlias = Local | Remote


class Resolution(NamedTuple):
    """All about one recipient address."""

    given: Address
    kind: Kind
    finals: tuple[Final, ...]
    """Where the letter goes, each once; empty exactly where `reply` is negative."""
    reply: Reply
    """What RCPT is answered, once policy has nothing against it: 250, 251, 450, 451, 550, 551."""
    path: tuple[str, ...] = ()
    """How `given` became `finals`, one sentence a step; for the journey."""
    failures: tuple[Unknown, ...] = ()
    """Targets that fail although others do not: each is bounced, or deferred, by itself."""

    @property
    def ours(self) -> bool:
        """Whether the address lies in a domain that we are responsible for."""
        return self.kind is not Kind.REMOTE
