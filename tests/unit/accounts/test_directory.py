"""What a worker remembers, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.accounts import account
from posthouse.accounts.cache import Recent
from posthouse.accounts.directory import Directory
from posthouse.db import Reader, open_database
from tests.unit.accounts.world import World


class Question:
    """Counts how often the answer is worked out."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, reader: Reader) -> tuple[bool]:
        self.times += 1
        return (account.find(reader, "dora@example.org") is not None,)


async def heard(answer: Any) -> Any:
    """An answer that comes at once or has to be awaited."""
    return await answer if isinstance(answer, Awaitable) else answer


async def test_an_answer_is_worked_out_once_until_the_directory_changes(world: World) -> None:
    question = Question()
    for _ in range(3):
        assert await heard(world.directory.recall("dora", question)) == (False,)
    assert question.times == 1
    await world.add_account("dora@example.org")
    assert await heard(world.directory.recall("dora", question)) == (True,)
    assert question.times == 2


async def test_a_change_by_another_process_is_noticed(
    world: World, tmp_path: Path, database_url: str
) -> None:
    question = Question()
    assert await heard(world.directory.recall("dora", question)) == (False,)
    other = open_database(database_url, tmp_path)
    try:
        await other.write([], lambda tx: account.add(tx, "dora@example.org", now=1.0))
    finally:
        await other.close()
    if not world.database.immediate:
        # It is noticed with the next look at the generation.
        async with asyncio.timeout(10):
            while not (await heard(world.directory.recall("dora", question)))[0]:  # noqa: ASYNC110 (a poll)
                await asyncio.sleep(0.01)
    assert await heard(world.directory.recall("dora", question)) == (True,)


class Distant:
    """A database whose answers take their time, and whose generation others change meanwhile."""

    immediate = False

    def __init__(self) -> None:
        self.number = 1
        self.go_on: list[asyncio.Event] = []

    def generation(self, name: str) -> int:
        return self.number

    async def read(self, fn: Callable[[Any], Any], *, point: bool = False) -> Any:
        answer = fn(None)
        self.go_on.append(asyncio.Event())
        await self.go_on[-1].wait()
        return answer


async def test_an_answer_from_before_a_change_does_not_outlive_it() -> None:
    database = Distant()
    directory = Directory(database)  # type: ignore[arg-type]
    early = directory.recall("x", lambda _: "old")
    await asyncio.sleep(0)
    database.number = 2
    late = directory.recall("x", lambda _: "new")
    await asyncio.sleep(0)
    assert isinstance(early, Awaitable)
    assert isinstance(late, Awaitable)
    for answer, go_on in ((late, database.go_on[1]), (early, database.go_on[0])):
        go_on.set()
        await answer
    assert directory.recall("x", lambda _: "newer") == "new"


async def test_memory_is_bounded_and_a_large_answer_counts_for_more(world: World) -> None:
    directory = Directory(world.database, capacity=100)
    for number in range(1000):
        await heard(directory.recall(number, lambda reader: "small"))
    assert len(directory) == 100
    for number in range(50):
        await heard(directory.recall(("large", number), lambda reader: "large", lambda answer: 10))
    assert len(directory) == 10


def test_what_was_asked_for_last_is_kept() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_a_cache_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Recent(0)


@given(st.lists(st.tuples(st.sampled_from("pd"), st.integers(0, 9), st.integers(1, 6))))
def test_the_weights_in_a_cache_never_exceed_its_capacity(steps: list[tuple[str, int, int]]) -> None:
    recent: Recent[int, int] = Recent(10)
    weights: dict[int, int] = {}
    for action, key, weight in steps:
        if action == "d":
            recent.drop(key)
            weights.pop(key, None)
        else:
            recent.put(key, weight, weight)
            weights[key] = weight
        assert sum(weights[key] for key in range(10) if recent.get(key) is not None) <= 10
    if steps and steps[-1][0] == "p":
        assert recent.get(steps[-1][1]) == steps[-1][2]
