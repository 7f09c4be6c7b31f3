"""Tests whose program is missing are left out by name, or fail where nothing may be left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import TOP

NEEDS_A_PROGRAM = """
import pytest

@pytest.mark.debian("no-such-program")
def test_with_it():
    pass

@pytest.mark.debian("sh")
def test_with_a_shell():
    pass
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run those two tests beside a copy of our conftest; exit code and output."""
    (tmp_path / "conftest.py").write_text((TOP / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(NEEDS_A_PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = debian\n")

    def run_(ci: str) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
            cwd=tmp_path,
            env=environment | {"CI": ci},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run_


def test_without_the_program_the_test_is_left_out_by_name(run) -> None:
    code, output = run("")

    assert code == 0
    assert "left out: 1 tests that need no-such-program (apt install no-such-program)" in output
    assert "1 passed, 1 skipped" in output.splitlines()[-1]


def test_in_ci_nothing_may_be_left_out(run) -> None:
    code, output = run("true")

    assert code == 1
    assert "1 passed, 1 error" in output.splitlines()[-1]
