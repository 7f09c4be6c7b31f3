"""What the sessions of one listener share: who decides, and under which name we speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from posthouse.mail.envelope import AccountId
from posthouse.mail.reply import Reply

if TYPE_CHECKING:
    from posthouse.acceptance.accept import Acceptance
    from posthouse.accounts.authentication import Authenticator
    from posthouse.journey.refusals import Refusals
    from posthouse.mail.ids import LetterIds
    from posthouse.net.anteroom import Anteroom
    from posthouse.policy.policy import Policy
    from posthouse.ports import Clock
    from posthouse.protocol.smtp.limits import Limits
    from posthouse.protocol.smtp.verbs import Capabilities
    from posthouse.routing import Router
    from posthouse.submission.submission import Submission


class Octets(Protocol):
    """What a URL names."""

    @property
    def size(self) -> int: ...
    def read(self) -> AsyncIterator[bytes]:
        """Raises EOFError where there is less than was said, OSError where it cannot be had now."""


FromUrl: TypeAlias = Callable[[str, str], Awaitable[Octets | Reply]]
"""What an IMAP URL names for a user, who is named first; a reply where he does not get it."""


class Role(Enum):
    """For whom a listener is there."""

    MX = "strangers"
    SUBMISSION = "users"
    LMTP = "another MTA of ours"


class MidLetter:
    """How many sessions of a worker are between MAIL and the end of data: group commit waits for them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, slots=True)
class Service:
    """One listener of one worker, as configured when a session begins."""

    name: str
    """As in [listen]."""
    role: Role
    capabilities: Capabilities
    limits: Limits
    acceptance: Acceptance
    authenticator: Authenticator
    policy: Policy
    router: Router
    submission: Submission
    refusals: Refusals
    ids: LetterIds
    clock: Clock
    spool_directory: Path
    hopcount_limit: int
    full: Callable[[AccountId, int], bool | Awaitable[bool]]
    """Whether an account's quota leaves no room for so many octets."""
    mid_letter: MidLetter
    from_url: FromUrl
    anteroom: Anteroom
    """Where users stay until they have logged in."""
