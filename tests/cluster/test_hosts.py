"""Any host takes mail for any account, and every other tells it at once."""

from __future__ import annotations

import statistics
from time import monotonic

import pytest

from tests.cluster import fates
from tests.cluster.load import Load
from tests.cluster.watcher import Watcher, stop
from tests.servers import dialogue

pytestmark = pytest.mark.timeout(300)
DELIVERIES = 10


async def test_idle_on_one_host_wakes_within_a_second_of_a_delivery_on_another(cluster, measured) -> None:
    taking, serving, _ = cluster.hosts
    watcher = Watcher("a0", [serving], changes=False)
    watcher.start()
    delays = []
    async with dialogue(taking.address(), taking.place.client) as client:
        await client.expect(220)
        await client.command("EHLO client.test")
        for _ in range(DELIVERIES):
            # Given a client in IDLE, when a letter is answered 250 by another host, then it is told,
            await watcher.until(lambda: watcher.is_idling)
            told, known = watcher.told, len(watcher.view)
            await client.letter("x@east.test", ["a0@north.test"], b"Subject: wake\r\n\r\n")
            began = monotonic()
            await watcher.until(
                lambda told=told, known=known: watcher.told > told or len(watcher.view) > known
            )
            if watcher.told > told:  # else it has ended IDLE just now, and looked by itself
                delays.append(monotonic() - began)
            await watcher.until(lambda known=known: len(watcher.view) > known)
    await watcher.stop()
    assert not watcher.wrong
    # within a second where the machine has nothing else to do.
    assert min(delays) < 1
    measured.append(
        f"IDLE told of a delivery on another host after {statistics.median(delays):.3f} s (median)"
    )


async def test_uids_and_modseqs_grow_whatever_host_delivers(cluster) -> None:
    # Given clients that watch all accounts on all hosts,
    watchers = [
        Watcher(account, cluster.hosts[number % 3 :] + cluster.hosts[: number % 3], changes=number % 4 == 0)
        for number, account in enumerate(("a1", "a1", "a1", "a2", "a3"))
    ]
    load = Load(cluster)
    async with cluster.sink() as sink:
        for watcher in watchers:
            watcher.start()
        # when three hosts deliver to all accounts at the same time,
        load.start()
        for host in range(3):
            await load.more(50, host)
        await load.stop()
        await cluster.empty_queue()
        await stop(watchers)
        # then no client saw anything out of order, all see the same, and nothing came twice:
        assert [watcher.wrong for watcher in watchers] == [[]] * len(watchers)
        for watcher in watchers:
            assert watcher.view == fates.inbox(cluster, watcher.account)
        assert fates.check(cluster, load, sink) == []
