"""The suites: which figures are taken in which order, and what is printed of them."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench import mailboxes, million, postgresql, report
from bench.figures import REUSED, SINGLE, Figure, deliver, floor, relay, spread
from bench.letters import Kind
from bench.load import Sink
from bench.names import Names, why_not
from bench.peers import DOMAIN, RECIPIENT, Peer, Posthouse, postfix, posthouse
from bench.processes import proportional_memory

IDLE_CONNECTIONS = 1000
LARGE_OCTETS = 50_000_000
MILLION = 1_000_000
ACCOUNTS = 25
MEASURED = 5_000


def run_deliver(folder: Path, rounds: int) -> Iterator[str]:
    """Accept and local delivery; and what a store that only counts would do (smtp-sink)."""
    ours: dict[str, list[Figure]] = {}
    theirs: dict[str, list[Figure]] = {}
    floors: dict[str, list[float]] = {}
    with posthouse(folder / "posthouse") as here, postfix(folder / "postfix") as there, Sink() as sink:
        for _ in range(rounds):
            for load in (REUSED, SINGLE):
                ours.setdefault(load.name, []).append(deliver(here, load))
                theirs.setdefault(load.name, []).append(deliver(there, load))
                floors.setdefault(load.name, []).append(floor(sink, load))
    for load in (REUSED, SINGLE):
        yield report.versus(f"local delivery, {load.name}", ours[load.name], theirs[load.name])
    for load in (REUSED, SINGLE):
        rate = median(f.rate for f in ours[load.name])
        yield report.share_of(f"beside smtp-sink, {load.name}", rate, median(floors[load.name]))


def run_relay(folder: Path, rounds: int) -> Iterator[str]:
    """Relay to a sink through relayhost."""
    with Sink() as sink:
        host = f"[127.0.0.1]:{sink.port}"
        with posthouse(folder / "posthouse", host) as here, postfix(folder / "postfix", host) as there:
            yield from _relayed("relay by relayhost", here, there, sink, "elsewhere.test", rounds)


def run_mx(folder: Path, rounds: int) -> Iterator[str]:
    """Relay by MX look-up: a sink on port 25 of a loopback address, and a name server that names it."""
    if obstacle := why_not():
        yield report.figure("relay by MX look-up", f"left out: {obstacle}")
        return
    folder.mkdir()
    with (
        Sink("127.0.0.2", 25) as sink,
        Names("sink.test", "127.0.0.2") as names,
        posthouse(folder / "posthouse", nameserver=names.address) as here,
        postfix(folder / "postfix", within=names.resolver_namespace(folder)) as there,
    ):
        yield from _relayed("relay by MX look-up", here, there, sink, "sink.test", rounds)


def _relayed(what: str, here: Peer, there: Peer, sink: Sink, domain: str, rounds: int) -> Iterator[str]:
    ours: dict[str, list[Figure]] = {}
    theirs: dict[str, list[Figure]] = {}
    for _ in range(rounds):
        for load in (REUSED, SINGLE):
            ours.setdefault(load.name, []).append(relay(here, load, sink, domain))
            theirs.setdefault(load.name, []).append(relay(there, load, sink, domain))
    for load in (REUSED, SINGLE):
        yield report.versus(f"{what}, {load.name}", ours[load.name], theirs[load.name])


def run_memory(folder: Path, rounds: int) -> Iterator[str]:
    """At rest, with idle connections, and while a large letter passes through."""
    with posthouse(folder / "posthouse", workers=2) as here:
        rest = proportional_memory(here.pid())
        yield report.figure("memory at rest, supervisor and 2 workers (PSS)", f"{rest / 1e6:.1f} MB")
        with contextlib.ExitStack() as stack:
            for _ in range(IDLE_CONNECTIONS):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", here.port)))
                connection.recv(512)
            grown = proportional_memory(here.pid()) - rest
        yield report.figure(f"{IDLE_CONNECTIONS} idle connections", f"{grown / 1e6:.1f} MB more")
        before = proportional_memory(here.pid())
        peak = _send_large(here)
        yield report.figure("one letter of 50 MB, at its peak", f"{(peak - before) / 1e6:.1f} MB more")


def _send_large(here: Posthouse) -> int:
    """Send a letter of `LARGE_OCTETS` in pieces; the highest memory seen between them."""
    line = b"x" * 76 + b"\r\n"
    piece = line * (1_000_000 // len(line))
    peak = 0
    with smtplib.SMTP("127.0.0.1", here.port) as client:
        client.ehlo("client.bench.test")
        client.mail("sender@client.bench.test")
        client.rcpt(RECIPIENT)
        client.docmd("DATA")
        client.send(b"Subject: large\r\n\r\n")
        for _ in range(LARGE_OCTETS // len(piece) - 1):
            client.send(piece)
            peak = max(peak, proportional_memory(here.pid()))
        client.send(b".\r\n")
        code, text = client.getreply()
        if code != 250:
            raise RuntimeError(f"the large letter was refused: {code} {text!r}")
        return max(peak, proportional_memory(here.pid()))


def run_start(folder: Path, rounds: int) -> Iterator[str]:
    """From the command to the first 220."""
    seconds = []
    for number in range(rounds):
        with posthouse(folder / f"posthouse{number}") as here:
            seconds.append(here.seconds_to_greeting)
    yield report.figure("start to first 220", f"{median(seconds):.2f} s")


def run_million(folder: Path, rounds: int) -> Iterator[str]:
    """The cost of a message at an empty store, and at one of a million messages in many mailboxes."""
    users = [f"user{number}@{DOMAIN}" for number in range(ACCOUNTS)]
    with posthouse(folder / "posthouse", users=users) as here:
        empty = [spread(here, users, MEASURED) for _ in range(rounds)]
        spread(here, users, MILLION - rounds * MEASURED)
        full = [spread(here, users, MEASURED) for _ in range(rounds)]
    before, after = (median(f.cpu for f in some) for some in (empty, full))
    yield report.figure(
        "CPU per message, empty store and a million messages",
        f"{before * 1e6:.0f} µs, {after * 1e6:.0f} µs: {100 * (after / before - 1):+.0f} %"
        f" (rates {median(f.rate for f in empty):.0f}/s, {median(f.rate for f in full):.0f}/s)",
    )


def run_imap(folder: Path, rounds: int) -> Iterator[str]:
    """IMAP beside Dovecot: 10,000 messages of text, and as many with attachments among them."""
    yield from mailboxes.run(folder / "text", rounds, 10_000, Kind.TEXT)
    yield from mailboxes.run(folder / "mixed", rounds, 10_000, Kind.MIXED)


def run_imap_large(folder: Path, rounds: int) -> Iterator[str]:
    """The same with 100,000 messages."""
    yield from mailboxes.run(folder / "text", rounds, 100_000, Kind.TEXT)
    yield from mailboxes.run(folder / "mixed", rounds, 100_000, Kind.MIXED)


SUITES: dict[str, Callable[[Path, int], Iterator[str]]] = {
    "start": run_start,
    "memory": run_memory,
    "deliver": run_deliver,
    "relay": run_relay,
    "mx": run_mx,
    "million": run_million,
    "postgresql": postgresql.run,
    "imap": run_imap,
    "imap-large": run_imap_large,
    "imap-million": million.run,
}
