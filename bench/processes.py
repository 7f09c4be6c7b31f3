"""What a program costs: CPU seconds and memory of a process and all that descend from it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def tree(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def serving(pid: int, connection: socket.socket) -> int | None:
    """Which process of the tree has the other end of a connection over loopback."""
    ours, theirs = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(theirs) and fields[2].endswith(ours):
            wanted = f"socket:[{fields[9]}]"
            return next((one for one in tree(pid) if wanted in _open(one)), None)
    return None


def _open(pid: int) -> set[str]:
    """What the descriptors of a process are."""
    found = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(entry.path))
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, the dead that were waited for included."""
    total = 0
    for one in tree(pid):
        try:
            total += sum(int(field) for field in _stat(one)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / _TICK


def proportional_memory(pid: int) -> int:
    """PSS of the tree in octets."""
    total = 0
    for one in tree(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
