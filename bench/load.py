"""The load: Postfix's own smtp-source as the client, its smtp-sink as the next hop or the floor."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

MESSAGE_OCTETS = 5120


@dataclass(frozen=True, slots=True)
class Load:
    """How smtp-source drives: sessions at once, messages in all, and whether a session is reused."""

    name: str
    sessions: int
    messages: int
    reused: bool


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def smtp_source(load: Load, port: int, recipient: str, letter: Path | None = None) -> None:
    """Send the load to 127.0.0.1:`port`; returns once every letter has its 250.

    `letter`: a file with the whole of each; else they are `MESSAGE_OCTETS` of the same letter X.
    """
    command = ["smtp-source", "-s", str(load.sessions), "-m", str(load.messages)]
    command += ["-l", str(MESSAGE_OCTETS)] if letter is None else ["-F", str(letter)]
    command += ["-M", "client.bench.test", "-f", "sender@client.bench.test", "-t", recipient]
    if load.reused:
        command.append("-d")
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True, timeout=600)


def wait_for_port(port: int, address: str = "127.0.0.1", seconds: float = 30) -> None:
    """Return once a 220 is read from the port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((address, port), timeout=5) as connection:
                if connection.recv(4).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing greets on {address}:{port}")
        time.sleep(0.01)


class Sink:
    """smtp-sink as a context manager; `count` is the number of letters that it has taken."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address = address
        self.port = port or free_port(address)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the sink)
        self.process = subprocess.Popen(
            ["smtp-sink", "-c", "-u", "nobody", f"{address}:{self.port}", "1000"],
            stdout=self._output,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port, address)

    def count(self) -> int:
        """Letters so far, from the counter line that the sink keeps writing."""
        end = os.lseek(self._output.fileno(), 0, os.SEEK_CUR)
        found = re.findall(rb"mesg=(\d+)", os.pread(self._output.fileno(), 512, max(0, end - 512)))
        return int(found[-1]) if found else 0

    def wait_for(self, total: int, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while self.count() < total:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the sink has {self.count()} of {total} letters")
            time.sleep(0.005)

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        self._output.close()
