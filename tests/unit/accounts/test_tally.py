"""A tally counts every event once, whichever process counts it, and holds no more than it has room for."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from posthouse.accounts.tally import Count, Tally

NAME = ("client", "192.0.2.1")


def one_more(count: Count | None) -> Count:
    return Count(1 if count is None else count.number + 1, 5.0)


def count_many(path: Path, times: int) -> None:
    tally = Tally(1000, path)
    for _ in range(times):
        tally.change(NAME, one_more)
    tally.close()


def test_processes_that_count_at_the_same_time_count_every_event(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=count_many, args=(tmp_path / "tally", 2000)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    tally = Tally(1000, tmp_path / "tally")
    assert tally.get(NAME) == Count(4000, 5.0)
    tally.close()


def test_what_is_taken_out_is_gone() -> None:
    tally = Tally(10)
    tally.change(NAME, one_more)
    tally.change(NAME, lambda count: None)
    assert tally.get(NAME) is None
    assert len(tally) == 0


def test_names_that_look_alike_are_different() -> None:
    tally = Tally(1000)
    tally.change(("a", "b@x"), one_more)
    assert tally.get(("ab", "@x")) is None
    assert tally.get(("a", "b@x")) == Count(1, 5.0)


def test_the_oldest_of_a_bucket_makes_room() -> None:
    tally = Tally(8)  # one bucket
    for number in range(8):
        tally.change(("", str(number)), lambda _, number=number: Count(1, 100.0 - number))  # type: ignore[misc]
    tally.change(("", "new"), lambda _: Count(1, 200.0))
    assert tally.get(("", "7")) is None
    assert all(tally.get(("", str(number))) for number in range(7))
    assert tally.get(("", "new")) == Count(1, 200.0)


@pytest.mark.parametrize("octets", [b"", b"no tally at all", b"\xff" * 100_000, b"\xff" * 28_096])
def test_a_file_that_is_something_else_is_begun_anew(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "tally").write_bytes(octets)
    tally = Tally(1000, tmp_path / "tally")
    assert len(tally) == 0
    tally.change(NAME, one_more)
    assert tally.get(NAME) == Count(1, 5.0)
    tally.close()


def test_after_its_end_nothing_is_counted(tmp_path: Path) -> None:
    tally = Tally(1000, tmp_path / "tally")
    tally.close()
    tally.change(NAME, one_more)
    assert tally.get(NAME) is None
