"""A short while of fuzzing that looks for new code (`guided`), with the same chances each time."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

# As in pyproject.toml: atheris is built for these alone.
pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.version_info >= (3, 14),
    reason="there is no atheris for this Python",
)

ROOT = Path(__file__).parent.parent.parent
RUNS = {
    "imap": 300,
    "imap-arguments": 1500,
    "imap-answers": 800,
    "imap-names": 3000,
    "pop3": 400,
    "smtp": 150,
    "smtp-replies": 800,
    "message": 500,
    "text": 3000,
    "address": 3000,
    "dns": 5000,
    "proxy": 5000,
}
"""About a second each; `make fuzz` goes on for as long as one likes."""


@pytest.mark.parametrize("target", RUNS)
def test_nothing_a_stranger_sends_breaks_a_promise(target: str, tmp_path: Path) -> None:
    # In a process of its own: libFuzzer ends it. The folder is where it would leave what broke one.
    command = [sys.executable, "-m", "tests.fuzz.guided", target, "--runs", str(RUNS[target])]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    reached = [line for line in done.stderr.splitlines() if " cov: " in line]
    assert f"#{RUNS[target]}" in reached[-1], "it ended before all runs were made"


def test_all_that_can_be_fuzzed_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "{" + ",".join(RUNS) + "}" in done.stdout.replace("\n", "").replace(" ", "")
