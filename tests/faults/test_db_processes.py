"""Processes that write, die and run out of space: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from posthouse.db.connection import Session, connect
from tests.databases import only_sqlite

pytestmark = only_sqlite


def start(directory: Path, first: int, count: int, before: str = "") -> subprocess.Popen[bytes]:
    """A writing process; its output is the numbers that it was told are durable."""
    program = [sys.executable, "-m", "tests.faults.db_writer", str(directory), str(first), str(count)]
    if before:
        program = ["sh", "-c", f'{before}; exec "$@"', "sh", *program]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stored(directory: Path) -> set[int]:
    """The numbers in the database, which must be sound, each with both of its rows."""
    session = Session(connect(directory / "posthouse.db"))
    assert session.one("PRAGMA integrity_check") == ("ok",)
    assert session.one("SELECT count(*) FROM content_body WHERE content NOT IN (SELECT id FROM content)") == (
        0,
    )
    rows = session.all(
        "SELECT id FROM content JOIN content_body ON content = id AND body = CAST(? AS BLOB)",
        (b"",),
    )
    assert rows == []
    found = session.all("SELECT id, body FROM content LEFT JOIN content_body ON content = id")
    session.close()
    assert all(body == b"%d " % number * 500 for number, body in found)
    return {number for number, _ in found}


def acknowledged(output: bytes) -> set[int]:
    """Whole lines only: the last one may have been cut."""
    return {int(line) for line in output[: output.rfind(b"\n") + 1].split()}


def test_what_was_acknowledged_survives_kill_at_any_moment(tmp_path):
    chance = random.Random(20261122)
    told: set[int] = set()
    for life in range(8):
        # Given a process under load,
        process = start(tmp_path, life * 100_000, 100_000)
        assert process.stdout is not None
        output = b""
        for _ in range(chance.randrange(1, 40)):
            output += process.stdout.readline()
        # when it is killed at a random moment,
        process.kill()
        rest, errors = process.communicate()
        assert not errors
        told |= acknowledged(output + rest)
        # then everything it was told is there.
        assert told <= stored(tmp_path)
    assert len(told) > 100


def test_two_processes_write_at_once_and_both_get_on(tmp_path):
    # Given two processes with more than enough to write,
    count = 1500
    both = [start(tmp_path, first, count) for first in (0, 100_000)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    told = [acknowledged(output) for output in outputs]
    assert [len(numbers) for numbers in told] == [count, count]
    assert stored(tmp_path) == told[0] | told[1]


def test_one_process_does_not_starve_the_other(tmp_path):
    # Given a process that writes without end,
    greedy = start(tmp_path, 0, 10_000_000)
    assert greedy.stdout is not None
    greedy_output = [greedy.stdout.readline()]
    reading = threading.Thread(target=lambda: greedy_output.append(greedy.stdout.read()))
    reading.start()
    # when another wants to write a little, it gets its turn,
    other = start(tmp_path, 20_000_000, 200)
    told, errors = other.communicate(timeout=60)
    greedy.kill()
    greedy.wait()
    reading.join()
    greedy_told = acknowledged(b"".join(greedy_output))
    greedy.stdout.close()
    greedy.stderr.close()
    assert not errors
    assert len(acknowledged(told)) == 200
    # and what both were told is there.
    assert acknowledged(told) | greedy_told <= stored(tmp_path)


def test_a_disk_without_space_loses_nothing_and_works_again_with_it(tmp_path):
    # Given a limit to the size of files, under which the operating system refuses to write,
    process = start(tmp_path, 0, 100_000, before="ulimit -f 2000")
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"DiskFull" in errors
    told = acknowledged(output)
    assert told
    # then what was acknowledged is there, and nothing is damaged;
    assert told <= stored(tmp_path)
    # and with space it works.
    again = start(tmp_path, 200_000, 50)
    assert len(acknowledged(again.communicate(timeout=60)[0])) == 50
    assert told <= stored(tmp_path)


@pytest.mark.parametrize("where", ["data"])
def test_a_directory_that_is_not_there_is_said_plainly(tmp_path, where):
    process = start(tmp_path / where, 0, 1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"No such file or directory" in errors
