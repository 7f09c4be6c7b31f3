"""The lock file that every writer takes before it begins a transaction.

SQLite's own lock is polled; this one is waited for in line, so two busy workers share fairly and a
command beside them gets its turn. The kernel frees it when a process dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class LockFile:
    """A lock on a descriptor of its own: to be opened after fork, one per thread that takes it."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self) -> None:
        """Wait for it. Only in a thread."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)
