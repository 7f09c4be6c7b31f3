"""For all tests: one that drives a program of the operating system bears `@pytest.mark.debian("swaks")`.

Where it is missing the test is left out, and the closing summary names it; with CI=true it fails.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

_PACKAGES = {
    "dovecot": "dovecot-imapd",
    "mbsync": "isync",
    "getmail": "getmail6",
    "offlineimap": "offlineimap3",
}
_MODULES = {"libnet-ssleay-perl": "Net::SSLeay"}
"""Packages that are not a program but a module of Perl."""
_PARTS = {"dovecot-pop3d": Path("/usr/lib/dovecot/pop3")}
"""Packages that are a part of a program."""
_left_out: Counter[str] = Counter()

_MEMORY = Path("/dev/shm")
_ROOM = 4_000_000_000
"""Octets that have to be free there; the tests need about a quarter of it."""


def pytest_configure() -> None:
    """Files of tests lie in memory, where there is much of it: what an fsync costs there is not waited for.

    No test takes the power away, and every write is as before. TMPDIR decides otherwise.
    """
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None


def _has_room(directory: Path) -> bool:
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        return False
    status = os.statvfs(directory)
    memory = re.search(r"^MemAvailable: *(\d+) kB$", Path("/proc/meminfo").read_text("ascii"), re.M)
    free = min(status.f_bavail * status.f_frsize, 1024 * int(memory[1]) if memory else 0)
    return free >= _ROOM and not status.f_flag & os.ST_NOEXEC


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("debian"):
        for program in mark.args:
            if _is_here(program):
                continue
            if os.environ.get("CI") == "true":
                pytest.fail(
                    f"{program} is not installed, and with CI=true nothing may be left out", pytrace=False
                )
            _left_out[program] += 1
            pytest.skip(f"{program} is not installed")


@functools.cache
def _is_here(program: str) -> bool:
    if program in _MODULES:
        command = ["perl", f"-M{_MODULES[program]}", "-e1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    part = _PARTS.get(program)
    return shutil.which(program) is not None if part is None else part.exists()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for program, tests in sorted(_left_out.items()):
        package = _PACKAGES.get(program, program)
        terminalreporter.write_line(f"left out: {tests} tests that need {program} (apt install {package})")
