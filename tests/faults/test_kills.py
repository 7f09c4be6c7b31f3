"""250 means durable: whoever is killed, and whenever, what was answered with 250 is there, and once.

A letter without a 250 may be there or not, for the reply to its final dot may have been lost (RFC 1047),
but never twice; one that was refused is not there at all.
"""

from __future__ import annotations

import itertools
import random
import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.servers import ServeProcess, until

ROUNDS = 10
WORKER_KILLS = 4
"""In each round, of two workers in turn; then the whole program is killed."""
CLIENTS = 5
LARGE = 100_000
"""Octets: such a letter goes through a spool file and a blob."""

KINDS = {
    "alice": ["alice@north.test"],
    "bob": ["bob@north.test"],
    "away": ["carol@south.test"],
    "both": ["alice@north.test", "carol@south.test"],
    "large": ["bob@north.test"],
}
PLACES = {"alice": "alice", "bob": "bob", "away": "queue", "both": "alice queue", "large": "bob"}


class Load:
    """Clients that send one letter after the other, whatever happens to the server."""

    def __init__(self, server: ServeProcess) -> None:
        self.promised: set[str] = set()
        """Answered with 250."""
        self.in_doubt: set[str] = set()
        """The final dot may have been read, and no reply came."""
        self.refused: set[str] = set()
        self._server = server
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._server.smtp(timeout=5.0) as client:
                    while not self._stop.is_set():
                        self._send(client)
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.01)  # the server is being killed or started

    def _send(self, client: smtplib.SMTP) -> None:
        number = next(self._numbers)
        kind = list(KINDS)[number % len(KINDS)]
        name = f"{kind}-{number}"
        body = f"Subject: {name}\r\n\r\n".encode() + b"x" * 70 + b"\r\n"
        if kind == "large":
            body += (b"y" * 76 + b"\r\n") * (LARGE // 78)
        client.ehlo_or_helo_if_needed()
        client.mail("sender@east.test")
        for recipient in KINDS[kind]:
            client.rcpt(recipient)
        client.putcmd("data")
        if client.getreply()[0] != 354:
            return
        self.in_doubt.add(name)
        client.send(body + b".\r\n")
        code, _ = client.getreply()
        if code == -1:
            raise smtplib.SMTPServerDisconnected
        self.in_doubt.discard(name)
        (self.promised if code == 250 else self.refused).add(name)


def found(server: ServeProcess) -> Iterator[tuple[str, str]]:
    """Every letter that is there: its name and its place."""
    for user in ("alice", "bob"):
        with server.imap(user) as client:
            assert client.select("INBOX", readonly=True)[0] == "OK"
            _, answer = client.fetch("1:*", "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for part in answer:
                if isinstance(part, tuple):
                    name = re.findall(rb"Subject: (\S+)", part[1])[0].decode()
                    size = int(re.findall(rb"RFC822.SIZE (\d+)", part[0])[0])
                    assert (size > LARGE // 2) == name.startswith("large")
                    yield name, user
    for (head,) in server.rows(
        "SELECT content.head FROM queue_entry JOIN queue_letter ON queue_letter.id = queue_entry.letter"
        " JOIN content ON content.id = queue_letter.content"
    ):
        yield re.findall(rb"Subject: (\S+)", head)[0].decode(), "queue"


def test_250_survives_kill(tmp_path: Path, engine: str) -> None:
    """Given load, when workers and the whole program are killed 50 times, then no promise is broken."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    # Nobody answers at the next hop, so what is for others stays in the queue.
    with ServeProcess(tmp_path, {"outbound": {"relayhost": "[127.0.0.1]:9"}}) as server:
        load = Load(server)
        load.start()

        def random_moment() -> None:
            wanted = len(load.promised) + chance.randrange(1, 60)
            until(lambda: len(load.promised) >= wanted, what="more accepted letters")
            time.sleep(chance.random() * 0.02)

        try:
            for _ in range(ROUNDS):
                for kill in range(WORKER_KILLS):
                    until(lambda: len(server.workers()) == 2, what="a restarted worker")
                    random_moment()
                    server.kill_worker(kill % 2)
                random_moment()
                server.kill()
                server.start()
            random_moment()
        finally:
            load.stop()
        places = Counter(found(server))
        if engine == "sqlite":
            assert server.rows("PRAGMA integrity_check") == [("ok",)]
        unowned = server.rows(
            "SELECT count(*) FROM content WHERE id NOT IN (SELECT content FROM email)"
            " AND id NOT IN (SELECT content FROM queue_letter)"
        )

    kinds = {name: name.partition("-")[0] for name in load.promised}
    expected = {(name, place) for name, kind in kinds.items() for place in PLACES[kind].split()}
    lost = sorted(expected - places.keys())
    strange = [name for name, _ in places if name not in load.promised and name not in load.in_doubt]
    assert not lost, f"lost {lost[:10]} of {len(load.promised)}, seed {seed}"
    assert not [pair for pair, count in places.items() if count > 1], f"twice, seed {seed}"
    assert not strange, f"{strange[:10]} are there without a promise, seed {seed}"
    # A letter in doubt is there for all of its recipients, or for none.
    for name in load.in_doubt:
        there = {place for place in PLACES[name.partition("-")[0]].split() if (name, place) in places}
        assert there in (set(), set(PLACES[name.partition("-")[0]].split())), (name, there)
    assert unowned == [(0,)]
    assert len(load.promised) > 50
