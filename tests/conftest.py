"""For all tests: one that drives a program of the operating system bears `@pytest.mark.debian("swaks")`.

Where it is missing the test is left out, and the closing summary names it; with CI=true it fails.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
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
