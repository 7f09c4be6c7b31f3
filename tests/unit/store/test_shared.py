"""Shared snapshots: one read of a mailbox for all sessions of a worker, and never one that is out of date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest

from posthouse.db import Reader
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, mailboxes, snapshot
from posthouse.store import shared as shared_snapshots
from posthouse.store.changes import Action
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.shared import Snapshots
from posthouse.store.snapshot import Snapshot

T = TypeVar("T")


class Reading:
    """The part of a database that `Snapshots` uses; counts what is read."""

    immediate = False

    def __init__(self, store: Any) -> None:
        self.store = store
        self.looks = 0
        self.commits: int | None = None
        """None: only the database could tell."""

    def version(self) -> int | None:
        return self.commits

    async def read(self, fn: Callable[[Reader], T], *, point: bool = False) -> T:
        await asyncio.sleep(0)  # another session may come in between
        self.looks += 1
        return fn(self.store.tx)


def entries(view: Snapshot) -> list[snapshot.Entry]:
    return [view.entry(at) for at in range(len(view))]


def filled(store: Any, messages: int = 5) -> tuple[AccountId, int]:
    account = store.account()
    for _ in range(messages):
        store.deposit(account)
    return account, store.mailbox(account).id


async def test_sessions_in_one_mailbox_hold_its_columns_once(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    one, other = await shared.open(account, mailbox), await shared.open(account, mailbox)
    assert one.uids is other.uids
    assert one.modseqs is other.modseqs


async def test_what_one_session_changes_in_its_view_no_other_sees(store: Any) -> None:
    # given two that share, and an expunge that only the first may be told of
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    one, other = await shared.open(account, mailbox), await shared.open(account, mailbox)
    before = entries(other)
    changes.store(store.tx, account, mailbox, [(1, 3)], Action.ADD, 1)
    changes.expunge(store.tx, store.contents, account, mailbox, [(2, 2)], deleted_only=False)
    store.deposit(account)
    # when
    one.apply(await shared.follow(account, one.mailbox))
    # then
    assert list(one.uids) == [1, 3, 4, 5, 6]
    assert entries(other) == before
    assert entries(await shared.open(account, mailbox)) == entries(one)


async def test_a_change_is_read_once_for_all_who_know_the_same(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    views = [await shared.open(account, mailbox) for _ in range(4)]
    changes.store(store.tx, account, mailbox, [(1, 3)], Action.ADD, 1)
    # when
    with store.tx.watched() as queries:
        deltas = [await shared.follow(account, view.mailbox) for view in views]
    # then each learns it, and the messages were looked through once
    assert [[entry.uid for entry in delta.changed] for delta in deltas] == [[1, 2, 3]] * 4
    assert sum("FROM placement" in sql for sql, _ in queries) == 1
    for view, delta in zip(views, deltas, strict=True):
        newest = shared.newest(account, delta.mailbox)
        assert newest is not None
        view.adopt(newest)
    assert len({id(view.flags) for view in views}) == 1


async def test_a_mailbox_opened_again_is_as_it_is_now(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    await shared.open(account, mailbox)
    for step in range(3):
        store.deposit(account)
        changes.store(store.tx, account, mailbox, [(step + 1, step + 1)], Action.ADD, 1, ["word"])
        changes.expunge(store.tx, store.contents, account, mailbox, [(step + 3, step + 3)])
        opened = await shared.open(account, mailbox)
        assert entries(opened) == entries(snapshot.take(store.tx, account, mailbox))


async def test_a_mailbox_is_opened_by_its_name_without_a_look_while_nothing_is_committed(store: Any) -> None:
    # given
    account, mailbox = filled(store)
    database = Reading(store)
    shared = Snapshots(database)  # type: ignore[arg-type]
    database.commits = 7
    opened = await shared.open(account, mailbox)
    # when
    looks = database.looks
    again = shared.at_once(account, "INBOX")
    # then
    assert again is not None
    assert again.uids is opened.uids
    assert database.looks == looks
    assert shared.at_once(account, "Drafts") is None


async def test_after_a_commit_a_mailbox_is_looked_at_again(store: Any) -> None:
    # given a mailbox that has been renamed, and another in its place
    account, mailbox = filled(store)
    mailboxes.create(store.tx, account, "Work", 1e6)
    database = Reading(store)
    shared = Snapshots(database)  # type: ignore[arg-type]
    database.commits = 7
    work = store.mailbox(account, "Work").id
    await shared.open(account, mailbox)
    await shared.open(account, work)
    mailboxes.rename(store.tx, account, "Work", "Play", 1e6)
    made = mailboxes.create(store.tx, account, "Work", 1e6)[-1].id
    # when
    database.commits = 8
    # then
    assert shared.at_once(account, "INBOX") is None
    assert shared.at_once(account, "Work") is None
    await shared.open(account, work)
    await shared.open(account, made)
    for name, id in (("Play", work), ("Work", made)):
        opened = shared.at_once(account, name)
        assert opened is not None
        assert opened.mailbox.id == id
    assert shared.at_once(account, "INBOX") is None


async def test_where_only_the_database_could_tell_it_is_asked(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    await shared.open(account, mailbox)
    assert shared.at_once(account, "INBOX") is None


async def test_what_is_said_of_a_mailbox_is_forgotten_with_each_change(store: Any) -> None:
    # given
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]

    def deposit() -> None:
        store.deposit(account)

    def expunge() -> None:
        changes.expunge(store.tx, store.contents, account, mailbox, [(2, 2)], deleted_only=False)

    def flag() -> None:
        changes.store(store.tx, account, mailbox, [(1, 1)], Action.ADD, 1)

    for change in (deposit, expunge, flag):
        before = await shared.open(account, mailbox)
        before.told["how"] = b"as it was"
        assert (await shared.open(account, mailbox)).told["how"] == b"as it was"
        # when
        change()
        # then
        assert not (await shared.open(account, mailbox)).told
        assert before.told["how"] == b"as it was"


async def test_what_has_changed_lately_is_remembered_as_far_as_it_is_told(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a mailbox that is followed through more changes than are remembered
    monkeypatch.setattr(shared_snapshots, "REMEMBERED", 6)
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    modseqs = [0, (await shared.open(account, mailbox)).mailbox.modseq]
    remembered = 0
    for first, last, flag in ((1, 1, 1), (2, 3, 1), (1, 1, 2), (4, 5, 1), (1, 2, 4), (1, 5, 8), (1, 1, 16)):
        if first == 2:
            store.deposit(account)
        changes.store(store.tx, account, mailbox, [(first, last)], Action.ADD, flag)
        # when
        view = await shared.open(account, mailbox)
        modseqs.append(view.mailbox.modseq)
        # then no change is missing, however far back it is asked for
        for since in modseqs:
            found = shared.changed(account, view, since)
            real = {uid for uid, modseq in zip(view.uids, view.modseqs, strict=True) if modseq > since}
            assert found is None or real <= set(found)
            remembered += found is not None and bool(real)
        assert shared.changed(account, view, modseqs[-1]) is not None
        assert shared.changed(account, view, 0) is None
    assert remembered >= 6


async def test_flags_that_are_changed_unread_are_remembered_to_have_changed(store: Any) -> None:
    # given
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    before = (await shared.open(account, mailbox)).mailbox
    # when
    shared.reflag(account, before, [(1, 3)], Action.ADD.of(1), before.modseq + 1)
    # then
    newest = shared.newest(account, before._replace(modseq=before.modseq + 1))
    assert newest is not None
    changed = shared.changed(account, newest, before.modseq)
    assert changed is not None
    assert set(changed) == {2, 3}


async def test_of_a_view_that_is_ahead_of_what_is_kept_nothing_is_claimed(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    since = (await shared.open(account, mailbox)).mailbox.modseq
    changes.store(store.tx, account, mailbox, [(1, 1)], Action.ADD, 1)
    ahead = snapshot.take(store.tx, account, mailbox)
    assert shared.changed(account, ahead, since) is None


async def test_a_session_far_behind_is_told_all(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    late = await shared.open(account, mailbox)
    for _ in range(3):
        store.deposit(account)
        await shared.open(account, mailbox)
    late.apply(await shared.follow(account, late.mailbox))
    assert entries(late) == entries(snapshot.take(store.tx, account, mailbox))


async def test_many_at_once_leave_the_newest_right(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    views = [await shared.open(account, mailbox) for _ in range(8)]

    async def follow(view: Snapshot) -> None:
        for _ in range(5):
            store.deposit(account)
            view.apply(await shared.follow(account, view.mailbox))

    await asyncio.gather(*map(follow, views))
    fresh = entries(snapshot.take(store.tx, account, mailbox))
    assert entries(await shared.open(account, mailbox)) == fresh
    for view in views:
        view.apply(await shared.follow(account, view.mailbox))
        assert entries(view) == fresh


async def test_what_was_not_used_for_longest_is_let_go(store: Any) -> None:
    account = store.account()
    names = ["a", "b", "c"]
    ids = []
    for name in names:
        ids.append(mailboxes.create(store.tx, account, name, 1e6)[-1].id)
        for _ in range(4):
            store.deposit(account, name)
    shared = Snapshots(Reading(store), messages=10)  # type: ignore[arg-type]
    for id in (ids[0], ids[1], ids[0], ids[2]):
        await shared.open(account, id)
    kept = [shared.newest(account, store.mailbox(account, name)) is not None for name in names]
    assert kept == [True, False, True]


async def test_a_deleted_mailbox_is_not_opened_from_memory(store: Any) -> None:
    account = store.account()
    id = mailboxes.create(store.tx, account, "a", 1e6)[-1].id
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    view = await shared.open(account, id)
    mailboxes.delete(store.tx, account, "a")
    for attempt in (partial(shared.open, account, id), partial(shared.follow, account, view.mailbox)):
        with pytest.raises(MailboxNotFound):
            await attempt()


async def test_accounts_are_kept_apart(store: Any) -> None:
    one, mailbox = filled(store)
    other = store.account(2)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    await shared.open(one, mailbox)
    same = await shared.open(other, store.mailbox(other).id)
    assert len(same) == 0


async def test_a_change_of_flags_that_is_known_is_what_reading_it_would_find(store: Any) -> None:
    # given two sessions, and flags that differ
    account, mailbox = filled(store, 12)
    changes.store(store.tx, account, mailbox, [(3, 5), (9, 9)], Action.ADD, 5)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    one, other = await shared.open(account, mailbox), await shared.open(account, mailbox)
    before = entries(other)
    # when one of them sets \Flagged, of which some have it
    done = changes.store(store.tx, account, mailbox, [(2, 4), (8, 12)], Action.ADD, 4)
    assert done.before == one.mailbox.modseq
    changed = shared.reflag(account, one.mailbox, [(1, 4), (7, 12)], Action.ADD.of(4), done.modseq)
    # then
    assert changed is not None
    assert sum(end - first for first, end in changed) == done.changed
    newest = shared.newest(account, one.mailbox._replace(modseq=done.modseq))
    assert newest is not None
    assert entries(newest) == entries(snapshot.take(store.tx, account, mailbox))
    # and the other still sees what it was told, until it follows
    assert entries(other) == before
    other.apply(await shared.follow(account, other.mailbox))
    assert entries(other) == entries(newest)


async def test_a_change_on_top_of_somebody_elses_is_read(store: Any) -> None:
    account, mailbox = filled(store)
    shared = Snapshots(Reading(store))  # type: ignore[arg-type]
    view = await shared.open(account, mailbox)
    store.deposit(account)
    done = changes.store(store.tx, account, mailbox, [(1, 6)], Action.ADD, 4)
    assert done.before != view.mailbox.modseq
    await shared.open(account, mailbox)
    assert shared.reflag(account, view.mailbox, [(0, 5)], Action.SET.of(0), done.modseq) is None
