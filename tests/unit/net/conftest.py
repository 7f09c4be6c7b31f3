"""Both event loops, and a line protocol small enough to read, for everything that drives a core."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest
import trustme
import uvloop

from posthouse.net.listener import Listener
from posthouse.protocol.sasl import Channel

T = TypeVar("T")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine on each of the two event loops; what hangs fails."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runner(coroutine: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await coroutine

        with asyncio.Runner(loop_factory=factory) as loop:
            return loop.run(bounded())

    return runner


class LineCore:
    """Every line is an event, every decision is written; `STARTTLS` and `QUIT` do what they say."""

    def __init__(self, timeout: float = 60.0) -> None:
        self.wants_tls = self.closing = False
        self.timeout = timeout
        self.received = 0
        self.tls = ""
        self._input = bytearray()
        self._output: list[bytes] = []
        self._outstanding: bytes | None = None
        self._greeted = self._draining = False

    def receive(self, data: bytes) -> None:
        self.received += len(data)
        self._input += data

    def receive_eof(self) -> None:
        self._input.clear() if b"\n" not in self._input else None

    def next_event(self) -> bytes | None:
        assert self._outstanding is None, "asked while an event is outstanding"
        if self.closing or self.wants_tls:
            return None
        if not self._greeted:
            self._greeted = True
            self._outstanding = b"connected"
            return self._outstanding
        line, newline, rest = self._input.partition(b"\r\n")
        if not newline:
            return None
        self._input = rest
        self._outstanding = bytes(line)
        return self._outstanding

    def answer(self, decision: bytes | None) -> None:
        assert self._outstanding is not None, "answered without an event"
        if decision:
            self._output.append(decision + b"\r\n")
        if self._outstanding == b"STARTTLS":
            self.wants_tls = True
        self.closing = self.closing or self._outstanding == b"QUIT" or self._draining
        self._outstanding = None

    def take_output(self) -> bytes:
        output = b"".join(self._output)
        self._output.clear()
        return output

    def tls_started(self, info: str, channel: Channel) -> None:
        self.wants_tls = False
        self.tls = info
        self._input.clear()

    def time_out(self) -> None:
        self._output.append(b"421 timed out\r\n")
        self.closing = True

    def fail(self) -> None:
        self._output.append(b"421 failed\r\n")
        self.closing = True

    def shut_down(self) -> None:
        self._draining = True
        if self._outstanding is None:
            self._output.append(b"421 shutting down\r\n")
            self.closing = True


class LineDriver:
    """Answers with what `answers` says for a line (a value, or a function that makes it), else `ok LINE`."""

    def __init__(self, answers: dict[bytes, Any] | None = None) -> None:
        self.answers = answers or {}
        self.events: list[bytes] = []
        self._waiting: dict[bytes, asyncio.Event] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pump: Any = None

    def connected(self, pump: Any) -> None:
        self.pump = pump

    def handle(self, event: bytes) -> Any:
        self.events.append(event)
        if event in self._waiting:
            self._waiting[event].set()
        answer = self.answers.get(event, b"ok " + event)
        return answer() if callable(answer) else answer

    async def seen(self, event: bytes) -> None:
        if event not in self.events:
            await self._waiting.setdefault(event, asyncio.Event()).wait()

    def closed(self, reason: str) -> None:
        self.ended.set_result(reason)


class Served:
    """A listener on a free port, whose sessions all look alike, and its clients."""

    def __init__(self, answers: dict[bytes, Any] | None, timeout: float, options: dict[str, Any]) -> None:
        self.cores: list[LineCore] = []
        self.drivers: list[LineDriver] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.socket = options.pop("socket", None) or socket.create_server(("127.0.0.1", 0))

        def session() -> tuple[LineCore, LineDriver]:
            self.cores.append(LineCore(timeout))
            self.drivers.append(LineDriver(answers))
            return self.cores[-1], self.drivers[-1]

        self.listener = Listener("test", [self.socket], session, **options)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        self.writers.append(writer)
        return reader, writer

    async def talk(self, octets: bytes, **options: Any) -> bytes:
        """Send all, close the sending side, and return everything that came back."""
        reader, writer = await self.connect(**options)
        writer.write(octets)
        if not options:
            writer.write_eof()
        return await reader.read()


@contextlib.asynccontextmanager
async def serve(
    answers: dict[bytes, Any] | None = None, *, timeout: float = 60.0, **options: Any
) -> AsyncIterator[Served]:
    served = Served(answers, timeout, options)
    await served.listener.start()
    try:
        yield served
    finally:
        served.listener.stop_accepting()
        for pump in served.listener.pumps:
            pump.abort()
        for writer in served.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture(name="serve")
def serve_fixture() -> Any:
    return serve


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.test").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
