"""Logins per second, and what each costs: a client of its own, as lean as it can be.

`AT_ONCE` processes, each with one blocking socket at a time, begin together: connect, read the greeting,
LOGIN, read OK, LOGOUT, read OK, close. What they say is made ready before, and of the answers no more is
looked at than whether they say OK. The load is the same for each server. Where it shares a machine with the
server its own work, some 90 µs of CPU for each login, weighs more on the rate of a quick server than on that
of a slow one: therefore the server's CPU time for each login stands beside the rate.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from bench.peers import PASSWORD, RECIPIENT
from bench.processes import cpu_seconds

LOGINS = 4000
WARM_UP = 20
"""Logins of each client that do not count."""
AT_ONCE = 4


class Server(Protocol):
    imap_port: int

    def pid(self) -> int: ...


class Logins(NamedTuple):
    """One measurement."""

    rate: float
    """Per second."""
    cpu: float
    """CPU seconds of all processes of the server for each."""


def measure(server: Server) -> Logins:
    """The same user logs in and out, again and again."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_client(server.imap_port, LOGINS // AT_ONCE)) for _ in range(AT_ONCE)]
        for client in clients:
            _expect(client, b"ready\n")
        spent, started = cpu_seconds(server.pid()), time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write(b"go\n")
            client.stdin.flush()
        for client in clients:
            _expect(client, b"done\n")
        elapsed = time.perf_counter() - started
        return Logins(LOGINS / elapsed, (cpu_seconds(server.pid()) - spent) / LOGINS)


@contextlib.contextmanager
def _client(port: int, logins: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.logins", str(port), str(logins)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        try:
            yield client
        finally:
            client.kill()


def _expect(client: subprocess.Popen[bytes], line: bytes) -> None:
    assert client.stdout is not None
    if client.stdout.readline() != line:
        raise RuntimeError("a client could not log in")


def _log_in(port: int, times: int) -> None:
    """The work of one client."""
    address = ("127.0.0.1", port)
    login = f'a LOGIN {RECIPIENT} "{PASSWORD}"\r\n'.encode()
    for _ in range(times):
        with socket.socket() as connection:
            connection.connect(address)
            _read(connection, b"* OK")
            connection.send(login)
            _read(connection, b"a OK")
            connection.send(b"b LOGOUT\r\n")
            _read(connection, b"b OK")


def _read(connection: socket.socket, status: bytes) -> None:
    """Read until a whole line says `status`, the last of an answer."""
    said = b"\r\n"
    while not (said.endswith(b"\r\n") and said[said.rfind(b"\r\n", 0, -2) + 2 :].startswith(status)):
        piece = connection.recv(4096)
        if not piece:
            raise RuntimeError(f"the server hung up: {said!r}")
        said += piece


def main() -> None:
    """A client: `python -m bench.logins PORT LOGINS`; it begins with a line on standard input."""
    port, logins = map(int, sys.argv[1:])
    _log_in(port, WARM_UP)
    os.write(1, b"ready\n")
    sys.stdin.readline()
    _log_in(port, logins)
    os.write(1, b"done\n")


if __name__ == "__main__":
    main()
