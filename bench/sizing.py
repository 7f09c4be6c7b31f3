"""What one letter and one idle session cost on PostgreSQL: the figures behind docs/scale.md.

    python -m bench.sizing [LETTERS] [SESSIONS] [OCTETS]

One installation of two workers and one server of PostgreSQL with fsync on, both on this machine; letters
that cannot be compressed, one recipient each, to accounts in turn, by clients that keep their session. CPU
is of the whole process trees.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg

from bench.processes import cpu_seconds, proportional_memory
from tests.databases import PostgresServer, postgres_programs
from tests.servers import PASSWORD, ServeProcess, dialogue

ACCOUNTS = 50
CLIENTS = 20
SETTINGS = {"listen_addresses": "", "shared_buffers": "256MB", "max_wal_size": "4GB"}


async def send(server: ServeProcess, letters: int, octets: int) -> None:
    """So many letters by `CLIENTS` sessions."""
    text = base64.b64encode(os.urandom(octets * 3 // 4))
    body = b"".join(text[start : start + 76] + b"\r\n" for start in range(0, len(text), 76))
    letter = b"Subject: sizing\r\nFrom: x@east.test\r\nTo: y@north.test\r\n\r\n" + body

    async def client(number: int) -> None:
        async with dialogue(server.address()) as session:
            await session.expect(220)
            await session.command("EHLO client.test")
            for n in range(letters // CLIENTS):
                await session.letter("x@east.test", [f"b{(number + n) % ACCOUNTS}@north.test"], letter)

    await asyncio.gather(*map(client, range(CLIENTS)))


async def idle(server: ServeProcess, sessions: int, during: Callable[[int], Awaitable[None]]) -> None:
    """So many IMAP sessions in IDLE, while `during` is called."""
    writers = []
    for number in range(sessions):
        reader, writer = await asyncio.open_connection(*server.address("imap"))
        writers.append(writer)
        await reader.readline()
        for words in (f'LOGIN b{number % ACCOUNTS}@north.test "{PASSWORD}"', "SELECT INBOX"):
            writer.write(f"a {words}\r\n".encode())
            while not (await reader.readline()).startswith(b"a "):
                pass
        writer.write(b"a IDLE\r\n")
        await reader.readuntil(b"+ ")
    await during(sessions)
    for writer in writers:
        writer.close()


def measure(folder: Path, letters: int = 8000, sessions: int = 1000, octets: int = 5120) -> None:
    programs = postgres_programs()
    assert programs is not None, "PostgreSQL is not installed"
    postgres = PostgresServer(programs, SETTINGS)
    url = postgres.url
    accounts = {f"b{number}": None for number in range(ACCOUNTS)}
    try:
        with (
            ServeProcess(folder, {"database": {"url": url}}, accounts=accounts) as server,
            psycopg.connect(url, autocommit=True) as watcher,
        ):

            def ask(sql: str) -> float:
                row = watcher.execute(sql).fetchone()  # type: ignore[arg-type]
                assert row is not None
                return float(row[0])

            def figures() -> dict[str, float]:
                watcher.execute("CHECKPOINT")
                return {
                    "WAL octets": ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"),
                    "commits": ask("SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'"),
                    "database octets": ask("SELECT pg_database_size('postgres')"),
                    "CPU ms of Posthouse": 1000 * cpu_seconds(server.pid),
                    "CPU ms of PostgreSQL": 1000 * cpu_seconds(postgres.process.pid),
                    "WAL fsyncs": ask("SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"),
                }

            asyncio.run(send(server, letters // 4, octets))  # what is made once is made now
            before = figures()
            asyncio.run(send(server, letters, octets))
            for name, after in figures().items():
                print(f"{name} for each letter: {(after - before[name]) / letters:.2f}")
            connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'posthouse'"
            print(f"connections for each worker: {ask(connections) / len(server.workers()):.1f}")
            memory = proportional_memory(server.pid)

            async def during(sessions: int) -> None:
                if sessions:
                    each = (proportional_memory(server.pid) - memory) / sessions
                    print(f"KiB for each idle session: {each / 1024:.1f}")
                spent = cpu_seconds(server.pid), cpu_seconds(postgres.process.pid)
                await asyncio.sleep(20)
                ours, theirs = (cpu_seconds(pid) for pid in (server.pid, postgres.process.pid))
                ours, theirs = (ours - spent[0]) / 20, (theirs - spent[1]) / 20
                print(f"CPU of {sessions} idle sessions: Posthouse {ours:.1%}, PostgreSQL {theirs:.1%}")

            asyncio.run(idle(server, 0, during))
            asyncio.run(idle(server, sessions, during))
    finally:
        postgres.stop()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="posthouse-sizing-") as folder:
        measure(Path(folder), *map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
