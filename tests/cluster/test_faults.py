"""Under load everything that can break breaks in turn; afterwards no promise is broken.

Letters may be relayed twice only where a host lost its life, its lease or its network between the final
dot and the record of the outcome (promise 2's window): so never while nothing was broken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from posthouse.db.leases import LEASE_SECONDS
from posthouse.pocket.faults import Hang, Step
from posthouse.protocol.smtp.outgoing import INLINE_CHUNK
from tests.cluster import fates
from tests.cluster.cluster import REFUSES, SLOW_DOMAIN, Cluster
from tests.cluster.load import Load
from tests.cluster.watcher import Watcher, stop
from tests.servers import PATIENCE, dialogue, until

pytestmark = pytest.mark.timeout(600)
SINK_SECONDS = 0.2
"""How long the next hop thinks about each letter, so that some are always under way."""


class Faults:
    """What was broken when, and what that meant for those who send."""

    def __init__(self, load: Load, measured: list[str]) -> None:
        self._load = load
        self._measured = measured
        self._windows: list[tuple[float, float]] = []

    @contextlib.asynccontextmanager
    async def fault(self, what: str, host: int | None = None, *, doubles: bool) -> AsyncIterator[None]:
        """From before the fault until all is well again.

        `host`: the one that is struck. `doubles`: whether an outcome may be lost between dot and record.
        """
        load = self._load
        await load.more(30)
        began = monotonic()
        yield
        for number in range(3):
            await load.more(10, number)
        ended = monotonic()
        if doubles:
            # What was answered before may still have been under way.
            self._windows.append((began - LEASE_SECONDS, ended))
        line = f"{what}: {load.longest_gap(began, ended):.2f} s without a 250"
        if host is not None:
            line += f", {load.longest_gap(began, ended, host):.2f} s by the host itself"
        self._measured.append(line)

    def explain(self, name: str) -> bool:
        """Whether this letter may have been relayed twice."""
        moment = self._load.promised.get(name)
        return moment is None or any(began <= moment <= ended for began, ended in self._windows)


async def test_every_250_has_exactly_one_fate_whatever_breaks(cluster: Cluster, measured) -> None:
    one, two, three = cluster.hosts
    load = Load(cluster)
    faults = Faults(load, measured)
    watchers = [
        Watcher(account, hosts)
        for account, hosts in (("a4", [one, two]), ("a4", [two, three]), ("a5", [three, one]))
    ]
    async with cluster.sink() as sink:
        sink.script(REFUSES, Hang(Step.END_OF_DATA, SINK_SECONDS))
        for watcher in watchers:
            watcher.start()
        load.start()
        async with faults.fault("kill -9 of a worker", 0, doubles=True):
            one.kill_worker()
            await asyncio.to_thread(until, one.is_whole, what="a new worker")
        async with faults.fault("kill -9 of a host, started again at once", 1, doubles=True):
            two.kill()
            await asyncio.to_thread(two.start)
        async with faults.fault(
            "kill -9 of the primary of PostgreSQL, a standby promoted at once", doubles=True
        ):
            await asyncio.to_thread(cluster.postgres.fail_over)
        async with faults.fault("the old primary comes back as a standby", doubles=False):
            await asyncio.to_thread(cluster.postgres.bring_back)
        async with faults.fault("kill -9 of a volume server of SeaweedFS", doubles=False):
            cluster.seaweed.kill_volume(0)
            await load.more(20, kind="large")
            cluster.seaweed.start_volume(0)
        async with faults.fault("a host without network for longer than its leases", 2, doubles=True):
            three.place.cut()
            await asyncio.to_thread(cluster.outlive_leases)
            await load.more(30, 0)
            three.place.heal()
        async with faults.fault("a host paused (SIGSTOP) for longer than its leases", 0, doubles=True):
            one.pause()
            await asyncio.to_thread(cluster.outlive_leases)
            await load.more(30, 1)
            one.resume()
        await load.stop()
        sink.script(REFUSES)
        await cluster.empty_queue()
        await stop(watchers)
        # Then every letter that was answered 250 has had exactly one fate,
        twice = fates.check(cluster, load, sink)
        unexplained = [name for name in twice if not faults.explain(name)]
        # and the clients know what the database knows.
        views = [(watcher.view, fates.inbox(cluster, watcher.account)) for watcher in watchers]
    measured.append(f"{len(load.promised)} letters answered 250; {len(twice)} relayed twice by a fault")
    assert not unexplained
    assert [watcher.wrong for watcher in watchers] == [[]] * len(watchers)
    for seen, kept in views:
        assert seen == kept


async def test_a_host_that_was_paused_does_not_send_what_another_has_sent(cluster: Cluster) -> None:
    one, *_ = cluster.hosts
    async with cluster.slow_peer() as peer:
        # Given a letter that a host is about to send: the next hop has yet to take the recipient,
        peer.script(Hang(Step.RCPT, LEASE_SECONDS, times=1))
        content = b"Subject: slow\r\n\r\n" + (b"x" * 70 + b"\r\n") * (INLINE_CHUNK // 72 + 1)
        async with dialogue(one.address(), one.place.client) as client:
            await client.expect(220)
            await client.command("EHLO client.test")
            await client.letter("x@east.test", [f"erika@{SLOW_DOMAIN}"], content)
        await peer.until(lambda: peer.came_to(Step.RCPT) == 1)
        # when the host is paused until its lease has expired, and another host has sent the letter,
        one.pause()
        await asyncio.wait_for(peer.letter(0), LEASE_SECONDS + 2 * PATIENCE)
        await cluster.empty_queue()
        one.resume()
        # then it does not send the letter too once it goes on and reads the reply.
        first = peer.sessions[0]
        await asyncio.wait_for(peer.until(lambda: bool(first.ended)), 2 * PATIENCE)
        assert Step.END_OF_DATA not in first.steps
        assert len(peer.letters) == 1
