"""An errand: one letter for one next hop, as the runner hands it to outbound or delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from posthouse.mail.address import Address, parse_address
from posthouse.mail.envelope import BodyType, Envelope, Notify, Recipient, Return, Sender
from posthouse.mail.outcome import Outcome
from posthouse.queue.entries import Entry, QueueLetter

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.journey.record import Step
    from posthouse.mail.content import Content

NEEDED_SECONDS = 5.0
"""What a lease must have left when an attempt begins, and before its final dot."""
RECIPIENTS = 100
"""Recipients in one errand: every server takes as many (RFC 5321 §4.5.3.1.8)."""


@dataclass(slots=True)
class Errand:
    """Entries of one letter with the same next hop, leased to this process.

    `content` is as received; what goes out is `letter.prefix` and then the content.
    """

    letter: QueueLetter
    entries: Sequence[Entry]
    next_hop: str
    leased_until: float
    """By the monotonic clock of this process."""
    content: Content | None
    """None until somebody reads it."""

    def lease_left(self) -> float:
        """Seconds for which the entries are surely ours."""
        return self.leased_until - monotonic()

    def may_finish(self) -> bool:
        """Whether the final dot may be sent: no other worker can have begun the same meanwhile."""
        return self.lease_left() >= NEEDED_SECONDS

    def envelope(self) -> Envelope:
        """Sender and recipients of this errand, with their parameters."""
        letter = self.letter
        sender = Sender(
            _address(letter.sender) if letter.sender else None,
            letter.size,
            BodyType(letter.body),
            bool(letter.smtputf8),
            Return(letter.ret),
            letter.envid,
        )
        return Envelope(sender, tuple(recipient_of(entry) for entry in self.entries))


@lru_cache(4096)
def _address(text: str) -> Address:
    return parse_address(text)


def recipient_of(entry: Entry) -> Recipient:
    """The recipient as it was given, with its parameters."""
    return Recipient(_address(entry.recipient), Notify(entry.notify), entry.orcpt)


def errands_of(
    letter: QueueLetter, entries: Iterable[Entry], content: Content | None, leased_until: float
) -> list[Errand]:
    """A letter's entries, apart by next hop, at most `RECIPIENTS` to an errand."""
    by_hop: dict[str, list[Entry]] = {}
    for entry in entries:
        by_hop.setdefault(entry.next_hop, []).append(entry)
    return [
        Errand(letter, some[start : start + RECIPIENTS], hop, leased_until, content)
        for hop, some in by_hop.items()
        for start in range(0, len(some), RECIPIENTS)
    ]


class Result(NamedTuple):
    """What became of an errand at one attempt."""

    outcomes: Sequence[Outcome]
    """One for each entry, in order."""
    steps: Sequence[Step] = ()
    """The attempt, for the journey; the outcomes are not among them."""
    unreachable: bool = False
    """Nobody answered at this next hop: other letters for it need not be tried now."""
    notifies: bool = False
    """The next hop took over the sender's wish to be notified of success (RFC 3461 §5.2.2)."""


class Carried(Protocol):
    """What became of entries that were delivered here, within the transaction."""

    @property
    def outcomes(self) -> Sequence[Outcome | None]:
        """One for each entry, in order; None where other entries have taken its place in the queue."""

    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def after(self) -> Callable[[], object]:
        """To be called once it is durable."""


class Carry(Protocol):
    """Deliver these entries of an errand in this transaction. May run more than once."""

    @property
    def accounts(self) -> Sequence[int]:
        """Whose rows it touches."""

    def __call__(self, tx: Tx, entries: Sequence[Entry], /) -> Carried: ...


class Prepare(Protocol):
    """Decide how recipients, by the numbers of their entries, get a letter here; writes nothing."""

    async def __call__(
        self,
        letter: QueueLetter,
        sender: Sender,
        recipients: Sequence[tuple[int, Recipient]],
        content: Content,
        /,
    ) -> Carry: ...
