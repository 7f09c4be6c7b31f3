"""Listeners: sockets that are listening already, and a session for whoever connects.

The supervisor opens the sockets; a worker builds a `Listener` per entry of [listen] around its share
of them. Draining stops accepting, lets the transactions in flight finish and says goodbye to the idle.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

from posthouse.net.connection import MIN_DATA_RATE
from posthouse.net.pump import Pump
from posthouse.net.session import OPEN, Core, Driver, Gate, TlsSource
from posthouse.observe import metrics

_NAMES = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s", "other")
_TAKEN = metrics.counters("posthouse_connections_total", "connections taken", "listener", _NAMES)
_OPEN = metrics.gauges("posthouse_connections_open", "connections that stand", "listener", _NAMES)
BACKLOG = 4096
"""Connections that wait for accept; the kernel caps it at net.core.somaxconn."""


class Connections:
    """The live connections of a listener."""

    __slots__ = ("_emptied", "_open", "_pumps")

    def __init__(self, name: str = "other") -> None:
        self._pumps: set[Pump] = set()
        self._open = _OPEN.get(name) or _OPEN["other"]
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._pumps)

    def __iter__(self) -> Iterator[Pump]:
        """A copy: connections may end meanwhile."""
        return iter(list(self._pumps))

    def add(self, connection: Any) -> None:
        self._pumps.add(connection)
        self._open.add(1)

    def discard(self, connection: Any) -> None:
        if connection in self._pumps:
            self._pumps.remove(connection)
            self._open.add(-1)
        if self._emptied is not None and not self._pumps:
            self._emptied.set()

    async def emptied(self) -> None:
        """Returns when there is none left."""
        if self._pumps:
            self._emptied = asyncio.Event()
            await self._emptied.wait()


class Listener:
    """Serves one protocol on some sockets.

    `session` makes the core and the driver of one connection. `tls` gives the context for STARTTLS
    or, with `implicit_tls`, for every connection. `gate` counts connections; one too many gets
    `refusal` (octets, as `421 …`). `proxies` are the addresses that speak the PROXY protocol (`Networks`).
    `min_data_rate`, as of `Connection`, may be changed for the connections to come.
    """

    def __init__(
        self,
        name: str,
        sockets: Sequence[socket.socket],
        session: Callable[[], tuple[Core, Driver]],
        *,
        tls: TlsSource | None = None,
        implicit_tls: bool = False,
        gate: Gate = OPEN,
        refusal: bytes = b"",
        proxies: Container[str] = (),
        min_data_rate: int = MIN_DATA_RATE,
    ) -> None:
        self.name = name
        self.min_data_rate = min_data_rate
        self.pumps = Connections(name)
        """The live connections."""
        self._sockets = sockets
        self._session = session
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._gate = gate
        self._refusal = refusal
        self._proxies = proxies
        self._servers: list[asyncio.AbstractServer] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each TCP socket, as the kernel knows them."""
        return [s.getsockname()[:2] for s in self._sockets if s.family != socket.AF_UNIX]

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        factory = self._factory(loop)
        for listening in self._sockets:
            listening.setblocking(False)
            options: dict[str, Any] = {"sock": listening, "backlog": BACKLOG}
            if listening.family == socket.AF_UNIX:
                if sys.version_info >= (3, 13) and isinstance(loop, asyncio.BaseEventLoop):
                    options["cleanup_socket"] = False  # other workers listen on it too
                server: asyncio.AbstractServer = await loop.create_unix_server(factory, **options)
            else:
                server = await loop.create_server(factory, **options)
            self._servers.append(server)

    def _factory(self, loop: asyncio.AbstractEventLoop) -> Callable[[], Pump]:
        session = self._session
        taken = _TAKEN.get(self.name) or _TAKEN["other"]

        def connect() -> Pump:
            taken.add()
            core, driver = session()
            return Pump(
                core,
                driver,
                loop,
                tls=self._tls,
                implicit_tls=self._implicit_tls,
                gate=self._gate,
                refusal=self._refusal,
                proxies=self._proxies,
                alive=self.pumps,
                min_data_rate=self.min_data_rate,
            )

        return connect

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections live on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def shut_down(self) -> None:
        """Stop accepting; end each session now or after the transaction that it is in."""
        self.stop_accepting()
        for pump in self.pumps:
            pump.shut_down()


async def drain(listeners: Iterable[Listener], seconds: float) -> int:
    """Shut all listeners down; cut what still stands after `seconds`. Returns how many had to be cut."""
    listeners = list(listeners)
    for listener in listeners:
        listener.shut_down()
    try:
        async with asyncio.timeout(seconds):
            for listener in listeners:
                await listener.pumps.emptied()
    except TimeoutError:
        pass
    left = [pump for listener in listeners for pump in listener.pumps]
    for pump in left:
        pump.abort("shut down")
    return len(left)
