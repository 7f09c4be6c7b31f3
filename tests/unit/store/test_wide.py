"""Changes of many messages that their rows do not show yet: nobody who looks can tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posthouse.db import Database, Reader, Tx, open_database
from posthouse.store import changes, imports, mailboxes, snapshot, snapshotpages, wide
from posthouse.store.changes import Action, Seen, Stored, Terms
from posthouse.store.flags import Flag
from posthouse.store.imports import Marked
from posthouse.store.snapshot import Snapshot
from posthouse.store.wide import Change
from tests.databases import database_url, engine
from tests.unit.store.test_fulltext import BOB, World, world

__all__ = ["database_url", "engine", "world"]

TARGET = "Archive"
FLAGGED, UNFLAGGED = Action.ADD.of(Flag.FLAGGED), Action.REMOVE.of(Flag.FLAGGED)


class Message(NamedTuple):
    flags: int
    words: str
    modseq: int


_run = st.tuples(st.integers(1, 9), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair)))
_flags = st.integers(0, 31)
_operation = st.one_of(
    st.tuples(st.just("many"), st.just((1, 40)), st.sampled_from(Action), _flags),
    st.tuples(st.just("many"), _run, st.sampled_from(Action), _flags),
    st.tuples(st.just("store"), _run, st.sampled_from(Action), _flags, st.sampled_from(["", "work"])),
    st.tuples(st.just("unless_changed"), _run, st.integers(0, 6), _flags),
    st.tuples(st.just("expunge"), _run),
    st.tuples(st.just("copy"), _run),
    st.tuples(st.just("move"), _run),
    st.tuples(st.just("append"), st.integers(1, 3)),
    st.tuples(st.just("settle"), _run),
    st.tuples(st.just("fold")),
    st.tuples(st.just("rename")),
    st.tuples(st.just("look")),
)


class Run:
    """INBOX and another mailbox in the store; beside them what they must hold, and a session that lags."""

    def __init__(self, store: Any) -> None:
        self.store, self.tx = store, store.tx
        self.account = store.account(1)
        self.inbox: dict[int, Message] = {}
        self.target: dict[int, Message] = {}
        self.session = self.fresh()
        self.append(6)

    def fresh(self, name: str = "INBOX") -> Snapshot:
        return snapshot.take(self.tx, self.account, self.store.mailbox(self.account, name).id)

    @property
    def id(self) -> int:
        return int(self.store.mailbox(self.account).id)

    def append(self, count: int) -> None:
        for _ in range(count):
            done = self.store.deposit(self.account)
            self.inbox[done.uid] = Message(0, "", done.modseq)

    def among(self, run: tuple[int, int]) -> list[int]:
        return [uid for uid in sorted(self.inbox) if run[0] <= uid <= run[1]]

    def take_over(self, done: Stored, wanted: dict[int, tuple[int, str]]) -> None:
        """Messages are to have these flags and keywords; those that had others have the modseq too."""
        different = {uid: marks for uid, marks in wanted.items() if self.inbox[uid][:2] != marks}
        assert done.changed == len(different)
        self.inbox.update((uid, Message(*marks, done.modseq)) for uid, marks in different.items())

    def many(self, run: tuple[int, int], action: Action, flags: int) -> None:
        change, view = action.of(flags), self.fresh()
        here = [at for at, uid in enumerate(view.uids) if run[0] <= uid <= run[1]]
        seen = Seen(view.mailbox.modseq, view.changing([(at, at + 1) for at in here], change))
        done = changes.store_many(self.tx, self.account, self.id, run, change, seen)
        if done is None:
            assert len(wide.pending(self.tx, self.account, self.id)) == wide.PENDING
            self.change(run, action, flags, "")
        else:
            self.take_over(done, {uid: self.marks(uid, action, flags, None) for uid in self.among(run)})

    def marks(self, uid: int, action: Action, flags: int, word: str | None) -> tuple[int, str]:
        old, words, _ = self.inbox[uid]
        if action is Action.SET:
            return flags, words if word is None else word
        if action is Action.ADD:
            return old | flags, word or words
        return old & ~flags, "" if word else words

    def change(self, run: tuple[int, int], action: Action, flags: int, word: str) -> None:
        words = [word] if word else []
        done = changes.store(self.tx, self.account, self.id, [run], action, flags, words)
        self.take_over(done, {uid: self.marks(uid, action, flags, word) for uid in self.among(run)})

    def unless_changed(self, run: tuple[int, int], back: int, flags: int) -> None:
        since = self.store.mailbox(self.account).modseq - back
        done = changes.store(self.tx, self.account, self.id, [run], Action.ADD, flags, unchanged_since=since)
        old = [uid for uid in self.among(run) if self.inbox[uid].modseq <= since]
        assert done.refused == [uid for uid in self.among(run) if uid not in old]
        self.take_over(done, {uid: self.marks(uid, Action.ADD, flags, None) for uid in old})

    def expunge(self, run: tuple[int, int]) -> None:
        gone = [uid for uid in self.among(run) if self.inbox[uid].flags & Flag.DELETED]
        done = changes.expunge(self.tx, self.store.contents, self.account, self.id, [run])
        assert done.uids == gone
        for uid in gone:
            del self.inbox[uid]

    def copy(self, run: tuple[int, int], *, move: bool = False) -> None:
        arguments = (self.tx, self.account, self.id, [run], TARGET, Terms(5e6, 0))
        done = changes.move(*arguments, self.store.contents) if move else changes.copy(*arguments)
        assert done.sources == self.among(run)
        for source, uid in zip(done.sources, done.targets, strict=True):
            self.target[uid] = self.inbox[source]._replace(modseq=done.modseq)
            if move:
                del self.inbox[source]

    def settle(self, run: tuple[int, int]) -> None:
        """A fold that came no further."""
        wide.settle(self.tx, self.account, self.id, [run])

    def fold(self) -> None:
        wide.settle(self.tx, self.account, self.id)
        assert wide.pending(self.tx, self.account, self.id) == []

    def rename(self) -> None:
        """INBOX becomes another, and begins anew."""
        for name in ("Old", "Trash"):
            if mailboxes.exists(self.tx, self.account, name):
                mailboxes.delete(self.tx, self.account, name)
        mailboxes.rename(self.tx, self.account, "INBOX", "Old", 2e6)
        old = self.fresh("Old")
        assert {uid: (flags, words) for uid, (flags, words, _) in self.inbox.items()} == {
            uid: marks[:2] for uid, marks in held(old).items()
        }
        self.inbox = {}
        self.append(2)

    def look(self) -> None:
        fresh = self.fresh()
        assert held(fresh) == self.inbox
        assert held(self.fresh(TARGET)) == self.target
        delta = snapshot.delta(self.tx, self.account, self.session.mailbox)
        known = {uid: message for uid, message in held(self.session).items() if uid in self.inbox}
        assert {entry.uid for entry in delta.changed} == {
            uid for uid, message in known.items() if message.modseq != self.inbox[uid].modseq
        }
        self.session.apply(delta)
        assert held(self.session) == self.inbox
        self.count()

    def count(self) -> None:
        deleted = [uid for uid, message in self.inbox.items() if message.flags & Flag.DELETED]
        found = mailboxes.status(self.tx, self.account, "INBOX")
        assert (found.messages, found.size) == (len(self.inbox), 100 * len(self.inbox))
        assert (found.deleted, found.deleted_size) == (len(deleted), 100 * len(deleted))
        assert found.unseen == sum(not message.flags & Flag.SEEN for message in self.inbox.values())
        assert mailboxes.statuses(self.tx, self.account)["INBOX"] == found

    def step(self, operation: tuple[Any, ...]) -> None:
        kind, *rest = operation
        if kind == "store":
            self.change(*rest)
        elif kind == "move":
            self.copy(*rest, move=True)
        else:
            getattr(self, kind)(*rest)


def held(view: Snapshot) -> dict[int, Message]:
    entries = map(view.entry, range(len(view)))
    return {entry.uid: Message(entry.flags, entry.keywords, entry.modseq) for entry in entries}


@settings(deadline=None, max_examples=120)
@example([("many", (1, 40), Action.ADD, 4), ("look",), ("many", (1, 40), Action.REMOVE, 4)])
@example([("store", (2, 2), Action.ADD, 4, ""), ("look",), ("many", (1, 40), Action.ADD, 4)])
@given(st.lists(_operation, min_size=5, max_size=40))
def test_what_is_pending_is_seen_by_all_and_lost_by_nothing(
    new_store: Callable[[], Any], operations: list[tuple[Any, ...]]
) -> None:
    # given
    run = Run(new_store())
    # when
    for operation in operations:
        run.step(operation)
    # then
    run.look()
    # and when the rows have followed they show the same
    run.fold()
    run.look()


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with an INBOX of 30 messages, and how its session changes many of them."""
    store.account(1)
    for _ in range(30):
        store.deposit(1)
    return store


def change(store: Any, change: Change, run: tuple[int, int] = (1, 30)) -> Stored | None:
    view = snapshot.take(store.tx, 1, store.mailbox(1).id)
    seen = Seen(view.mailbox.modseq, view.changing([(0, len(view))], change))
    return changes.store_many(store.tx, 1, view.mailbox.id, run, change, seen)


def pending(store: Any) -> list[wide.Wide]:
    return wide.pending(store.tx, 1, store.mailbox(1).id)


def test_a_change_of_many_messages_touches_no_row_of_theirs(filled: Any) -> None:
    found = filled.mailbox(1)
    with filled.tx.watched() as queries:
        done = changes.store_many(filled.tx, 1, found.id, (1, 30), FLAGGED, Seen(found.modseq, 30))
    assert done == Stored(found.modseq + 1, 30, [], found.modseq)
    assert not any("placement" in sql for sql, _ in queries)


def test_it_is_not_done_where_the_mailbox_is_not_as_it_was_seen(filled: Any) -> None:
    found = filled.mailbox(1)
    filled.deposit(1)
    seen = Seen(found.modseq, 30)
    assert changes.store_many(filled.tx, 1, found.id, (1, 30), FLAGGED, seen) is None
    assert pending(filled) == []


def test_what_changes_nothing_leaves_the_modseq_as_it_was(filled: Any) -> None:
    before = filled.mailbox(1).modseq
    assert change(filled, UNFLAGGED) == Stored(before, 0, [], before)
    assert filled.mailbox(1).modseq == before
    assert pending(filled) == []


def test_changes_of_the_same_messages_become_one(filled: Any) -> None:
    for _ in range(wide.PENDING):
        assert change(filled, FLAGGED) is not None
        assert change(filled, UNFLAGGED) is not None
    (one,) = pending(filled)
    view = snapshot.take(filled.tx, 1, filled.mailbox(1).id)
    assert set(view.modseqs) == {one.latest} == {view.mailbox.modseq}
    assert not any(view.flags)


@pytest.mark.parametrize(
    "between",
    [
        lambda store: store.deposit(1),
        lambda store: wide.settle(store.tx, 1, store.mailbox(1).id, [(3, 3)]),
        lambda store: changes.store(store.tx, 1, store.mailbox(1).id, [(3, 3)], Action.ADD, 1),
        lambda store: change(store, Action.ADD.of(Flag.SEEN), (2, 30)),
    ],
)
def test_a_change_does_not_join_one_that_something_came_after(
    filled: Any, between: Callable[[Any], object]
) -> None:
    change(filled, FLAGGED)
    between(filled)
    change(filled, UNFLAGGED)
    assert len(pending(filled)) >= 2
    view = snapshot.take(filled.tx, 1, filled.mailbox(1).id)
    assert not any(flags & Flag.FLAGGED for flags in view.flags)


def test_where_too_much_is_pending_rows_are_written(filled: Any) -> None:
    for number in range(wide.PENDING):
        assert change(filled, FLAGGED if number % 2 == 0 else UNFLAGGED, (1, 20 + number % 2)) is not None
    assert change(filled, FLAGGED, (1, 22)) is None
    assert len(pending(filled)) == wide.PENDING
    # and with them all others, so that there is room again
    changes.store(filled.tx, 1, filled.mailbox(1).id, [(1, 22)], Action.ADD, Flag.FLAGGED)
    assert pending(filled) == []
    assert change(filled, UNFLAGGED, (1, 22)) is not None


# With a database that has others


async def letters(world: World, count: int) -> int:
    for _ in range(count):
        await world.deliver(b"\r\nx")
    return await world.mailbox()


def change_all(tx: Tx | Reader, mailbox: int, change: Change) -> Stored | None:
    view = snapshot.take(tx, BOB, mailbox)  # type: ignore[arg-type]
    seen = Seen(view.mailbox.modseq, view.changing([(0, len(view))], change))
    return changes.store_many(tx, BOB, mailbox, (1, view.uids[-1]), change, seen)  # type: ignore[arg-type]


def rows(reader: Reader, mailbox: int) -> set[tuple[int, int]]:
    return set(reader.all("SELECT flags, modseq FROM placement WHERE mailbox = ?", (mailbox,)))


async def test_rows_follow_in_slices_and_a_crash_between_them_does_no_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a change of 30 messages of which 10 rows have followed when the process ends
    monkeypatch.setattr(wide, "SLICE", 10)
    mailbox = await letters(world, 30)
    done = await world.database.write([BOB], lambda tx: change_all(tx, mailbox, FLAGGED))
    assert done is not None
    crashed = wide.fold(world.database, BOB, mailbox)
    await anext(crashed)
    await crashed.aclose()
    assert len(await world.database.read(lambda reader: rows(reader, mailbox))) > 1
    # when flags are changed once more, of all and of one
    await world.database.write([BOB], lambda tx: change_all(tx, mailbox, Action.ADD.of(Flag.SEEN)))
    one = await world.database.write(
        [BOB], lambda tx: changes.store(tx, BOB, mailbox, [(15, 15)], Action.REMOVE, Flag.FLAGGED)
    )
    before = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    # then a fold has all follow, and leaves nothing behind
    assert len([None async for _ in wide.fold(world.database, BOB, mailbox)]) == 3
    assert await world.database.read(lambda reader: wide.pending(reader, BOB, mailbox)) == []
    after = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert held(after) == held(before)
    assert held(after)[15] == Message(Flag.SEEN, "", one.modseq)
    assert held(after)[16] == Message(Flag.SEEN | Flag.FLAGGED, "", one.before)
    found = {(message.flags, message.modseq) for message in held(after).values()}
    assert await world.database.read(lambda reader: rows(reader, mailbox)) == found


async def test_the_indexer_has_rows_follow(world: World) -> None:
    mailbox = await letters(world, 3)
    await world.database.write([BOB], lambda tx: change_all(tx, mailbox, FLAGGED))
    await world.indexer.sweep()
    assert await world.database.read(lambda reader: wide.pending(reader, BOB, mailbox)) == []
    after = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert await world.database.read(lambda reader: rows(reader, mailbox)) == {
        (Flag.FLAGGED, after.mailbox.modseq)
    }


@pytest.mark.parametrize("there", [False, True])
async def test_pages_that_are_kept_while_something_is_pending_hide_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    # given a large mailbox, whose pages are made, or were there and looked at, before rows follow a change
    monkeypatch.setattr(snapshotpages, "LARGE", 5)
    monkeypatch.setattr(snapshotpages, "WORTH", 3)
    mailbox = await letters(world, 12)

    async def keep() -> list[int]:
        return [page.messages async for page in snapshotpages.keep(world.database, BOB, mailbox)]

    if there:
        assert await keep() == [12]
    await world.database.write([BOB], lambda tx: change_all(tx, mailbox, FLAGGED))
    assert await keep() == ([] if there else [12])
    before = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert set(before.flags) == {Flag.FLAGGED}
    # when they have followed
    assert [None async for _ in wide.fold(world.database, BOB, mailbox)] == [None]
    # then the mailbox is the same
    after = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert held(after) == held(before)


async def test_an_import_gives_the_flags_it_wants_whatever_is_pending(world: World) -> None:
    mailbox = await letters(world, 3)
    await world.database.write([BOB], lambda tx: change_all(tx, mailbox, FLAGGED))
    wanted = [Marked(1, 0, ()), Marked(2, Flag.FLAGGED, ()), Marked(3, Flag.SEEN, ("work",))]
    marked = await world.database.write([BOB], lambda tx: imports.mark(tx, BOB, mailbox, wanted))
    assert marked == 2
    view = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert list(zip(view.flags, view.keywords, strict=True)) == [(0, ""), (4, ""), (1, "work")]


async def test_two_workers_and_a_fold_at_once_come_to_what_one_after_the_other_does(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a second worker, and a session of each
    monkeypatch.setattr(wide, "SLICE", 7)
    mailbox = await letters(world, 40)
    other = open_database(world.url, tmp_path)
    start = await other.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    chance = random.Random(8)
    told: list[tuple[int, tuple[int, int], Change]] = []

    async def session(database: Database) -> None:
        for _ in range(40):
            bits = 1 << chance.randrange(5)
            action = chance.choice([Action.ADD, Action.REMOVE, Action.SET])
            first = chance.randrange(1, 30)
            run = chance.choice([(1, 40), (1, 40), (first, first), (first, first + 10)])
            done = None
            if run[0] < run[1]:
                done = await database.write([BOB], partial(widely, run=run, change=action.of(bits)))
            if done is None:
                narrow = partial(changes.store, account=BOB, mailbox=mailbox, ranges=[run])
                done = await database.write([BOB], partial(narrow, action=action, flags=bits))
            told.append((done.modseq if done.changed else 0, run, action.of(bits)))

    def widely(tx: Tx, run: tuple[int, int], change: Change) -> Stored | None:
        view = snapshot.take(tx, BOB, mailbox)  # type: ignore[arg-type]
        seen = Seen(view.mailbox.modseq, view.changing([(run[0] - 1, run[1])], change))
        return changes.store_many(tx, BOB, mailbox, run, change, seen)

    async def folding() -> None:
        while True:
            async for _ in wide.fold(world.database, BOB, mailbox):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)

    # when both change flags at random while rows follow
    fold = asyncio.create_task(folding())
    await asyncio.gather(session(world.database), session(other))
    fold.cancel()
    await asyncio.gather(fold, return_exceptions=True)
    # then each message is as the changes make it in the order of their modseqs
    model = held(start)
    for modseq, run, change in sorted(told, key=lambda one: one[0]):
        for uid in range(run[0], run[1] + 1):
            flags = change.of(model[uid].flags)
            if modseq and flags != model[uid].flags:
                model[uid] = Message(flags, "", modseq)
    assert held(await other.read(lambda reader: snapshot.take(reader, BOB, mailbox))) == model
    start.apply(await world.database.read(lambda reader: snapshot.delta(reader, BOB, start.mailbox)))
    assert held(start) == model
    await other.close()
