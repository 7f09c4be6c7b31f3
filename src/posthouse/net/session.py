"""What the pump and those who use it say to each other: cores, drivers, streams, peers.

A driver decides the events of one session. It answers each with a decision, a future or coroutine of
one, or a `Stream`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from posthouse.net.pump import Pump
    from posthouse.protocol.sasl import Channel


class Peer(NamedTuple):
    """The other end of a connection."""

    address: str
    """IP address as text, IPv4-mapped IPv6 as IPv4; `local` for a Unix socket."""
    port: int = 0
    uid: int | None = None
    """The user id of the process at the other end of a Unix socket."""


class Core(Protocol):
    """A sans-I/O server session: what the pump calls, in the order of its life.

    One event is outstanding at a time; `answer` is called for each, with None too. A core that has a
    method `fail()` is told by it that the service cannot go on; otherwise `time_out()` has to do.
    """

    wants_tls: bool
    closing: bool
    timeout: float

    def receive(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def next_event(self) -> Any: ...
    def answer(self, decision: Any) -> None: ...
    def take_output(self) -> bytes: ...
    def tls_started(self, info: str, channel: Channel) -> None: ...
    def time_out(self) -> None: ...
    def shut_down(self) -> None: ...


class Driver(Protocol):
    """What decides the events of one session."""

    def connected(self, pump: Pump) -> None:
        """The connection stands (implicit TLS and PROXY included); events follow."""

    def handle(self, event: Any) -> Any:
        """A decision, a future or coroutine of one, or a `Stream`."""

    def closed(self, reason: str) -> None:
        """The connection ended. Called once, and only after `connected`.

        `reason`: quit (the core closed it), eof, reset, timed out, failed, aborted, shut down, or what
        went wrong with TLS.
        """


class Stream:
    """An answer too big to hold: pieces of output, then a decision for `core.answer`.

    The iterator may set `then` while it runs. It is closed when the connection ends before it.
    """

    __slots__ = ("pieces", "then")

    def __init__(self, pieces: Iterable[bytes] | AsyncIterable[bytes], then: Any = None) -> None:
        self.pieces = pieces
        self.then = then


class FilterError(Exception):
    """What the peer sent does not pass through the filter."""


class Filter(Protocol):
    """What octets pass through, between TLS and the core (see `posthouse.net.compression`)."""

    @property
    def waiting(self) -> bool:
        """More can be read of what was received."""

    def receive(self, data: bytes) -> None:
        """Takes octets of the network."""

    def read(self, most: int) -> bytes:
        """The octets for the core that come next, `most` of them at most. Raises FilterError."""

    def send(self, data: bytes) -> bytes:
        """The octets for the network that carry `data`."""


class Through:
    """An answer with which the way of the octets changes: `then` is for `core.answer`, and is written yet.

    From then on they pass through `filter`; None: through none any more.
    """

    __slots__ = ("filter", "then")

    def __init__(self, then: Any, filter: Filter | None) -> None:
        self.then = then
        self.filter = filter


class Alive(Protocol):
    """Who knows the live connections (see `posthouse.net.listener`)."""

    def add(self, connection: Any) -> None: ...
    def discard(self, connection: Any) -> None: ...


class Gate(Protocol):
    """Who counts connections (see `posthouse.net.limits`)."""

    def enter(self, address: str) -> bool: ...
    def leave(self, address: str) -> None: ...


class _OpenGate:
    def enter(self, address: str) -> bool:
        return True

    def leave(self, address: str) -> None:
        """Nothing was counted."""


OPEN = _OpenGate()

TlsSource: TypeAlias = Callable[[], ssl.SSLContext | None]
"""Gives the server context for the next handshake, so that a reload takes effect at once."""
