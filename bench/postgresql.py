"""Posthouse on PostgreSQL, beside itself on SQLite and beside Postfix; and two hosts beside one.

The server is a real one with its usual settings: every commit is on the disk before it is answered. It lies
on the same disk as the others. What a letter costs there is printed as well, for docs/scale.md.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from bench import report
from bench.figures import REUSED, SINGLE, Figure, deliver
from bench.load import MESSAGE_OCTETS, Load, smtp_source
from bench.peers import RECIPIENT, Posthouse, cost, postfix, posthouse
from bench.processes import cpu_seconds
from tests.databases import PostgresServer, postgres_programs

SETTINGS = {"listen_addresses": "", "fsync": "on", "synchronous_commit": "on"}
"""Beside what initdb writes."""


@dataclass(frozen=True, slots=True)
class Work:
    """What PostgreSQL had done at one moment."""

    cpu: float
    wal: int
    """Octets of write-ahead log."""
    size: int
    """Octets of tables and indexes."""
    commits: int
    syncs: int
    """fsyncs of the write-ahead log."""


class Server:
    """A PostgreSQL of our own, and what can be asked of it."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        if programs is None:
            raise RuntimeError("there is no PostgreSQL here")
        self._server = PostgresServer(programs, SETTINGS, folder)
        self._connection = psycopg.connect(self._server.url, autocommit=True)
        self.fresh = self._server.fresh
        self.stop = self._server.stop

    def work(self) -> Work:
        self._connection.execute("SELECT pg_stat_force_next_flush()")
        rows = [self._one(sql) for sql in (_WAL, _SIZE, _COMMITS, _SYNCS)]
        return Work(cpu_seconds(self._server.process.pid), *rows)

    def connections(self) -> int:
        return self._one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'posthouse'")

    def _one(self, sql: str) -> int:
        row = self._connection.execute(sql.encode()).fetchone()
        assert row is not None
        return int(row[0])


_WAL = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_SIZE = "SELECT pg_database_size(current_database())"
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
_SYNCS = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"


def run(folder: Path, rounds: int) -> Iterator[str]:
    """All of it."""
    folder.mkdir()
    folder.chmod(0o755)
    server = Server(folder)
    try:
        yield from _beside(folder, rounds, server)
        yield from _hosts(folder, rounds, server)
    finally:
        server.stop()


def _beside(folder: Path, rounds: int, server: Server) -> Iterator[str]:
    """SQLite, PostgreSQL and Postfix in turn."""
    figures: dict[tuple[str, str], list[Figure]] = {}
    costs: list[tuple[Work, Work]] = []
    letter = _letter(folder)
    with (
        posthouse(folder / "sqlite") as on_sqlite,
        posthouse(folder / "postgresql", database=server.fresh()) as on_postgresql,
        postfix(folder / "postfix") as other,
    ):
        for _ in range(rounds):
            for load in (REUSED, SINGLE):
                figures.setdefault(("postgresql", load.name), []).append(deliver(on_postgresql, load))
                figures.setdefault(("sqlite", load.name), []).append(deliver(on_sqlite, load))
                figures.setdefault(("postfix", load.name), []).append(deliver(other, load))
            before = server.work()
            figures.setdefault(("postgresql", "text"), []).append(deliver(on_postgresql, REUSED, letter))
            costs.append((before, server.work()))
        connections = server.connections()
    for load in (REUSED, SINGLE):
        ours = figures["postgresql", load.name]
        yield report.versus(f"PostgreSQL: {load.name}", ours, figures["postfix", load.name])
        rate, beside = (median(f.rate for f in some) for some in (ours, figures["sqlite", load.name]))
        yield report.share_of("PostgreSQL beside SQLite", rate, beside)
    cpu = median(f.cpu for f in figures["postgresql", "text"])
    yield report.figure("PostgreSQL: CPU of the mail host for a letter", f"{cpu * 1e6:.0f} µs")
    yield from _costs(costs, REUSED.messages, connections)


def _letter(folder: Path) -> Path:
    """A file with a letter that no database makes smaller, as attachments are and text is not."""
    path = folder / "letter"
    header = f"From: sender@client.bench.test\nTo: {RECIPIENT}\nSubject: what a letter costs\n\n"
    path.write_text(header + base64.encodebytes(os.urandom(MESSAGE_OCTETS * 54 // 73)).decode())
    path.chmod(0o644)
    return path


def _costs(costs: Sequence[tuple[Work, Work]], letters: int, connections: int) -> Iterator[str]:
    def each(of: Callable[[Work], float]) -> float:
        return median((of(after) - of(before)) / letters for before, after in costs)

    yield report.figure("PostgreSQL: its CPU for a letter", f"{each(lambda work: work.cpu) * 1e6:.0f} µs")
    yield report.figure(
        "PostgreSQL: write-ahead log for a letter", f"{each(lambda work: work.wal):.0f} octets"
    )
    yield report.figure(
        "PostgreSQL: tables and indexes for a letter", f"{each(lambda work: work.size):.0f} octets"
    )
    yield report.figure(
        "PostgreSQL: transactions and fsyncs for a letter",
        f"{each(lambda work: work.commits):.3f} and {each(lambda work: work.syncs):.3f}",
    )
    yield report.figure("PostgreSQL: connections of two workers", f"{connections}")


def _hosts(folder: Path, rounds: int, server: Server) -> Iterator[str]:
    """The same letters to one host and to two, each with one worker, on one database."""
    users = [RECIPIENT, "other@bench.test"]
    one: list[Figure] = []
    two: list[Figure] = []
    database = server.fresh()
    with (
        posthouse(folder / "host1", workers=1, users=users, database=database) as first,
        posthouse(folder / "host2", workers=1, users=(), database=database) as second,
    ):
        for _ in range(rounds):
            one.append(_sum([first], users))
            two.append(_sum([first, second], users))
    ratio = median(f.rate for f in two) / median(f.rate for f in one)
    yield report.figure(
        "two hosts on one PostgreSQL, beside one",
        f"{median(f.rate for f in two):.0f}/s and {median(f.rate for f in one):.0f}/s: ×{ratio:.2f}",
    )


def _sum(hosts: Sequence[Posthouse], users: Sequence[str]) -> Figure:
    """The rate of all together: 100 sessions, spread over the hosts; every host gets mail for every user."""
    pairs = [(host, user) for host in hosts for user in users]
    load = Load("", REUSED.sessions // len(pairs), REUSED.messages // len(pairs), reused=True)
    with contextlib.ExitStack() as stack:
        sources = stack.enter_context(ThreadPoolExecutor(len(pairs)))
        spent, started = sum(map(cost, hosts)), time.perf_counter()
        for done in [sources.submit(smtp_source, load, host.port, user) for host, user in pairs]:
            done.result()
        elapsed = time.perf_counter() - started
    letters = load.messages * len(pairs)
    return Figure(letters / elapsed, (sum(map(cost, hosts)) - spent) / letters)
