"""`posthouse migrate-store` under a server that takes mail, serves it and passes it on, there and back.

Every letter answered with 250 is in its place afterwards, what IMAP shows is the same to the last flag, and
no letter leaves twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import itertools
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from posthouse.config import load
from posthouse.db.transfer_end import open_end
from posthouse.pocket.peer import ScriptedPeer
from tests.databases import KEY, SECRET, object_store, postgres
from tests.servers import PATIENCE, ServeProcess, until

pytestmark = pytest.mark.parametrize("engine", ["sqlite"])
"""Where the mail is at first."""

LARGE = 90_000
ACCOUNTS = {"alice": 500_000_000, "bob": None}


@pytest.fixture
def smarthost() -> Iterator[ScriptedPeer]:
    """Another server, in a thread of its own."""
    peer = ScriptedPeer("mx.south.test")
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        await peer.start()
        started.set()
        await asyncio.to_thread(ended.wait)
        await peer.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(PATIENCE)
    yield peer
    ended.set()
    thread.join()


class Load:
    """Clients that send and that change flags, whatever they are told."""

    def __init__(self, server: ServeProcess, numbers: Iterator[int]) -> None:
        self.ids: dict[str, str] = {}
        """Letters answered with 250, by name: the id."""
        self.refused = 0
        self.flagged = 0
        self.unavailable: set[bytes] = set()
        self._server = server
        self._numbers = numbers
        self._stop = threading.Event()
        work = [self._send, self._send, self._send, self._read]
        self._threads = [threading.Thread(target=self._run, args=(step,)) for step in work]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _run(self, work) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException, imaplib.IMAP4.abort):
                work()

    def _send(self) -> None:
        with self._server.smtp() as client:
            while not self._stop.is_set():
                number = next(self._numbers)
                recipient, size = [
                    ("alice@north.test", 200),
                    ("carol@south.test", 200),
                    ("bob@north.test", 300),
                    ("alice@north.test", LARGE if number % 16 == 3 else 100),
                ][number % 4]
                name = f"letter-{number}"
                content = f"Subject: {name}\r\n\r\n".encode() + b"x" * 70 + b"\r\n" + b"y" * size + b"\r\n"
                try:
                    client.ehlo_or_helo_if_needed()
                    client.mail("sender@east.test")
                    client.rcpt(recipient)
                    code, text = client.data(content)
                except smtplib.SMTPDataError as error:
                    code, text = error.smtp_code, b""
                if code == 250:
                    self.ids[name] = text.split()[-1].decode()
                else:
                    assert 400 <= code < 500, code
                    self.refused += 1
                    client.rset()
                self._stop.wait(0.01)

    def _read(self) -> None:
        with self._server.imap("alice") as client:
            client.select("INBOX")
            while not self._stop.is_set():
                flag = ["\\Seen", "\\Flagged", "$work", "\\Answered"][next(self._numbers) % 4]
                status, lines = client.store("1:*", "+FLAGS" if self.flagged % 3 else "-FLAGS", f"({flag})")
                if status == "NO":
                    self.unavailable.update(lines)
                self.flagged += status == "OK"
                self._stop.wait(0.02)


def view(server: ServeProcess) -> dict[str, list[str]]:
    """What IMAP shows of each mailbox: its state, and each message with UID, flags, modseq and size."""
    shown = {}
    for user in ACCOUNTS:
        with server.imap(user) as client:
            client.enable("CONDSTORE")
            for mailbox in ("INBOX", "Sent"):
                status = client.status(mailbox, "(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ SIZE)")
                client.select(mailbox, readonly=True)
                lines = client.uid("FETCH", "1:*", "(UID FLAGS MODSEQ RFC822.SIZE INTERNALDATE)")[1]
                shown[f"{user}/{mailbox}"] = [str(status), *map(str, lines)]
            shown[f"{user}/quota"] = [str(client.getquotaroot("INBOX"))]
    return shown


def subjects(server: ServeProcess, user: str) -> Counter[str]:
    with server.imap(user) as client:
        client.select("INBOX", readonly=True)
        _, parts = client.fetch("1:*", "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])")
    found = [part[1] for part in parts if isinstance(part, tuple)]
    names = [re.findall(rb"letter-\d+", text)[0].decode() for text in found if b"Subject" in text]
    assert sum(len(text) > LARGE for text in found) > 0 or user != "alice"
    return Counter(names)


def move_to(server: ServeProcess, url: str, blobs: str) -> None:
    """What the administrator does to posthouse.toml."""
    text = server.config_path.read_text()
    for key, value in (("url", url), ("blobs", blobs)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {json.dumps(value)}", text, flags=re.M)
    server.config_path.write_text(text)
    server.config = load(server.config_path)


def switched(server: ServeProcess, *arguments: str) -> dict:
    done = server.run("migrate-store", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_serving_store_moves_to_postgresql_and_s3_and_back(tmp_path, smarthost, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    here = ("sqlite:///posthouse.db", "file:blobs")
    there = (postgres().fresh(), object_store().url(f"moved{os.getpid()}"))
    settings = {
        "outbound": {"relayhost": f"[{smarthost.address}]:{smarthost.port}"},
        "database": {"url": here[0], "blobs": here[1]},
    }
    ids: dict[str, str] = {}
    numbers = itertools.count(1)
    with ServeProcess(tmp_path, settings, accounts=ACCOUNTS) as server:
        for target, extra in ((there, []), (here, ["--replace"])):
            with Load(server, numbers) as load:
                until(lambda: len(load.ids) > 100 and load.flagged > 3, what="a store with something in it")
                report = switched(server, "--to", target[0], "--to-blobs", target[1], *extra)
                until(lambda: load.refused > 2 and load.unavailable, what="clients that are told")
            before = view(server)
            ids |= load.ids

            server.terminate()
            refused = server.run("queue", "list")
            assert (refused.returncode, "has moved to" in refused.stderr) == (os.EX_CONFIG, True)
            move_to(server, *target)
            server.start()

            assert view(server) == before
            assert all(b"UNAVAILABLE" in line for line in load.unavailable), load.unavailable
            assert report["switched"]
            assert report["rows"]["placement"] == report["messages"] > 50
            assert report["seconds_closed"] < PATIENCE
            assert report["objects_moved"] > 0

        until(lambda: server.rows("SELECT count(*) FROM queue_entry") == [(0,)], what="an empty queue")
        here_now = subjects(server, "alice") + subjects(server, "bob")
        journeys = [server.run("journey", id) for id in list(ids.values())[:: len(ids) // 4]]
    left = Counter(re.findall(rb"letter-\d+", letter.content)[0].decode() for letter in smarthost.letters)
    missing = [name for name in ids if name not in here_now and name not in left]
    assert not missing
    assert not [name for name, count in (here_now + left).items() if count > 1]
    for journey in journeys:
        assert journey.returncode == 0, journey.stderr
        assert re.search("stored|delivered|relayed", journey.stdout, re.I), journey.stdout


UNDER_WAY = (
    "INSERT INTO queue_entry (letter, number, recipient, notify, orcpt, next_hop, state, due, attempts,"
    " reason, warned, holder, lease) VALUES (1, 1, 'x@y.test', 0, '', 'y.test', 'held', 0, 0, '', 0, 5, 1e12)"
)


def killed_after(command: list[str], stage: str) -> None:
    """Run it until the line of this stage is printed, at its end; then SIGKILL."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as mover:
        assert mover.stderr is not None
        assert any(line.startswith(stage) for line in mover.stderr)
        mover.kill()
        assert mover.wait() == -signal.SIGKILL


def test_a_mover_killed_with_sigkill_is_run_again(tmp_path) -> None:
    """Given a copy that is cut off, when the same command is given again, then everything is there."""
    target = postgres().fresh()
    settings = {"database": {"url": "sqlite:///posthouse.db", "blobs": "file:blobs"}}
    with ServeProcess(tmp_path, settings) as server:
        with server.smtp() as client:
            for number in range(40):
                content = f"Subject: {number}\r\n\r\n".encode() + b"x" * 3000
                client.sendmail("x@east.test", ["alice@north.test"], content)
        before = view(server)
        command = [sys.executable, "-m", "posthouse", "migrate-store", "--to", target]
        command += ["--config", str(server.config_path)]
        # While an attempt is under way the source is not closed, so the first two cannot come to an end.
        here = open_end(server.config.database.url, server.config.data_directory)
        here.run(UNDER_WAY)
        killed_after(command, "copy")
        killed_after(command, "verify")
        here.run("DELETE FROM queue_entry")
        here.close()
        # Nor can the third count the rows of a table that is locked; by then the source is closed.
        there = open_end(target, tmp_path)
        with there.transaction():
            there.run("LOCK TABLE placement IN ACCESS EXCLUSIVE MODE")
            killed_after(command, "last changes")
        there.close()
        with server.smtp() as client, pytest.raises(smtplib.SMTPException, match="451"):
            client.sendmail("x@east.test", ["alice@north.test"], b"Subject: too late\r\n\r\n")
        assert switched(server, "--to", target)["rows"]["placement"] == 40
        server.terminate()
        move_to(server, target, "file:blobs")
        server.start()
        assert view(server) == before
