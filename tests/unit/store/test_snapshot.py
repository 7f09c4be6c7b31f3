"""Snapshots and deltas: one query to open a mailbox, little to follow it."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.store import changes, mailboxes, snapshot
from posthouse.store.changes import Action, Terms

TERMS = Terms(now=5_000_000.0, limit=0)


@pytest.mark.parametrize("step", [1, 2, 5, 20])
def test_expunging_many_scattered_messages_leaves_all_columns_aligned(store: Any, step: int) -> None:
    # given
    account = store.account()
    for size in range(1, 101):
        store.deposit(account, size=size)
    mailbox = store.mailbox(account).id
    changes.store(store.tx, account, mailbox, [(10, 50)], Action.SET, 3, ["word"])
    view = snapshot.take(store.tx, account, mailbox)
    # when
    gone = [(uid, uid) for uid in range(7, 90, step)]
    changes.expunge(store.tx, store.contents, account, mailbox, gone, deleted_only=False)
    applied = view.apply(snapshot.delta(store.tx, account, view.mailbox))
    # then
    assert applied.expunged == [uid for uid, _ in gone]
    fresh = snapshot.take(store.tx, account, mailbox)
    assert [view.entry(at) for at in range(len(view))] == [fresh.entry(at) for at in range(len(fresh))]


def test_sequence_numbers_are_found_by_uid(store: Any) -> None:
    account = store.account()
    for _ in range(4):
        store.deposit(account)
    mailbox = store.mailbox(account).id
    changes.expunge(store.tx, store.contents, account, mailbox, [(2, 2)], deleted_only=False)
    view = snapshot.take(store.tx, account, mailbox)
    assert [view.index(uid) for uid in (1, 2, 3, 4, 5)] == [0, None, 1, 2, None]


def test_an_empty_mailbox_has_a_snapshot(store: Any) -> None:
    account = store.account()
    view = snapshot.take(store.tx, account, store.mailbox(account).id)
    assert (len(view), view.index(1), view.mailbox.uidnext) == (0, None, 1)


def test_a_delta_of_an_unchanged_mailbox_is_one_query(store: Any) -> None:
    # given a change in another mailbox of the account
    account = store.account()
    store.deposit(account)
    view = snapshot.take(store.tx, account, store.mailbox(account).id)
    store.deposit(account, "Sent")
    # when
    with store.tx.watched() as queries:
        delta = snapshot.delta(store.tx, account, view.mailbox)
    # then
    assert (delta.new, delta.changed, delta.vanished) == ([], [], [])
    assert len(queries) == 1


def test_new_mail_does_not_make_a_session_look_through_the_whole_mailbox(store: Any) -> None:
    account = store.account()
    store.deposit(account)
    view = snapshot.take(store.tx, account, store.mailbox(account).id)
    store.deposit(account)
    with store.tx.watched() as queries:
        delta = snapshot.delta(store.tx, account, view.mailbox)
    assert [entry.uid for entry in delta.new] == [2]
    assert not any("modseq > ?" in sql and "placement" in sql for sql, _ in queries)


def test_a_session_goes_on_after_its_mailbox_was_renamed(store: Any) -> None:
    account = store.account()
    mailboxes.create(store.tx, account, "a", 2e6)
    view = snapshot.take(store.tx, account, store.mailbox(account, "a").id)
    mailboxes.rename(store.tx, account, "a", "b", 2e6)
    store.deposit(account, "b")
    applied = view.apply(snapshot.delta(store.tx, account, view.mailbox))
    assert (applied.added, view.mailbox.name) == (1, "b")


def test_no_query_of_a_session_scans_a_table(store: Any) -> None:
    """Each account's rows are reached by key, whatever else the store holds."""
    account = store.account()
    for _ in range(3):
        store.deposit(account)
    mailbox = store.mailbox(account).id
    with store.tx.watched() as queries:
        view = snapshot.take(store.tx, account, mailbox)
        store.deposit(account)
        changes.store(store.tx, account, mailbox, [(1, 2)], Action.ADD, 9, ["word"])
        changes.store(store.tx, account, mailbox, [(1, 1), (3, 3)], Action.SET, 1, unchanged_since=10**6)
        changes.copy(store.tx, account, mailbox, [(1, 2)], "Archive", TERMS)
        changes.move(store.tx, account, mailbox, [(1, 1)], "Trash", TERMS, store.contents)
        changes.expunge(store.tx, store.contents, account, mailbox)
        snapshot.delta(store.tx, account, view.mailbox)
        mailboxes.statuses(store.tx, account)
        mailboxes.status(store.tx, account, "INBOX")
        mailboxes.listing(store.tx, account)
    # then
    for sql, params in queries:
        assert store.tx.scans(sql, params) == [], sql
