"""The few interfaces through which the pure rooms see the world: time, chance and DNS.

Each has two real things behind it: the machine's and the pocket internet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Clock(Protocol):
    """Wall-clock time. Due times, lifetimes, dates and history use it; lease expiry uses the database's."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""


class Random(Protocol):
    """Chance: jitter, shuffles, ids."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def token(self, octets: int) -> bytes:
        """Unpredictable octets."""

    def shuffle(self, items: list[object]) -> None:
        """Put `items` into a random order, in place."""


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[T_co]):
    """The answer of DNS: at least one record."""

    records: tuple[T_co, ...]
    ttl: int = 0
    """Seconds for which the answer may still be kept."""
    authenticated: bool = False
    """The AD bit, from a resolver we trust to set it (RFC 4035 §3.2.3)."""
    name: str = ""
    """The name at the end of the CNAME chain, without the final dot."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """DNS answered: there is no such name, or it has no such record. Permanent."""

    no_such_name: bool
    """True for NXDOMAIN, false for NODATA."""
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class LookupFailed:
    """DNS gave no usable answer (time-out, SERVFAIL, loop of CNAMEs …). Temporary."""

    reason: str


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """An MX record. `exchange` is lower case, without the final dot; empty for a null MX (RFC 7505)."""

    preference: int
    exchange: str


class Resolver(Protocol):
    """DNS with three distinct results: found, does not exist (permanent), failed (temporary).

    Names are given and returned as A-labels in lower case without the final dot. CNAME chains are
    followed. Addresses are text.
    """

    async def mx(self, name: str) -> Found[Mx] | NotFound | LookupFailed: ...

    async def addresses(self, name: str) -> Found[str] | NotFound | LookupFailed:
        """A and AAAA records together."""

    async def txt(self, name: str) -> Found[bytes] | NotFound | LookupFailed:
        """TXT records, the strings of each joined."""

    async def ptr(self, address: str) -> Found[str] | NotFound | LookupFailed:
        """Names of an IP address (in-addr.arpa, ip6.arpa)."""
