"""Two hosts with one name on one PostgreSQL: each does all, neither does it twice."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import only_postgresql, postgresql_and_s3
from tests.nexthop import NextHop
from tests.servers import PASSWORD, PATIENCE, ServeProcess, until

pytestmark = only_postgresql

LETTER = b"Subject: a letter\r\n\r\nHello.\r\n"


@pytest.fixture
def next_hop() -> Iterator[NextHop]:
    """Of both hosts; it keeps silent at DATA until it is told to go on."""
    with NextHop(at_data=True) as hop:
        yield hop


@pytest.fixture
def hosts(tmp_path: Path, next_hop: NextHop) -> Iterator[tuple[ServeProcess, ServeProcess]]:
    """One worker each. The name in their configuration is the same."""
    settings = {
        "workers": 1,
        "database": postgresql_and_s3(),
        "outbound": {"relayhost": f"[127.0.0.1]:{next_hop.port}"},
    }
    with (
        ServeProcess(tmp_path / "a", settings) as first,
        ServeProcess(tmp_path / "b", settings, accounts=None) as second,
    ):
        yield first, second


class Idler:
    """A client that says IDLE and hears what comes."""

    def __init__(self, server: ServeProcess, user: str) -> None:
        self.socket = socket.create_connection(server.address("imap"), timeout=PATIENCE)
        self.said = self.socket.makefile("rb")
        self._until(b"* OK")
        self._do(f'a LOGIN {user}@north.test "{PASSWORD}"', b"a OK")
        self._do("b SELECT INBOX", b"b OK")
        self._do("c IDLE", b"+")

    def _do(self, line: str, answer: bytes) -> None:
        self.socket.sendall(line.encode() + b"\r\n")
        self._until(answer)

    def _until(self, answer: bytes) -> bytes:
        while not (line := self.said.readline()).startswith(answer):
            assert line, "the connection has ended"
        return line

    def hear(self, number: int) -> None:
        """The number of messages."""
        self._until(b"* %d EXISTS" % number)

    def close(self) -> None:
        self.said.close()
        self.socket.close()


def test_a_delivery_on_one_host_wakes_those_who_idle_on_the_other(
    hosts: tuple[ServeProcess, ServeProcess],
) -> None:
    first, second = hosts
    idlers = [Idler(first, "bob"), Idler(second, "bob")]
    for number in range(1, 6):
        sender = hosts[number % 2]
        with sender.smtp() as client:
            client.sendmail("alice@north.test", ["bob@north.test"], LETTER)
        for idler in idlers:
            idler.hear(number)
    for idler in idlers:
        idler.close()


def test_a_worker_that_sleeps_past_its_lease_does_not_send_what_another_host_has_sent(
    hosts: tuple[ServeProcess, ServeProcess], next_hop: NextHop
) -> None:
    first, second = hosts
    # Given a host in the middle of a letter, to whose DATA the next hop has not answered yet,
    with first.smtp() as client:
        client.sendmail("alice@north.test", ["carol@south.test"], LETTER)
    assert next_hop.asked.wait(PATIENCE)
    (worker,) = first.workers()
    # when it is paused and then answered, and its lease runs out,
    os.kill(worker, signal.SIGSTOP)
    try:
        next_hop.go_on.set()
        # then another host takes over, though its name is the same;
        until(lambda: next_hop.letters, seconds=60, what="the letter by way of the other host")
        until(lambda: "carol" not in second.run("queue", "list").stdout, what="an empty queue")
    finally:
        os.kill(worker, signal.SIGCONT)
    # and when the first wakes, it sends no final dot, and what it says counts for nothing.
    until(lambda: next_hop.broken_off, what="the end of the first attempt")
    until(lambda: "lease was lost" in first.log, what="a word about it")
    assert len(next_hop.letters) == 1
    story = first.run("journey", "carol@south.test").stdout
    assert story.count("Reply: 250") == 1
    # It goes on as if nothing had happened.
    with first.smtp() as client:
        client.sendmail("alice@north.test", ["dave@south.test"], LETTER)
    until(lambda: len(next_hop.letters) == 2, what="the next letter")


def test_what_a_dead_host_had_in_hand_is_sent_by_another(
    hosts: tuple[ServeProcess, ServeProcess], next_hop: NextHop
) -> None:
    first, second = hosts
    with first.smtp() as client:
        client.sendmail("alice@north.test", ["carol@south.test"], LETTER)
    assert next_hop.asked.wait(PATIENCE)
    # Given a host that dies in the middle of it,
    first.kill()
    next_hop.go_on.set()
    # then another sends it, and serves the mailboxes of all.
    until(lambda: next_hop.letters, seconds=60, what="the letter by way of the other host")
    with second.smtp() as client:
        client.sendmail("alice@north.test", ["bob@north.test"], LETTER)
    with second.imap("bob") as client:
        assert client.select("INBOX") == ("OK", [b"1"])
    assert len(next_hop.letters) == 1
