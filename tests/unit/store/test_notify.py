"""Notify: a change is heard of in every process, at once or a poll later."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from posthouse.db import DatabaseAway
from posthouse.mail.envelope import AccountId
from posthouse.store.notify import QUEUE, Notifier, tell

ALICE, BOB = AccountId(1), AccountId(2)


class FakeDatabase:
    """A database that knows modseqs and is away now and then."""

    def __init__(self) -> None:
        self.modseqs: dict[int, int] = {}
        self.asked: list[int] = []
        self.away = 0

    def one(self, sql: str, params: tuple[int, ...]) -> tuple[int] | None:
        self.asked.append(params[0])
        return (self.modseqs[params[0]],) if params[0] in self.modseqs else None

    async def read(self, fn: Any) -> Any:
        if self.away:
            self.away -= 1
            raise DatabaseAway("gone for a moment")
        return fn(self)


class Heard:
    """A watcher that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self._event = asyncio.Event()

    def __call__(self, account: int = 0, modseq: int = 0) -> None:
        self.calls.append((account, modseq))
        self._event.set()

    async def until(self, call: tuple[int, int]) -> None:
        async with asyncio.timeout(10):
            while call not in self.calls:
                self._event.clear()
                await self._event.wait()


class Workers:
    """Notifiers that share a run directory, as workers do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = FakeDatabase()
        self.made: list[Notifier] = []

    def start(self, poll_seconds: float = 3600.0) -> Notifier:
        notifier = Notifier(self.database, self.directory, poll_seconds=poll_seconds)  # type: ignore[arg-type]
        notifier.start()
        self.made.append(notifier)
        return notifier

    def sockets(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(tmp_path / "run")
    yield workers
    for notifier in workers.made:
        await notifier.close()


async def test_a_change_reaches_the_watchers_of_every_worker(workers: Workers) -> None:
    # given
    first, second = workers.start(), workers.start()
    here, there, elsewhere = Heard(), Heard(), Heard()
    first.watch(ALICE, here)
    second.watch(ALICE, there)
    second.watch(BOB, elsewhere)
    # when
    first.changed(ALICE, 7)
    # then
    await here.until((ALICE, 7))
    await there.until((ALICE, 7))
    assert elsewhere.calls == []


async def test_changes_of_one_turn_travel_together(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    alice, bob = Heard(), Heard()
    second.watch(ALICE, alice)
    second.watch(BOB, bob)
    for modseq in (5, 6, 4):
        first.changed(ALICE, modseq)
    first.changed(BOB, 9)
    await bob.until((BOB, 9))
    assert alice.calls == [(ALICE, 6)]


async def test_many_changes_are_split_into_datagrams_that_fit(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    last = Heard()
    second.watch(AccountId(5000), last)
    for account in range(1, 5001):
        first.changed(AccountId(account), 3)
    await last.until((5000, 3))


async def test_what_is_known_already_is_not_told_again(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    heard = Heard()
    second.watch(ALICE, heard)
    for modseq in (8, 7, 8, 9):
        first.changed(ALICE, modseq)
        tell(workers.directory, {ALICE: modseq})
    await heard.until((ALICE, 9))
    assert heard.calls == sorted(set(heard.calls))


async def test_a_lost_datagram_costs_a_poll_of_watched_accounts_only(workers: Workers) -> None:
    # given a change that nobody tells, while the database is away for the first polls
    notifier = workers.start(poll_seconds=0.005)
    workers.database.modseqs = {ALICE: 12, BOB: 4}
    workers.database.away = 2
    heard = Heard()
    # when
    notifier.watch(ALICE, heard)
    # then
    await heard.until((ALICE, 12))
    assert set(workers.database.asked) == {ALICE}
    workers.database.modseqs[ALICE] = 13
    await heard.until((ALICE, 13))
    assert heard.calls == [(ALICE, 12), (ALICE, 13)]


async def test_a_closed_watch_hears_no_more(workers: Workers) -> None:
    notifier = workers.start()
    gone, still = Heard(), Heard()
    watch = notifier.watch(ALICE, gone)
    notifier.watch(ALICE, still)
    watch.close()
    watch.close()
    notifier.changed(ALICE, 2)
    await still.until((ALICE, 2))
    assert gone.calls == []


async def test_a_watcher_that_fails_keeps_nothing_from_the_others(workers: Workers) -> None:
    notifier = workers.start()
    reported = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )
    heard = Heard()
    notifier.watch(ALICE, lambda account, modseq: 1 // 0)
    notifier.watch(ALICE, heard)
    notifier.changed(ALICE, 2)
    await heard.until((ALICE, 2))
    assert isinstance(reported[0], ZeroDivisionError)


async def test_a_poke_from_the_command_line_wakes_every_worker(workers: Workers) -> None:
    first, second = Heard(), Heard()
    workers.start().on(QUEUE, first)
    workers.start().on(QUEUE, second)
    tell(workers.directory, {}, [QUEUE, "something else"])
    await first.until((0, 0))
    await second.until((0, 0))


async def test_a_worker_pokes_itself_too(workers: Workers) -> None:
    notifier, heard = workers.start(), Heard()
    notifier.on(QUEUE, heard)
    notifier.poke(QUEUE)
    await heard.until((0, 0))


async def test_the_socket_of_a_killed_worker_is_removed(workers: Workers) -> None:
    # given a socket whose process is gone
    notifier = workers.start()
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(workers.directory / "999-dead.notify"))
    dead.close()
    heard = Heard()
    notifier.watch(ALICE, heard)
    # when
    notifier.changed(ALICE, 2)
    await heard.until((ALICE, 2))
    # then
    assert "999-dead.notify" not in workers.sockets()
    assert len(workers.sockets()) == 1


async def test_a_worker_that_does_not_read_holds_nobody_up(workers: Workers) -> None:
    # given a peer whose buffer fills
    notifier = workers.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck:
        stuck.bind(str(workers.directory / "1-stuck.notify"))
        heard = Heard()
        notifier.watch(ALICE, heard)
        # when
        for modseq in range(1, 3001):
            tell(workers.directory, {ALICE: modseq}) if modseq % 100 == 0 else notifier.changed(ALICE, modseq)
            await asyncio.sleep(0)
        notifier.changed(ALICE, 5000)
        # then
        await heard.until((ALICE, 5000))
        assert "1-stuck.notify" in workers.sockets()


@pytest.mark.parametrize("data", [b"", b"A", b"A123", b"T" + b"x" * 100, b"T\xff", b"Zebra", b"A" * 40])
async def test_a_datagram_that_makes_no_sense_is_passed_over(workers: Workers, data: bytes) -> None:
    notifier, heard = workers.start(), Heard()
    notifier.watch(ALICE, heard)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, str(workers.directory / workers.sockets()[0]))
    tell(workers.directory, {ALICE: 2})
    await heard.until((ALICE, 2))
    assert heard.calls == [(ALICE, 2)]


async def test_closing_leaves_no_socket_and_tells_what_was_waiting(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    heard = Heard()
    second.watch(ALICE, heard)
    first.changed(ALICE, 3)
    await first.close()
    await heard.until((ALICE, 3))
    assert len(workers.sockets()) == 1


def test_nobody_is_told_where_nothing_runs(tmp_path: Path) -> None:
    tell(tmp_path / "run", {ALICE: 2}, [QUEUE])
    assert not (tmp_path / "run").exists()


async def test_a_deep_data_directory_is_no_obstacle(tmp_path: Path) -> None:
    workers = Workers(tmp_path / ("d" * 100) / ("e" * 100) / "run")
    first, second = workers.start(), workers.start()
    heard = Heard()
    second.watch(ALICE, heard)
    first.changed(ALICE, 2)
    await heard.until((ALICE, 2))
    await first.close()
    await second.close()
