"""Three hosts that serve the same mail from one PostgreSQL and one SeaweedFS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from posthouse.db.leases import LEASE_SECONDS
from posthouse.pocket.faults import Answer, Step
from posthouse.pocket.peer import ScriptedPeer
from tests.cluster.network import Network, Place
from tests.cluster.postgres import Postgres
from tests.cluster.seaweed import BUCKET, Seaweed
from tests.databases import KEY, SECRET, free_ports
from tests.servers import DOMAIN, HOSTNAME, PATIENCE, ServeProcess, install, until

HOSTNAMES = (HOSTNAME, HOSTNAME, f"mx3.{DOMAIN}")
"""Two hosts may well have the same name."""
ACCOUNTS = tuple(f"a{number}" for number in range(12))
LISTENERS = ("smtp", "submissions", "imap", "imaps")
REFUSED, SLOW_DOMAIN = "nobody@south.test", "slow.test"
REFUSES = Answer(Step.RCPT, "550 5.1.1 Nobody here", recipient=REFUSED)


class Host(ServeProcess):
    """One of the three."""

    def __init__(self, directory: Path, place: Place, settings: Mapping[str, Any]) -> None:
        super().__init__(directory, settings, accounts=None)
        self.place = place
        self.prefix = place.prefix

    def kill(self) -> None:
        """kill -9 of all processes at once, as if the machine lost power."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self._ended(PATIENCE)

    def pause(self) -> None:
        """SIGSTOP of all processes, as if a hypervisor had other things to do."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def is_whole(self) -> bool:
        """Whether all workers are there."""
        return len(self.workers()) == self.config.workers


class Cluster:
    """All of it. `hosts` serve from the beginning."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._closing = contextlib.ExitStack()
        try:
            self._begin()
        except BaseException:
            self._closing.close()
            raise

    def _begin(self) -> None:
        network, closing = self.network, self._closing
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="posthouse-cluster-")))
        self.postgres = Postgres(network.address, network.everybody)
        closing.callback(self.postgres.stop)
        self.seaweed = Seaweed(network.address)
        closing.callback(self.seaweed.stop)
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = KEY, SECRET
        self._sink_port, self._slow_port = free_ports(2, network.address)
        nodes = [(network.address, node.port) for node in self.postgres.nodes]
        self.config_path = install(
            folder / "office", {"database": {"url": _url(nodes)}}, accounts=dict.fromkeys(ACCOUNTS)
        )
        self.hosts: list[Host] = []
        for number, hostname in enumerate(HOSTNAMES):
            place = network.place()
            host = Host(folder / f"host{number}", place, self._settings(place, hostname))
            host.start()
            closing.callback(_end, host)
            self.hosts.append(host)
        for host in self.hosts:
            until(lambda host=host: "serving" in host.log, what="a host that serves")

    def _settings(self, place: Place, hostname: str) -> dict[str, Any]:
        network = self.network
        nodes = [place.way_to(network.address, node.port) for node in self.postgres.nodes]
        bucket = _endpoint(place.way_to(network.address, self.seaweed.port))
        sink = _endpoint(place.way_to(network.address, self._sink_port))
        slow = _endpoint(place.way_to(network.address, self._slow_port))
        return {
            "hostname": hostname,
            "listen": {name: [f"{place.address}:0"] for name in LISTENERS},
            "database": {"url": _url(nodes), "blobs": f"s3://{BUCKET}?endpoint=http://{bucket}"},
            "smtp": {
                "mynetworks": [network.everybody],
                "proxy_trusted": [network.balancer],
                "relay_domains": {SLOW_DOMAIN: {"next_hop": f"[{slow.replace(':', ']:')}"}},
            },
            "accounts": {"auth_allow_cleartext": True},
            "outbound": {"relayhost": f"[{sink.replace(':', ']:')}"},
            "queue": {"minimal_backoff_time": "2s", "maximal_backoff_time": "4s"},
        }

    @contextlib.asynccontextmanager
    async def sink(self) -> AsyncIterator[ScriptedPeer]:
        """The next hop of everything for others; it refuses `REFUSED`."""
        peer = ScriptedPeer("mx.south.test")
        peer.script(REFUSES)
        await peer.start(self.network.address, self._sink_port)
        try:
            yield peer
        finally:
            await peer.close()

    @contextlib.asynccontextmanager
    async def slow_peer(self) -> AsyncIterator[ScriptedPeer]:
        """The next hop of `SLOW_DOMAIN`."""
        peer = ScriptedPeer(f"mx.{SLOW_DOMAIN}")
        await peer.start(self.network.address, self._slow_port)
        try:
            yield peer
        finally:
            await peer.close()

    def clock(self) -> float:
        """The database's."""
        return float(self.postgres.ask("SELECT extract(epoch FROM clock_timestamp())")[0][0])

    def outlive_leases(self) -> None:
        """Until every lease has expired that is not renewed from now on."""
        end = self.clock() + LEASE_SECONDS
        until(lambda: self.clock() > end, seconds=LEASE_SECONDS + PATIENCE, what="the end of all leases")

    async def empty_queue(self) -> None:
        """Until every letter has left the queue."""
        async with asyncio.timeout(120):
            while self.postgres.ask("SELECT count(*) FROM queue_entry") != [(0,)]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def close(self) -> None:
        self._closing.close()


def _url(nodes: list[tuple[str, int]]) -> str:
    hosts = ",".join(address for address, _ in nodes)
    ports = ",".join(str(port) for _, port in nodes)
    return f"postgresql://posthouse@/postgres?host={hosts}&port={ports}"


def _endpoint(way: tuple[str, int]) -> str:
    return f"{way[0]}:{way[1]}"


def _end(host: Host) -> None:
    if host.process is not None:
        host.kill()
