"""Other people's mail server, in a thread of its own, and the commands as somebody types them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.reply import AUTHENTICATED, READY_FOR_TLS, Reply, queued_as
from posthouse.net.listener import Listener
from posthouse.pocket.dns import PocketDns
from posthouse.protocol.smtp import events
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities
from tests import commandline


class Taken(NamedTuple):
    """A letter that the server has taken."""

    sender: Sender
    recipients: tuple[Recipient, ...]
    content: bytes


class Scene:
    """How the server behaves, and what it has seen."""

    def __init__(self) -> None:
        self.letters: list[Taken] = []
        self.logins: list[tuple[str, str]] = []
        self.replies: dict[str, Reply] = {}
        """By `CONNECT`, `MAIL`, `DATA`, `END`, or the address of a recipient."""
        self.drop_at: type | None = None
        """The event at which it cuts the connection."""
        self.uids: list[int | None] = []


class Driver:
    def __init__(self, core: ServerSession, scene: Scene) -> None:
        self._core = core
        self._scene = scene
        self._content = bytearray()
        self._recipients: list[Recipient] = []
        self._sender = Sender(None)

    def connected(self, pump: Any) -> None:
        self._pump = pump
        self._scene.uids.append(pump.peer.uid)

    def handle(self, event: Any) -> Any:
        scene = self._scene
        if scene.drop_at is type(event):
            self._pump.abort()
            return None
        match event:
            case events.Connected():
                return scene.replies.get("CONNECT")
            case events.StartTls():
                return READY_FOR_TLS
            case events.Auth(_, credentials):
                scene.logins.append((credentials.identity, credentials.password))
                return scene.replies.get("AUTH", AUTHENTICATED)
            case events.Mail(sender):
                self._sender, self._recipients = sender, []
                return scene.replies.get("MAIL")
            case events.Rcpt(recipient):
                reply = scene.replies.get(str(recipient.address))
                if reply is None or reply.positive:
                    self._recipients.append(recipient)
                return reply
            case events.Data():
                self._content = bytearray()
                return scene.replies.get("DATA")
            case events.Chunk(data):
                self._content += data
            case events.EndOfData():
                refusal = scene.replies.get("END")
                if refusal is not None:
                    return refusal
                scene.letters.append(Taken(self._sender, tuple(self._recipients), bytes(self._content)))
                return queued_as("0000000000000")
        return None

    def closed(self, reason: str) -> None:
        """Nothing to do."""


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Server:
    """One listener and its scene."""

    def __init__(
        self,
        loop: Loop,
        listening: socket.socket,
        capabilities: Capabilities,
        context: ssl.SSLContext,
        *,
        implicit_tls: bool,
    ) -> None:
        self.scene = Scene()
        self.context = context
        self._loop = loop
        self.socket = listening

        def session() -> tuple[ServerSession, Driver]:
            core = ServerSession(capabilities, Limits(timeout=20.0))
            return core, Driver(core, self.scene)

        self._listener = Listener(
            "test", [listening], session, tls=lambda: self.context, implicit_tls=implicit_tls
        )
        loop.run(self._listener.start())

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def refuse_tls(self) -> None:
        """From now on it has no certificate to show, and every handshake fails."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def shut_down(self) -> None:
        """Say goodbye to everybody."""
        self._loop.loop.call_soon_threadsafe(self._listener.shut_down)

    def close(self) -> None:
        async def stop() -> None:
            self._listener.stop_accepting()
            for pump in list(self._listener.pumps):
                pump.abort()

        self._loop.run(stop())
        self.socket.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def serve(loop: Loop, authority: trustme.CA) -> Iterator[Callable[..., Server]]:
    """Makes a server on a free port of loopback, or on a Unix socket at `path`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "mail.test").configure_cert(context)
    with ExitStack() as stack:

        def make(path: Path | None = None, *, implicit_tls: bool = False, **capabilities: Any) -> Server:
            if path is None:
                listening = socket.create_server(("127.0.0.1", 0))
            else:
                listening = socket.socket(socket.AF_UNIX)
                listening.bind(str(path))
                listening.listen()
            server = Server(
                loop,
                listening,
                Capabilities("mail.test", message_size_limit=10_000_000, **capabilities),
                context,
                implicit_tls=implicit_tls,
            )
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def dns(loop: Loop) -> Iterator[PocketDns]:
    dns = PocketDns()
    loop.run(dns.start())
    yield dns
    loop.run(dns.close())


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections, by the kernel alone, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def posthouse(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `posthouse …` where there is no configuration; checks the exit code."""

    def run(
        *arguments: str, stdin: bytes = b"", code: int = os.EX_OK, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        told = commandline.posthouse(*arguments, stdin=stdin, directory=tmp_path, variables=variables)
        assert told.returncode == code, told
        return told

    return run
