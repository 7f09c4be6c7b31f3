"""A Posthouse of the pocket internet: its own directory, configuration, accounts and loopback address.

It runs in this process, on the internet's virtual clock (`InProcess`), or as `posthouse serve` in
processes of its own (`Subprocess`), which can be killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.admin import accounts
from posthouse.admin.setup import initialise
from posthouse.config import Config, Endpoint, from_mapping
from posthouse.config.endpoint import parse_endpoint
from posthouse.db import Database, open_database
from posthouse.net.dns import StubResolver
from posthouse.net.sockets import ListenerSpec, Sockets, open_sockets, read_listeners
from posthouse.net.supervisor import die_with

if TYPE_CHECKING:
    from posthouse.app import Worker
    from posthouse.pocket.clock import VirtualClock

READY_WITHIN = 30.0
"""Seconds for a server to begin."""
SERVICES = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s")
"""What a server may listen for, by name in [listen]."""


class Place(NamedTuple):
    """Where a server of the pocket internet stands."""

    directory: Path
    address: str
    """Its own loopback address."""
    smtp_port: int
    """The port of MX hosts, the same everywhere."""
    nameserver: str
    authorities: Path
    """The CA's certificate."""


class PocketServer(ABC):
    """What the two kinds have in common. Make one with `PocketInternet.add_server`."""

    def __init__(
        self, domain: str, hostname: str, place: Place, users: Mapping[str, str], settings: Mapping[str, Any]
    ) -> None:
        self.domain = domain
        self.hostname = hostname
        self.place = place
        self.users = {f"{local}@{domain}": password for local, password in users.items()}
        """Login name → password."""
        self.config_file = place.directory / "posthouse.toml"
        self._raw = _merged(_defaults(hostname, place), settings)
        self._endpoints: dict[str, list[Endpoint]] = {}
        self._write_config()

    async def set_up(self) -> None:
        """Make the database, the domain, its postmaster and the users."""
        await initialise(self.config, self.domain, f"postmaster@{self.domain}", os.urandom(16).hex())
        database = self.open_database()
        try:
            for login, password in self.users.items():
                await accounts.add(database, login, password, now=time.time())
        finally:
            await database.close()

    def open_database(self) -> Database:
        """Its database, for looking inside; the caller closes it."""
        return open_database(self.config.database.url, self.config.data_directory)

    def endpoint(self, service: str) -> tuple[str, int]:
        """Host and port of a service by its name in [listen]. Raises KeyError where it is not served."""
        for endpoint in self._endpoints.get(service, ()):
            if not endpoint.path:
                return endpoint.host, endpoint.port
        raise KeyError(f"{self.hostname} does not serve {service}")

    def _write_config(self) -> None:
        self.config_file.write_text(_toml(self._raw))
        self.config: Config = from_mapping(self._raw, self.place.directory)

    def _serves(self, endpoints: Mapping[str, list[Endpoint]]) -> None:
        """It has begun there; it stays there when it begins again."""
        self._endpoints = dict(endpoints)
        listen = {
            name: [str(endpoint) for endpoint in listed] for name, listed in endpoints.items() if listed
        }
        self._raw = _merged(self._raw, {"listen": listen})
        self._write_config()

    @abstractmethod
    async def start(self) -> None:
        """Serve; returns when it does. After `stop` on the same addresses as before."""

    @abstractmethod
    async def stop(self) -> int:
        """Drain and end; its exit status."""


class InProcess(PocketServer):
    """A server that is one worker in this very loop."""

    def __init__(
        self,
        domain: str,
        hostname: str,
        place: Place,
        users: Mapping[str, str],
        settings: Mapping[str, Any],
        clock: VirtualClock,
    ) -> None:
        super().__init__(domain, hostname, place, users, settings)
        self._clock = clock
        self._sockets: Sockets | None = None
        self.worker: Worker | None = None
        clock.on_change(self._look_at_the_clock)

    async def start(self) -> None:
        from posthouse.app import Worker

        specs = [ListenerSpec(name, getattr(self.config.listen, name)) for name in SERVICES]
        self._sockets = open_sockets(specs, workers=1)
        self._serves(self._sockets.endpoints)
        servers = [(server.host, server.port) for server in self.config.dns.nameservers]
        self.resolver = StubResolver(servers, self._clock)
        self.worker = Worker(self.config, self._sockets.of(0), clock=self._clock, resolver=self.resolver)
        await self.worker.start()

    def _look_at_the_clock(self) -> None:
        if self.worker is not None:
            self.worker.road.runner.wake()

    async def stop(self) -> int:
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.stop()
            self.resolver.close()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
        return os.EX_OK


class Subprocess(PocketServer):
    """A server in processes of its own. `log` in its directory has what it wrote."""

    def __init__(
        self,
        domain: str,
        hostname: str,
        place: Place,
        users: Mapping[str, str],
        settings: Mapping[str, Any],
        clock: Path | None = None,
    ) -> None:
        """`clock`: the Unix socket of a `VirtualClock` that it follows; None: the machine's time."""
        super().__init__(domain, hostname, place, users, settings)
        self._clock = clock
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when all its workers serve. Raises RuntimeError, with the log, when they do not."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as told:
            told.bind("")  # an abstract name of the kernel's choice (unix(7))
            name = told.getsockname().decode("ascii").replace("\0", "@", 1)
            parent = os.getpid()
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", *self._program(),
                    env=os.environ | {"NOTIFY_SOCKET": name}, stdin=asyncio.subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                    preexec_fn=lambda: die_with(parent, signal.SIGTERM),
                )  # fmt: skip
            await self._wait_ready(told)
        listed = read_listeners(self.config.data_directory)
        self._serves({service: [parse_endpoint(text) for text in texts] for service, texts in listed.items()})

    def _program(self) -> tuple[str, ...]:
        if self._clock is None:
            return "posthouse", "serve", "--config", str(self.config_file)
        return "posthouse.pocket.follower", str(self.config_file), str(self._clock)

    @property
    def log(self) -> Path:
        return self.place.directory / "log"

    async def stop(self) -> int:
        process, self.process = self.process, None
        if process is None:
            return os.EX_OK
        if process.returncode is None:
            process.terminate()
        return await process.wait()

    async def kill(self) -> int:
        """`kill -9` of all its processes; returns when they are gone."""
        process, self.process = self.process, None
        if process is None:
            return os.EX_OK
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        status = await process.wait()
        await asyncio.to_thread(_wait_for_workers, self.config.data_directory / "run" / "serve.lock")
        return status

    async def _wait_ready(self, told: socket.socket) -> None:
        assert self.process is not None
        loop = asyncio.get_running_loop()
        ready = loop.create_task(loop.sock_recv(told, 200))
        ended = loop.create_task(self.process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done() or ended.done():
                await self.kill()
                raise RuntimeError(
                    f"{self.hostname} did not start:\n{self.log.read_text('utf-8', 'replace')}"
                )
        finally:
            ready.cancel()
            ended.cancel()


def _wait_for_workers(lock: Path) -> None:
    """Workers hold the lock of their supervisor until the last of them has ended."""
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def _defaults(hostname: str, place: Place) -> dict[str, Any]:
    """Its configuration. Nobody but itself is in mynetworks: other servers are strangers here too."""
    any_port = f"{place.address}:0"
    return {
        "hostname": hostname,
        "data_directory": "data",
        "workers": 1,
        "listen": {
            "smtp": [f"{place.address}:{place.smtp_port}"],
            **{name: [any_port] for name in SERVICES if name not in ("smtp", "lmtp")},
        },
        "smtp": {"mynetworks": [f"{place.address}/32"]},
        "dns": {"nameservers": [place.nameserver]},
        "outbound": {
            "port": place.smtp_port,
            "bind_address": place.address,
            "tls_ca_file": str(place.authorities),
        },
        "log": {"format": "console"},
    }


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _toml(raw: Mapping[str, Any]) -> str:
    """A configuration as TOML: plain keys first, then one table each."""
    lines = [f"{key} = {_value(value)}" for key, value in raw.items() if not isinstance(value, Mapping)]
    for name, table in raw.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    text = "\n".join(lines) + "\n"
    if tomllib.loads(text) != raw:
        raise ValueError("these settings cannot be written as TOML")
    return text


def _value(value: object) -> str:
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{json.dumps(str(k))} = {_value(v)}" for k, v in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return json.dumps(value)
