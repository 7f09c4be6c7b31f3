"""Where the hosts of a cluster stand, and the ways between them, which can be cut.

`Namespaces`: each host is in a network namespace of its own behind a virtual link, as if it were another
machine; to cut it off is to take the link down. That takes root. `Loopback` does without: the hosts are
addresses of loopback, and their ways to everybody else are proxies that can fall silent; clients reach a
host all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence


class Place(ABC):
    """Where one host stands."""

    prefix: Sequence[str] = ()
    """What stands before a command that is to run there."""

    def __init__(self, address: str, client: str) -> None:
        self.address = address
        self.client = client
        """Whence clients connect."""

    @abstractmethod
    def way_to(self, address: str, port: int) -> tuple[str, int]:
        """How a server at `address` is reached from here."""

    @abstractmethod
    def cut(self) -> None:
        """From now on nothing arrives, nor is refused, in either direction."""

    @abstractmethod
    def heal(self) -> None:
        """Undo `cut`."""


class Network(ABC):
    """`address` is where the servers and the clients are."""

    address: str
    balancer: str
    """Another address there, of who stands between clients and hosts."""
    everybody: str
    """All of these addresses, as a network."""
    what: str

    @abstractmethod
    def place(self) -> Place:
        """A place for one more host."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is left."""


def network() -> Network:
    """The best that this machine allows."""
    try:
        return Namespaces()
    except (OSError, subprocess.CalledProcessError):
        return Loopback()


# ── network namespaces ───────────────────────────────────────────────────────────────────────────


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


class Namespaces(Network):
    """A bridge in this namespace, and a pair of virtual interfaces for each host."""

    what = "network namespaces"

    def __init__(self) -> None:
        self._name = f"ph{os.getpid()}"
        # RFC 2544 appendix C.2.2: addresses for tests between networks, which nobody routes.
        self._subnet = f"198.{random.choice((18, 19))}.{random.randrange(256)}"
        self.everybody = f"{self._subnet}.0/24"
        self.address, self.balancer = f"{self._subnet}.1", f"{self._subnet}.2"
        self._places: list[str] = []
        self._made = False
        try:
            _ip("link", "add", self._name, "type", "bridge")
            self._made = True
            for address in (self.address, self.balancer):
                _ip("addr", "add", f"{address}/24", "dev", self._name)
            _ip("link", "set", self._name, "up")
            self.place()  # to see whether it may be done
        except BaseException:
            self.close()
            raise

    def place(self) -> Place:
        number = len(self._places)
        name = f"{self._name}-{number}"
        _ip("netns", "add", name)
        self._places.append(name)
        link = f"{self._name}v{number}"
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", link, "master", self._name, "up")
        address = f"{self._subnet}.{10 + number}"
        for words in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *words)
        return _Namespace(address, self.address, name, link)

    def close(self) -> None:
        for name in self._places:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
        self._places.clear()
        if self._made:
            self._made = False
            _ip("link", "del", self._name)


class _Namespace(Place):
    def __init__(self, address: str, client: str, name: str, link: str) -> None:
        super().__init__(address, client)
        self.prefix = ("ip", "netns", "exec", name)
        self._link = link

    def way_to(self, address: str, port: int) -> tuple[str, int]:
        return address, port

    def cut(self) -> None:
        _ip("link", "set", self._link, "down")

    def heal(self) -> None:
        _ip("link", "set", self._link, "up")


# ── loopback and proxies ─────────────────────────────────────────────────────────────────────────


class Loopback(Network):
    """Addresses of loopback. The proxies run in a thread of their own."""

    what = "loopback addresses and proxies"
    address, balancer, everybody = "127.0.0.1", "127.0.0.2", "127.0.0.0/24"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._numbers = itertools.count(11)

    def place(self) -> Place:
        return _Loopback(f"127.0.0.{next(self._numbers)}", self.address, self._loop)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close it at the end, whether or not the connection has broken before."""
    try:
        with contextlib.suppress(OSError):
            yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Loopback(Place):
    def __init__(self, address: str, client: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(address, client)
        self._loop = loop
        self._open = asyncio.Event()
        self._open.set()

    def way_to(self, address: str, port: int) -> tuple[str, int]:
        listening = socket.create_server(("127.0.0.1", 0))
        asyncio.run_coroutine_threadsafe(self._proxy(listening, address, port), self._loop)
        return "127.0.0.1", int(listening.getsockname()[1])

    async def _proxy(self, listening: socket.socket, address: str, port: int) -> None:
        """Until cancelled: pass on whatever comes."""

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with _closing(writer):
                await self._open.wait()
                other_reader, other_writer = await asyncio.open_connection(address, port)
                async with _closing(other_writer):
                    await asyncio.gather(
                        self._pass_on(reader, other_writer), self._pass_on(other_reader, writer)
                    )

        async with await asyncio.start_server(carry, sock=listening) as server:
            await server.serve_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        await self._open.wait()
        writer.close()

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)
