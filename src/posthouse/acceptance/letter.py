"""A letter on its way in, and the fates that a plan gives its recipients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from posthouse.journey.record import Step
from posthouse.mail.content import Content
from posthouse.mail.envelope import AccountId, Client, LetterId, Recipient, Sender
from posthouse.mail.header import HeaderIndex
from posthouse.mail.reply import Reply


@dataclass(slots=True)
class Letter:
    """What is being accepted. `trace` holds the fields that every copy gets (RFC 5321 §4.4)."""

    id: LetterId
    sender: Sender
    client: Client
    content: Content
    trace: bytes
    arrived: float
    """Seconds since 1970 UTC."""
    steps: list[Step] = field(default_factory=list)
    """The journey so far; `accept` writes it with what it adds."""
    reply_each: bool = False
    """LMTP: each recipient is answered by itself, so what fails is replied and not bounced."""
    header: HeaderIndex = field(init=False)

    def __post_init__(self) -> None:
        self.header = HeaderIndex(self.content.head)


class Store(NamedTuple):
    """Into a mailbox of ours."""

    number: int
    recipient: Recipient
    account: AccountId
    address: str
    """The account's address."""
    mailbox: str
    prefix: bytes
    """Trace fields of this copy."""


class Queue(NamedTuple):
    """Into the queue, for `next_hop`; `reason` says why it has to wait, and is None where it need not."""

    number: int
    recipient: Recipient
    next_hop: str
    reason: Reply | None = None


class Bounce(NamedTuple):
    """Nowhere; the sender is told."""

    number: int
    recipient: Recipient
    reply: Reply


class Discard(NamedTuple):
    """Nowhere, and nobody is told; the journey says why."""

    number: int
    recipient: Recipient
    reason: str


Fate: TypeAlias = Store | Queue | Bounce | Discard


class Plan(NamedTuple):
    """One fate per final recipient."""

    fates: tuple[Fate, ...]
    expanded: tuple[Recipient, ...] = ()
    """Recipients whose sender is owed a report that they were expanded (RFC 3464 §2.3.3)."""
    lots: tuple[tuple[int, ...], ...] = ()
    """For each recipient as given: the indexes of its fates. LMTP answers by them."""

    @property
    def accounts(self) -> list[int]:
        """The account rows that carrying it out will lock, in order."""
        return sorted({fate.account for fate in self.fates if type(fate) is Store})
