"""Between hosts: changes and topics as announcements, few of them, and none that does harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.db import open_announcements
from posthouse.db.announcements import MOST
from posthouse.db.limits import USUAL
from posthouse.mail.envelope import AccountId
from posthouse.store import announcing
from posthouse.store.announcing import Announcer, pairs, texts
from posthouse.store.notify import QUEUE, Notifier, tell
from tests.databases import SQLITE_URL
from tests.servers import eventually
from tests.unit.store.test_notify import FakeDatabase, Heard

ALICE, BOB = AccountId(2**62 + 1), AccountId(7)


class Wire:
    """Announcements of two hosts that hear each other at once."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.other: Wire | None = None
        self._heard: Callable[[str], object] = print

    def start(self, heard: Callable[[str], object]) -> None:
        self._heard = heard

    def say(self, text: str) -> None:
        self.said.append(text)
        if self.other is not None:
            self.other._heard(text)

    async def close(self) -> None:
        self.other = None


@pytest.fixture
async def hosts(tmp_path):
    """Two notifiers with a run directory each, and the wires between them."""
    one, other = Wire(), Wire()
    one.other, other.other = other, one
    made = [
        Notifier(FakeDatabase(), tmp_path / name, wire, poll_seconds=3600.0)  # type: ignore[arg-type]
        for name, wire in (("one", one), ("other", other))
    ]
    for notifier in made:
        notifier.start()
    yield (*made, one, other)
    for notifier in made:
        await notifier.close()


async def test_a_watcher_on_another_host_hears_of_a_change(hosts):
    here, there, *_ = hosts
    heard = Heard()
    there.watch(ALICE, heard)
    here.changed(ALICE, 12)
    await heard.until((ALICE, 12))


async def test_the_changes_of_some_milliseconds_are_one_announcement(hosts, monkeypatch):
    here, there, wire, _ = hosts
    monkeypatch.setattr(announcing, "SPACING", 3600.0)
    heard = Heard()
    there.watch(BOB, heard)
    here.changed(ALICE, 1)
    await eventually(lambda: wire.said)
    for modseq in range(2, 100):
        here.changed(ALICE, modseq)
        await asyncio.sleep(0)
    here.changed(BOB, 3)
    await asyncio.sleep(0)
    here._announcer._flush()  # its time has come
    await heard.until((BOB, 3))
    assert wire.said == [f"A{ALICE:x}.1", f"A{ALICE:x}.63 {BOB:x}.3"]


async def test_the_queue_of_another_host_is_woken(hosts):
    here, there, *_ = hosts
    heard = Heard()
    there.on(QUEUE, heard)
    here.poke(QUEUE)
    await heard.until((0, 0))


async def test_what_the_command_line_tells_its_host_is_passed_on_once(hosts, tmp_path):
    here, there, wire, _ = hosts
    second_worker = Notifier(FakeDatabase(), tmp_path / "one", Wire(), poll_seconds=3600.0)  # type: ignore[arg-type]
    second_worker.start()
    changes, pokes, own = Heard(), Heard(), Heard()
    there.watch(ALICE, changes)
    there.on(QUEUE, pokes)
    here.on(QUEUE, own)
    second_worker.on(QUEUE, own)
    tell(tmp_path / "one", {ALICE: 4}, [QUEUE])
    wires = wire, second_worker._announcer._announcements
    await eventually(lambda: len(own.calls) == 2 == sum(len(one.said) for one in wires))
    await second_worker.close()
    assert sorted(text for one in wires for text in one.said) == [f"A{ALICE:x}.4", "Tqueue"]


async def test_what_is_heard_is_not_announced_again(hosts):
    here, there, _, answer = hosts
    heard = Heard()
    there.watch(ALICE, heard)
    here.changed(ALICE, 2)
    await heard.until((ALICE, 2))
    there.changed(BOB, 1)
    await eventually(lambda: answer.said)
    assert answer.said == [f"A{BOB:x}.1"]


ACCOUNTS = st.integers(1, 2**63 - 1).map(AccountId)


@given(st.dictionaries(ACCOUNTS, st.integers(0, 2**63 - 1), max_size=2000))
def test_every_change_is_in_an_announcement_that_is_short_enough(changes):
    made = list(texts(changes))
    assert all(len(text) <= MOST for text in made)
    assert {pair for text in made for pair in pairs(text[1:])} == set(changes.items())


@given(st.text(max_size=200) | st.from_regex(r"A[0-9a-f.]{1,40}( [0-9a-f.]{1,40})*", fullmatch=True))
def test_whatever_is_announced_does_no_harm(text):
    told = []
    wire = Wire()

    async def hear():
        announcer = Announcer(wire, lambda account, modseq: told.append((account, modseq)), told.append)
        announcer.start()
        wire._heard(text)
        await announcer.close()

    asyncio.run(hear())
    for one in told:
        assert isinstance(one, str) or (one[0] >= 0 and one[1] >= 0)


def test_a_database_of_one_host_announces_nothing():
    assert open_announcements(SQLITE_URL, USUAL) is None
