"""What a program costs: CPU seconds and memory of a process and all that descend from it."""

from __future__ import annotations

import os
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
