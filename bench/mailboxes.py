"""`imap`: a Posthouse and a Dovecot with the same mailboxes, and what a mail program asks of them.

Each time it is a new session, which selects INBOX and then asks; a row is the median of several times.
Cold: for the first time, of a server just started whose files are out of the page cache. Warm: of a process
that has been asked the same before. Neither begins before both have indexed what they were filled with.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol, TypeAlias

from bench import dovecot, logins, peers, processes, report
from bench.indexing import wait_until_ready
from bench.letters import SOUGHT_PERSON, SOUGHT_WORD, Kind, letters
from bench.peers import RECIPIENT
from bench.sessions import idle_memory, push_delay
from bench.wire import Imap

ONE_BY_ONE = 1000
"""Messages of the operations that take some of a mailbox."""


class Server(Protocol):
    """What is asked of a mail system that runs."""

    name: str
    delivery: str
    """SMTP or LMTP, at `delivery_port`."""
    delivery_port: int
    imap_port: int

    def pid(self) -> int: ...


class Setup(NamedTuple):
    """A mail system that can be started, again and again, in its folder."""

    data: Path
    """What has to leave the page cache for a cold start."""
    serving: Callable[[], contextlib.AbstractContextManager[Server]]
    index: Callable[[], object]
    """Returns when what it makes of messages beforehand is made for all, while it runs."""


Operation: TypeAlias = Callable[[Imap], float]
"""Milliseconds, of a session that has INBOX selected."""


def command(text: str) -> Operation:
    return lambda session: session.milliseconds(text)


def _select(session: Imap) -> float:
    session.command("UNSELECT")
    return session.milliseconds("SELECT INBOX")


def _bodies_one_by_one(session: Imap) -> float:
    return sum(session.milliseconds(f"UID FETCH {uid} (BODY.PEEK[])") for uid in range(1, ONE_BY_ONE + 1))


READING: dict[str, Operation] = {
    "SELECT": _select,
    "FETCH 1:* (FLAGS)": command("FETCH 1:* (FLAGS)"),
    "FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE)": command("FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE)"),
    "FETCH 1:* header fields": command(
        "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID REFERENCES)])"
    ),
    "FETCH 1:* (UID BODYSTRUCTURE)": command("FETCH 1:* (UID BODYSTRUCTURE)"),
    "UID FETCH of 1,000 bodies, one command": command(f"UID FETCH 1:{ONE_BY_ONE} (BODY.PEEK[])"),
    "UID FETCH of 1,000 bodies, one by one": _bodies_one_by_one,
    "SEARCH UNSEEN": command("SEARCH UNSEEN"),
    "SEARCH FROM": command(f"SEARCH FROM {SOUGHT_PERSON}"),
    "SEARCH SUBJECT": command('SEARCH SUBJECT "Topic 41"'),
    "SEARCH SENTSINCE": command("SEARCH SENTSINCE 20-Jun-2026"),
    "SEARCH BODY": command(f"SEARCH BODY {SOUGHT_WORD}"),
    "SEARCH TEXT": command(f"SEARCH TEXT {SOUGHT_WORD}"),
    "SORT (DATE)": command("SORT (DATE) UTF-8 ALL"),
    "SORT (SUBJECT)": command("SORT (SUBJECT) UTF-8 ALL"),
    "THREAD REFERENCES": command("THREAD REFERENCES UTF-8 ALL"),
}


def _flags(session: Imap, silent: str) -> float:
    added = session.milliseconds(f"STORE 1:* +FLAGS{silent} (\\Flagged)")
    return (added + session.milliseconds(f"STORE 1:* -FLAGS{silent} (\\Flagged)")) / 2


def _new_mailbox(session: Imap) -> str:
    """Not removed afterwards: what a server does to forget it would fall into the next measurement."""
    name = f"New{time.monotonic_ns()}"
    session.command(f"CREATE {name}")
    return name


def _copy(session: Imap) -> float:
    return session.milliseconds(f"COPY 1:{ONE_BY_ONE} {_new_mailbox(session)}")


def _move(session: Imap) -> float:
    """There, and as many back, so that the mailbox stays as large."""
    name = _new_mailbox(session)
    taken = session.milliseconds(f"MOVE 1:{ONE_BY_ONE} {name}")
    session.command(f"SELECT {name}")
    taken += session.milliseconds("MOVE 1:* INBOX")
    return taken / 2


def _append_one_by_one(session: Imap) -> float:
    name = _new_mailbox(session)
    taken = 0.0
    for message in letters(0, ONE_BY_ONE):
        taken += session.milliseconds(f"APPEND {name} {{{len(message)}+}}\r\n", (message,))
    return taken


def _multiappend(session: Imap) -> float:
    pieces = [b" {%d+}\r\n%b" % (len(message), message) for message in letters(0, ONE_BY_ONE)]
    return session.milliseconds(f"APPEND {_new_mailbox(session)}", pieces)


def _resync(session: Imap) -> float:
    """As a client comes back after fifty changes of flags and fifty messages gone."""
    session.command("ENABLE QRESYNC")
    said = session.command("SELECT INBOX")
    uidvalidity, modseq = (_number_after(said, word) for word in (b"UIDVALIDITY ", b"HIGHESTMODSEQ "))
    exists = int(said.partition(b" EXISTS")[0].rpartition(b" ")[2])
    step = exists // 120
    for turn in range(50):
        session.command(f"STORE {1 + turn * step} +FLAGS.SILENT (\\Answered)")
        session.command(f"STORE {2 + turn * step} +FLAGS.SILENT (\\Deleted)")
    session.command("EXPUNGE")
    session.command("UNSELECT")
    return session.milliseconds(f"SELECT INBOX (QRESYNC ({uidvalidity} {modseq}))")


def _number_after(said: bytes, word: bytes) -> int:
    return int(said.partition(word)[2].partition(b"]")[0])


WRITING: dict[str, Operation] = {
    "STORE 1:* +FLAGS.SILENT": lambda session: _flags(session, ".SILENT"),
    "STORE 1:* +FLAGS": lambda session: _flags(session, ""),
    "COPY of 1,000": _copy,
    "MOVE of 1,000": _move,
    "APPEND of 1,000, one by one": _append_one_by_one,
    "APPEND of 1,000 at once": _multiappend,
    "SELECT with QRESYNC after 100 changes": _resync,
}


def run(folder: Path, rounds: int, size: int, kind: Kind) -> Iterator[str]:
    """All rows for one mailbox of `size` messages."""
    if obstacle := dovecot.why_not():
        yield report.figure("IMAP beside Dovecot", f"left out: {obstacle}")
        return
    yield f"INBOX of {size:,} messages, {kind.value}: milliseconds"
    setups = _setups(folder)
    for setup in setups:
        _fill(setup, size, kind)
    for name, operation in READING.items():
        times = [[_cold(setup, operation) for setup in setups] for _ in range(rounds)]
        yield report.times(f"{name}, cold", *map(median, zip(*times, strict=True)))
    with _all_serving(setups) as servers:
        for name, operation in (READING | WRITING).items():
            yield report.times(name, *_warm(servers, operation, rounds))
        if size <= 10_000 and kind is Kind.TEXT:
            yield from _sessions(servers, rounds)


def _sessions(servers: list[Server], rounds: int) -> Iterator[str]:
    in_turn = [[logins.measure(server) for server in servers] for _ in range(rounds)]
    ours, theirs = zip(*in_turn, strict=True)
    yield report.versus("logins per second, and CPU of each", ours, theirs, "dovecot")
    yield report.times("from the 250 to the push of IDLE, median", *[push_delay(one) for one in servers])
    yield report.memory("1,000 sessions in IDLE", *[idle_memory(one) for one in servers])


def _setups(folder: Path) -> list[Setup]:
    ours = folder / "posthouse"
    peers.install(ours)
    theirs = dovecot.installed(folder / "dovecot")

    @contextlib.contextmanager
    def serving_dovecot() -> Iterator[Server]:
        with theirs.serving():
            yield theirs

    return [
        Setup(ours / "data", lambda: peers.serving(ours), lambda: wait_until_ready(ours / "data")),
        Setup(theirs.data, serving_dovecot, theirs.index),
    ]


def _fill(setup: Setup, size: int, kind: Kind) -> None:
    with setup.serving() as server, Imap(server.imap_port) as session:
        session.login(RECIPIENT)
        session.append_many("INBOX", letters(0, size, kind))
        setup.index()


def _cold(setup: Setup, operation: Operation) -> float:
    with setup.serving() as server:
        _forget(setup.data)
        with Imap(server.imap_port) as session:
            session.login(RECIPIENT)
            if operation is _select:
                return session.milliseconds("SELECT INBOX")
            session.command("SELECT INBOX")
            return operation(session)


def _forget(folder: Path) -> None:
    """Let the files of a folder leave the page cache, once they are on the disk."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


@contextlib.contextmanager
def _all_serving(setups: list[Setup]) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(setup.serving()) for setup in setups]


def _warm(servers: list[Server], operation: Operation, rounds: int) -> list[float]:
    """The median for each server, of a new session each time; they take turns.

    The first time of each process of a server does not count.
    """
    taken: list[list[float]] = [[] for _ in servers]
    asked: list[set[int | None]] = [set() for _ in servers]
    while min(map(len, taken)) < rounds:
        for server, times, before in zip(servers, taken, asked, strict=True):
            if len(times) == rounds:
                continue
            with Imap(server.imap_port) as session:
                session.login(RECIPIENT)
                session.command("SELECT INBOX")
                process = processes.serving(server.pid(), session.socket)
                took = operation(session)
                if process in before:
                    times.append(took)
                before.add(process)
    return [median(times) for times in taken]
