"""The pocket internet: DNS, a CA, a clock, and any number of mail servers, all on loopback.

    async with PocketInternet() as net:
        north = await net.add_server("north.test", {"alice": "secret"})
        south = await net.add_peer("south.test")
        south.script(greylisting(times=1))
        await net.clock.advance(300)

Each server has a loopback address of its own and an MX record; all MX hosts listen on one port, chosen at
the start. Nothing leaves the machine. It needs addresses 127.0.0.2 and up, as Linux has them.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from posthouse.pocket.ca import PocketCa
from posthouse.pocket.clock import VirtualClock
from posthouse.pocket.dns import PocketDns
from posthouse.pocket.peer import ScriptedPeer
from posthouse.pocket.server import InProcess, Place, PocketServer, Subprocess

Server = TypeVar("Server", bound=PocketServer)
_FIRST_HOST = 2
_LAST_HOST = 250


class PocketInternet:
    """`directory` keeps everything; without one it is a temporary directory that goes with the internet."""

    def __init__(self, directory: Path | None = None) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="posthouse-", ignore_cleanup_errors=True)
            if directory is None
            else None
        )
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self.dns = PocketDns()
        self.ca = PocketCa(self.directory / "ca")
        self.clock = VirtualClock()
        self.servers: list[PocketServer] = []
        self.peers: list[ScriptedPeer] = []
        self.smtp_port = 0
        """The port of all MX hosts."""
        self._reservation: socket.socket | None = None
        self._next_host = _FIRST_HOST

    async def __aenter__(self) -> PocketInternet:
        # Whoever holds this port on 127.0.0.1 has it on the other loopback addresses.
        self._reservation = socket.create_server(("127.0.0.1", 0))
        self.smtp_port = self._reservation.getsockname()[1]
        await self.dns.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(server.stop() for server in self.servers))
            await asyncio.gather(*(peer.close() for peer in self.peers))
        finally:
            await self.dns.close()
            await self.clock.close()
            if self._reservation is not None:
                self._reservation.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    async def add_server(
        self,
        domain: str,
        users: Mapping[str, str] | None = None,
        *,
        hostname: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> InProcess:
        """A Posthouse for `domain` in this process, on the internet's clock; already serving.

        `users`: local part → password. `settings` are tables and keys of posthouse.toml on top of the
        usual. Raises ConfigError, CannotListen.
        """
        host = hostname or f"mail.{domain}"
        place, tls = self._place(domain, host)
        server = InProcess(domain, host, place, users or {}, {"tls": tls, **(settings or {})}, self.clock)
        return await self._begin(server)

    async def add_subprocess(
        self,
        domain: str,
        users: Mapping[str, str] | None = None,
        *,
        hostname: str = "",
        settings: Mapping[str, Any] | None = None,
        follow_clock: bool = False,
    ) -> Subprocess:
        """The same as `posthouse serve`, in processes of its own.

        Its clock is the machine's; with `follow_clock` it is the internet's, by a program that differs
        from `posthouse serve` in nothing else.
        """
        host = hostname or f"mail.{domain}"
        place, tls = self._place(domain, host)
        clock = self.directory / "clock" if follow_clock else None
        if clock is not None and not self.clock.serving:
            await self.clock.serve(clock)
        return await self._begin(
            Subprocess(domain, host, place, users or {}, {"tls": tls, **(settings or {})}, clock)
        )

    async def add_peer(
        self, domain: str, *, hostname: str = "", tls: bool = True, **options: Any
    ) -> ScriptedPeer:
        """Somebody else's server for `domain`, which does what its script says. `options`: ScriptedPeer's."""
        host = hostname or f"mx.{domain}"
        address = self._announce(domain, host)
        peer = ScriptedPeer(host, ca=self.ca if tls else None, **options)
        await peer.start(address, self.smtp_port)
        self.peers.append(peer)
        return peer

    async def _begin(self, server: Server) -> Server:
        await server.set_up()
        await server.start()
        self.servers.append(server)
        return server

    def _place(self, domain: str, hostname: str) -> tuple[Place, dict[str, str]]:
        address = self._announce(domain, hostname)
        directory = self.directory / domain
        directory.mkdir(parents=True)
        certificate = self.ca.issue(hostname).certificate
        place = Place(directory, address, self.smtp_port, self.dns.endpoint, self.ca.certificate)
        return place, {"certificate": str(certificate)}

    def _announce(self, domain: str, hostname: str) -> str:
        """Give a host the next address, and tell DNS."""
        if self._next_host > _LAST_HOST:
            raise RuntimeError("the pocket internet is full")
        address = f"127.0.0.{self._next_host}"
        self._next_host += 1
        self.dns.add(domain, "MX", f"10 {hostname}")
        self.dns.add(hostname, "A", address)
        self.dns.add(".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR", hostname)
        return address
