"""The supervisor with real processes: who gets which sockets, who restarts whom, who ends when."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.net.sockets import read_listeners
from tests.servers import until

PROGRAM = Path(__file__).with_name("supervised.py")


class Supervised:
    """A running supervised.py. `ready` tells as systemd would be told."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(f"\0posthouse-test-{os.getpid()}-{time.monotonic_ns()}")
        self.notified.settimeout(10)
        name = self.notified.getsockname().decode().replace("\0", "@")
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(directory), *arguments],
            env=os.environ | {"NOTIFY_SOCKET": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_ready(self) -> None:
        assert self.notified.recv(100).startswith(b"READY=1")
        host, _, port = read_listeners(self.directory)["smtp"][0].rpartition(":")
        self.address = (host, int(port))

    def connect(self) -> tuple[socket.socket, list[int]]:
        """A connection, and the index, pid and reloads of the worker that has it."""
        connection = socket.create_connection(self.address, timeout=10)
        return connection, [int(number) for number in connection.makefile().readline().split()]

    def workers(self) -> dict[int, int]:
        """Index → pid, by asking until both have answered."""
        found: dict[int, int] = {}
        while len(found) < 2:
            connection, (index, pid, _) = self.connect()
            connection.close()
            found[index] = pid
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notified.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def begin(*arguments: str, ready: bool = True) -> Supervised:
        started.append(Supervised(tmp_path, *arguments))
        if ready:
            started[-1].wait_ready()
        return started[-1]

    yield begin
    for supervised in started:
        supervised.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # gone before the open, or the read
        return False


def test_all_workers_serve_one_port_after_the_migration(start: Callable[..., Supervised]) -> None:
    server = start()
    assert len(set(server.workers().values())) == 2
    assert int((server.directory / "migrated").read_text()) not in server.workers().values()
    assert stat.S_IMODE((server.directory / "run" / "submission").stat().st_mode) == 0o666
    titles = {Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in server.workers().values()}
    assert titles == {b"posthouse: worker 1", b"posthouse: worker 2"}
    assert server.end() == 0
    assert read_listeners(server.directory) == {}
    assert not (server.directory / "run" / "submission").exists()


@pytest.mark.parametrize("how", ["killed", "by itself"])
def test_a_worker_that_ended_is_replaced_on_the_same_port(start: Callable[..., Supervised], how: str) -> None:
    server = start()
    before = server.workers()
    if how == "killed":
        os.kill(before[0], signal.SIGKILL)
    else:
        connection, (index, _, _) = server.connect()
        while index != 0:
            connection.close()
            connection, (index, _, _) = server.connect()
        connection.sendall(b"die\n")
        connection.close()
    until(lambda: not alive(before[0]))
    after = server.workers()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_worker_that_keeps_dying_is_restarted_later_and_later(start: Callable[..., Supervised]) -> None:
    server = start()
    pids = [server.workers()[0]]
    began = time.monotonic()
    for _ in range(4):
        os.kill(pids[-1], signal.SIGKILL)
        until(lambda: not alive(pids[-1]))
        pids.append(server.workers()[0])
    assert len(set(pids)) == 5
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4


def test_sigterm_lets_a_transaction_in_flight_finish(start: Callable[..., Supervised]) -> None:
    server = start()
    connection, _ = server.connect()
    connection.sendall(b"hold\n")
    lines = connection.makefile()
    assert lines.readline() == "holding\n"
    server.process.send_signal(signal.SIGTERM)
    assert lines.readline() == "done\n"
    connection.close()
    lines.close()
    assert server.process.wait(10) == 0


def test_sighup_reaches_every_worker(start: Callable[..., Supervised]) -> None:
    server = start()
    before = server.workers()
    server.process.send_signal(signal.SIGHUP)
    reloaded: set[int] = set()

    def all_reloaded() -> bool:
        connection, (index, pid, reloads) = server.connect()
        connection.close()
        assert before[index] == pid, "no worker may end because of it"
        reloaded.update({index} if reloads == 1 else ())
        return len(reloaded) == 2

    until(all_reloaded)


def test_workers_die_with_their_supervisor_and_free_the_data(start: Callable[..., Supervised]) -> None:
    server = start()
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    until(lambda: not any(alive(pid) for pid in workers.values()))
    again = start()  # the lock is free, the stale Unix socket no obstacle
    assert set(again.workers().values()).isdisjoint(workers.values())


def test_a_second_server_on_the_same_data_refuses(start: Callable[..., Supervised]) -> None:
    first = start()
    second = start(ready=False)
    assert second.process.wait(10) == os.EX_UNAVAILABLE
    assert second.process.stdout is not None
    assert f"process {first.process.pid}" in second.process.stdout.read()
    assert len(first.workers()) == 2


def test_an_address_that_another_server_has_is_refused_and_not_shared(
    start: Callable[..., Supervised],
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = start("", f"127.0.0.1:{other.getsockname()[1]}", ready=False)
        assert server.process.wait(10) == os.EX_UNAVAILABLE
        assert server.process.stdout is not None
        assert "Address already in use" in server.process.stdout.read()


@pytest.mark.parametrize(("mode", "status"), [("bad migration", os.EX_DATAERR), ("bad worker", os.EX_CONFIG)])
def test_what_cannot_start_ends_with_its_status(
    start: Callable[..., Supervised], mode: str, status: int
) -> None:
    server = start(mode, ready=False)
    assert server.process.wait(10) == status
    assert not (server.directory / "run" / "submission").exists()
