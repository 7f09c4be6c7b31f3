"""Who may come in, and how many."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from posthouse.net.limits import ConnectionCounts, ConnectionLimits, Networks, share


def test_a_client_beyond_its_limit_is_turned_away_until_one_of_its_connections_ends() -> None:
    limits = ConnectionLimits(total=100, per_client=2)
    assert [limits.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert limits.enter("192.0.2.2")
    limits.leave("192.0.2.1")
    assert limits.enter("192.0.2.1")
    assert not limits.enter("192.0.2.1")
    assert limits.count == 3


def test_the_total_counts_all_clients() -> None:
    limits = ConnectionLimits(total=3, per_client=2)
    assert [limits.enter(f"192.0.2.{host}") for host in range(5)] == [True, True, True, False, False]
    for host in range(3):
        limits.leave(f"192.0.2.{host}")
    assert limits.count == 0
    assert limits.enter("192.0.2.4")


def test_trusted_networks_and_unix_sockets_do_not_count() -> None:
    trusted = Networks([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])
    limits = ConnectionLimits(total=1, per_client=1, exempt=trusted)
    for address in ("10.1.2.3", "2001:db8::1", "local"):
        assert [limits.enter(address) for _ in range(5)] == [True] * 5
        limits.leave(address)
    assert limits.count == 0
    assert limits.enter("11.0.0.1")
    assert not limits.enter("11.0.0.2")


def test_all_workers_count_together_and_a_dead_ones_connections_are_forgotten() -> None:
    # given two workers, each with a connection of the client
    counts = ConnectionCounts(workers=2)
    workers = [ConnectionLimits(5, 3, counts=counts, worker=number) for number in range(2)]
    assert [worker.enter("192.0.2.1") for worker in workers] == [True, True]
    # then the third is the last, wherever it comes
    assert workers[0].enter("192.0.2.1")
    assert [worker.enter("192.0.2.1") for worker in workers] == [False, False]
    # and all connections of all clients are counted too
    assert [workers[1].enter(f"192.0.2.{host}") for host in (2, 3, 4)] == [True, True, False]
    # when a worker dies and another takes its place
    workers[0] = ConnectionLimits(5, 3, counts=counts, worker=0)
    # then only those of the other stand
    assert workers[0].count == 3
    assert [workers[0].enter("192.0.2.1") for _ in range(3)] == [True, True, False]


def test_zero_is_no_limit() -> None:
    limits = ConnectionLimits()
    assert all(limits.enter("192.0.2.1") for _ in range(10_000))


@pytest.mark.parametrize(("limit", "workers", "each"), [(50, 4, 13), (1, 8, 1), (0, 4, 0), (2000, 2, 1000)])
def test_workers_share_a_limit_rounded_up(limit: int, workers: int, each: int) -> None:
    assert share(limit, workers) == each


@pytest.mark.parametrize("text", ["", "local", "not an address", "10.0.0.1.", "fe80::1%eth0"])
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    assert text not in Networks([ip_network("0.0.0.0/0"), ip_network("10.0.0.0/8")])
