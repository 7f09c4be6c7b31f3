"""What is measured: each function drives one load through one mail system and gives a `Figure`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load, Sink, smtp_source
from bench.peers import RECIPIENT, Peer, alone, cost

REUSED = Load("100 sessions, many messages each", 100, 10_000, reused=True)
SINGLE = Load("20 sessions, one message per connection", 20, 5_000, reused=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One run."""

    rate: float
    """Messages per second, until the last has arrived."""
    cpu: float
    """CPU seconds of the mail system for each message."""


def deliver(peer: Peer, load: Load, letter: Path | None = None) -> Figure:
    """Accept and deliver locally, until the last message is readable in the mailbox; `letter` as there."""
    before = peer.stored()

    def arrived() -> bool:
        return peer.stored() >= before + load.messages

    with alone(peer):
        return _measure(peer, load, RECIPIENT, arrived, letter)


def relay(peer: Peer, load: Load, sink: Sink, domain: str) -> Figure:
    """Accept and pass on, until the sink has counted the last message."""
    before = sink.count()
    with alone(peer):
        return _measure(peer, load, f"user@{domain}", lambda: sink.count() >= before + load.messages)


def spread(peer: Peer, recipients: Sequence[str], messages: int) -> Figure:
    """Accept and deliver to all these mailboxes at once, 100 sessions in all, as many messages to each."""
    each = Load("to one of many", 100 // len(recipients), messages // len(recipients), reused=True)
    spent, started = cost(peer), time.perf_counter()
    with ThreadPoolExecutor(len(recipients)) as sources:
        for done in [sources.submit(smtp_source, each, peer.port, recipient) for recipient in recipients]:
            done.result()
    elapsed = time.perf_counter() - started
    return Figure(messages / elapsed, (cost(peer) - spent) / messages)


def floor(sink: Sink, load: Load) -> float:
    """Messages per second that smtp-source and smtp-sink alone exchange: the floor of this machine."""
    with alone():
        started = time.perf_counter()
        smtp_source(load, sink.port, RECIPIENT)
        return load.messages / (time.perf_counter() - started)


def _measure(
    peer: Peer, load: Load, recipient: str, arrived: Callable[[], bool], letter: Path | None = None
) -> Figure:
    spent, started = cost(peer), time.perf_counter()
    smtp_source(load, peer.port, recipient, letter)
    while not arrived():
        if time.perf_counter() - started > 300:
            raise TimeoutError(f"{peer.name}: not all of {load.messages} messages arrived")
        time.sleep(0.02)
    elapsed = time.perf_counter() - started
    return Figure(load.messages / elapsed, (cost(peer) - spent) / load.messages)
