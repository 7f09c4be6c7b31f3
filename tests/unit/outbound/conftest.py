"""Other people's mail servers on loopback, DNS as a table, and an Outbound to try on them."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from posthouse.mail.address import parse_address
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import Recipient, Sender
from posthouse.net.pump import Pump
from posthouse.outbound.hop import NextHop
from posthouse.outbound.send import Job, Outbound, Settings
from posthouse.ports import Found, LookupFailed, Mx, NotFound
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities
from tests.transcripts.smtp import Desk

TEXT = b"Subject: x\r\n\r\n.hello\r\n"


class Zone:
    """A Resolver over two tables; a string is the reason of a failed look-up."""

    def __init__(self) -> None:
        self.exchanges: dict[str, list[Mx] | str | None] = {}
        self.hosts: dict[str, list[str] | str] = {}
        self.asked: list[str] = []

    async def mx(self, name: str) -> Found[Mx] | NotFound | LookupFailed:
        self.asked.append(name)
        answer = self.exchanges.get(name, [])
        if answer is None:
            return NotFound(no_such_name=True)
        if isinstance(answer, str):
            return LookupFailed(answer)
        return Found(tuple(answer), 60, name=name) if answer else NotFound(no_such_name=False)

    async def addresses(self, name: str) -> Found[str] | NotFound | LookupFailed:
        answer = self.hosts.get(name, [])
        if isinstance(answer, str):
            return LookupFailed(answer)
        return Found(tuple(answer), 60) if answer else NotFound(no_such_name=False)

    async def txt(self, name: str) -> Found[bytes] | NotFound | LookupFailed:
        return NotFound(no_such_name=True)

    async def ptr(self, address: str) -> Found[str] | NotFound | LookupFailed:
        return NotFound(no_such_name=True)


class StillClock:
    def now(self) -> float:
        return 1_700_000_000.0


class Dice:
    """Chance that a test can repeat."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def random(self) -> float:
        return self._random.random()

    def token(self, octets: int) -> bytes:
        return self._random.randbytes(octets)

    def shuffle(self, items: list[object]) -> None:
        self._random.shuffle(items)


class Certificates:
    """A certificate authority that we trust, and client contexts as net.tls makes them."""

    def __init__(self) -> None:
        self.authority = trustme.CA()

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def opportunistic(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


class Post:
    """The driver of one session of a house: a desk decides."""

    def __init__(self, house: House) -> None:
        self.session = ServerSession(house.capabilities)
        self.desk = Desk(self.session, lmtp=house.capabilities.lmtp)
        self.pump: Pump | None = None
        house.posts.append(self)

    def connected(self, pump: Pump) -> None:
        self.pump = pump

    def handle(self, event: Any) -> Any:
        return self.desk.decide(event)

    def closed(self, reason: str) -> None:
        self.pump = None

    def vanish(self) -> None:
        """Cut the connection, as a crash would."""
        if self.pump is not None:
            self.pump.abort()


class House:
    """A mail server of somebody else's: our own core and pump, on a port of its own."""

    def __init__(self, capabilities: Capabilities, context: ssl.SSLContext | None) -> None:
        self.capabilities = capabilities
        self.context = context
        self.posts: list[Post] = []
        self.port = 0

    def session(self, *, implicit_tls: bool) -> Pump:
        post = Post(self)
        return Pump(post.session, post, tls=lambda: self.context, implicit_tls=implicit_tls)

    @property
    def letters(self) -> list[bytes]:
        return [letter for post in self.posts for letter in post.desk.letters]


class Script(asyncio.Protocol):
    """A server that says its lines, one for each read, whatever it hears; `None` drops the connection."""

    def __init__(
        self, lines: list[bytes | None], heard: list[bytes], open_now: set[asyncio.Transport]
    ) -> None:
        self._lines = list(lines)
        self._open_now = open_now
        self._heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_now.add(transport)
        self._say()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_now.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._heard.append(data)
        self._say()

    def _say(self) -> None:
        line = self._lines.pop(0) if self._lines else b""
        if line is None:
            self._transport.close()
        elif line:
            self._transport.write(line)


class World:
    """What a test needs: servers, DNS, and an Outbound with settings of its own."""

    def __init__(self) -> None:
        self.zone = Zone()
        self.certificates: Certificates | None = None
        self.ours: set[tuple[str, int]] = set()
        self._servers: list[asyncio.Server] = []
        self._houses: list[House] = []
        self._outbounds: list[Outbound] = []
        self._open_now: set[asyncio.Transport] = set()

    def outbound(self, **settings: Any) -> Outbound:
        outbound = Outbound(
            Settings("me.example", **settings),
            self.zone,
            StillClock(),
            Dice(),
            contexts=self.certificates,
            is_us=lambda host, port: (host, port) in self.ours,
        )
        self._outbounds.append(outbound)
        return outbound

    async def house(
        self, *names: str, host: str = "127.0.0.1", port: int = 0, implicit_tls: bool = False, **more: Any
    ) -> House:
        """A server with our own core; with names it has a certificate for them, and STARTTLS."""
        context = self._issue(*names) if names else None
        capabilities = Capabilities("mx.example", starttls=bool(names) and not implicit_tls, **more)
        house = House(capabilities, context)
        server = await asyncio.get_running_loop().create_server(
            lambda: house.session(implicit_tls=implicit_tls), host, port
        )
        house.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        self._houses.append(house)
        return house

    async def script(
        self, *lines: bytes | None, host: str = "127.0.0.1", port: int = 0
    ) -> tuple[int, list[bytes]]:
        """A server that reads its replies from a list; its port and what it hears."""
        heard: list[bytes] = []
        server = await asyncio.get_running_loop().create_server(
            lambda: Script(list(lines), heard, self._open_now), host, port
        )
        self._servers.append(server)
        return server.sockets[0].getsockname()[1], heard

    def _issue(self, *names: str) -> ssl.SSLContext:
        if self.certificates is None:
            self.certificates = Certificates()
        return self.certificates.server(*names)

    def _busy(self) -> bool:
        return any(post.pump is not None for house in self._houses for post in house.posts)

    async def close(self) -> None:
        for outbound in self._outbounds:
            outbound.close()
        for house in self._houses:
            for post in house.posts:
                post.vanish()
        for transport in list(self._open_now):
            transport.abort()
        for server in self._servers:
            server.close()
        async with asyncio.timeout(5):
            while self._open_now or self._busy():  # noqa: ASYNC110
                await asyncio.sleep(0)
        for _ in range(20):  # the other ends learn of it
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.close()


def host(port: int, address: str = "127.0.0.1") -> NextHop:
    return NextHop(address, port, look_up_mx=False)


def domain(name: str, port: int) -> NextHop:
    return NextHop(name, port, look_up_mx=True)


def job(*recipients: str, **more: Any) -> Job:
    to = tuple(Recipient(parse_address(recipient)) for recipient in recipients or ("bob@example.org",))
    content = more.pop("content", MemoryContent(TEXT))
    return Job(Sender(parse_address("alice@example.net")), to, content, **more)
