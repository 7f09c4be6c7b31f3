"""An administrator sees how far the full-text index is, and whether anybody works at it."""

from __future__ import annotations

import asyncio
import os

import pytest

from posthouse.accounts.problem import NoSuchEntry
from posthouse.admin import search
from posthouse.admin.health import examine_index
from posthouse.admin.search import Index
from posthouse.cli import indexing
from posthouse.cli.problem import CommandProblem
from posthouse.store.backlog import Backlog
from tests.servers import PATIENCE
from tests.unit.store.test_fulltext import BOB, EVE, World, world

__all__ = ["world"]

BOBS, EVES = f"{BOB}@example.org", f"{EVE}@example.org"


def index_of(world: World) -> Index:
    return Index(world.database, world.fulltext, world.directory / "run")


async def test_messages_are_counted_that_the_index_does_not_know_yet(world: World) -> None:
    index = index_of(world)
    await world.texts("one", "two", "three")
    await world.indexer.sweep()
    assert await search.progress(index) == {BOBS: Backlog(3, 0), EVES: Backlog(0, 0)}
    # given new ones in both accounts, and one gone that had been indexed
    await world.texts("four", "five")
    await world.texts("six", account=EVE)
    await world.expunge([1])

    assert await search.progress(index) == {BOBS: Backlog(4, 2), EVES: Backlog(1, 1)}
    assert await search.waiting(index) == 3
    assert await search.waiting(index, EVES) == 1
    await world.indexer.sweep()
    assert await search.waiting(index) == 0
    with pytest.raises(NoSuchEntry):
        await search.progress(index, "nobody@example.org")


async def test_a_reindex_counts_from_the_beginning_and_the_server_hears_of_it(world: World) -> None:
    index = index_of(world)
    await world.texts("one", "two")
    await world.indexer.sweep()
    heard = asyncio.Event()
    world.notifier.on_every_change(lambda account: heard.set() if account == BOB else None)

    await search.reindex(index, BOBS)

    assert await search.progress(index, BOBS) == {BOBS: Backlog(2, 2)}
    async with asyncio.timeout(PATIENCE):
        await heard.wait()


async def test_the_check_says_how_many_are_missing_and_who_goes_on(world: World) -> None:
    index = index_of(world)
    assert (await examine_index(index)).message == "every message is in the full-text index"
    await world.texts("one", "two")
    # while a server runs
    found = await examine_index(index)
    assert (found.level, found.message.partition(":")[0]) == ("ok", "2 messages not yet indexed")
    # and when none does
    await world.notifier.close()
    found = await examine_index(index)
    assert (found.level, found.remedy.partition(",")[0]) == ("warning", "start the server")


async def test_who_waits_is_shown_the_way_and_comes_back_at_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(indexing, "LOOK_SECONDS", 0.01)
    await world.texts("one", "two", "three")

    async def somebody_makes_it(index: Index) -> bool:
        await world.indexer.sweep()
        return True

    monkeypatch.setattr(search, "is_being_made", somebody_makes_it)
    await indexing.until_whole(index_of(world), "", quiet=False)
    assert capsys.readouterr().err.startswith("index of all accounts: 3 of 3 messages")


async def test_who_waits_for_nobody_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(indexing, "NOBODY_SECONDS", 0.0)
    await world.texts("one")
    await world.notifier.close()
    with pytest.raises(CommandProblem, match="1 messages") as told:
        await indexing.until_whole(index_of(world), BOBS, quiet=True)
    assert told.value.code == os.EX_UNAVAILABLE
