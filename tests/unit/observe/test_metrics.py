"""Counters that every worker keeps for itself and any worker can show for all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest
import uvloop

from posthouse.observe import metrics
from posthouse.observe.scrape import Scrape, respond

LETTERS = metrics.counters("posthouse_test_letters_total", "letters", "by", ("smtp", "lmtp"))
OPEN = metrics.gauge("posthouse_test_open", "open connections")
WAIT = metrics.histogram("posthouse_test_wait_seconds", "waits", (0.1, 1.0))


@pytest.fixture(autouse=True)
def fresh_row() -> Iterator[None]:
    metrics.take_row(7)
    yield
    metrics.take_row(7)
    metrics.take_row(0)


def shown(name: str) -> dict[str, float]:
    lines = [line for line in metrics.exposition().decode().splitlines() if line.startswith(name)]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_each_value_of_a_label_counts_apart() -> None:
    LETTERS["smtp"].add()
    LETTERS["smtp"].add(2)
    LETTERS["lmtp"].add()

    found = shown("posthouse_test_letters_total")

    assert found['posthouse_test_letters_total{by="smtp",worker="7"}'] == 3
    assert found['posthouse_test_letters_total{by="lmtp",worker="7"}'] == 1
    assert LETTERS["smtp"].value == 3


def test_a_gauge_goes_up_and_down() -> None:
    OPEN.add(5)
    OPEN.add(-2)
    assert shown("posthouse_test_open")['posthouse_test_open{worker="7"}'] == 3

    OPEN.set(9)
    assert OPEN.value == 9


def test_a_histogram_counts_what_is_not_above_each_bound() -> None:
    for seconds in (0.05, 0.1, 0.5, 30.0):
        WAIT.observe(seconds)

    found = shown("posthouse_test_wait_seconds")

    assert found['posthouse_test_wait_seconds_bucket{le="0.1",worker="7"}'] == 2
    assert found['posthouse_test_wait_seconds_bucket{le="1.0",worker="7"}'] == 3
    assert found['posthouse_test_wait_seconds_bucket{le="+Inf",worker="7"}'] == 4
    assert found['posthouse_test_wait_seconds_sum{worker="7"}'] == pytest.approx(30.65)


def test_one_process_shows_what_another_counted() -> None:
    child = os.fork()
    if child == 0:
        metrics.take_row(8)
        LETTERS["smtp"].add(41)
        os._exit(0)
    os.waitpid(child, 0)

    assert shown("posthouse_test_letters_total")['posthouse_test_letters_total{by="smtp",worker="8"}'] == 41


def test_a_restarted_worker_counts_from_zero() -> None:
    LETTERS["smtp"].add(5)

    metrics.take_row(7)

    assert LETTERS["smtp"].value == 0


def test_a_name_is_given_once_and_well_formed() -> None:
    with pytest.raises(ValueError, match="already a metric"):
        metrics.gauge("posthouse_test_open", "again")
    with pytest.raises(ValueError, match="ends in _total"):
        metrics.counter("posthouse_test_letters", "letters")
    with pytest.raises(ValueError, match="not below"):
        metrics.take_row(metrics.ROWS)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1", b"200 OK"),
        (b"GET / HTTP/1.1", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
        (b"EHLO x", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000, b"431 Request Header Fields Too Large"),
    ],
)
def test_only_get_metrics_is_answered(request_line: bytes, status: bytes) -> None:
    answer = respond(request_line + b"\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    if not request_line.startswith(b"HEAD"):
        assert b"Content-Length: %d\r\n" % len(body) in head
    assert (b"posthouse_test_open" in body) == (status == b"200 OK" and not request_line.startswith(b"HEAD"))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_prometheus_is_answered_over_tcp_octet_by_octet(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        answer = runner.run(_scraped())

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'posthouse_test_open{worker="7"} 0.0' in answer


async def _scraped() -> bytes:
    server = await asyncio.get_running_loop().create_server(Scrape, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for octet in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([octet]))
            await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer
