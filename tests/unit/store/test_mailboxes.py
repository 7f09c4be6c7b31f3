"""Mailboxes: names, parents, rename, delete, special uses and numbers (RFC 9051 §5.1, §6.3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.accounts.usage import NoSuchAccount
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, mailboxes, removal, snapshot, urlkeys
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import (
    BadMailboxName,
    MailboxError,
    MailboxExists,
    MailboxNotFound,
    SpecialUse,
    SpecialUseTaken,
    TooManyMailboxes,
    canonical_name,
)
from posthouse.store.uids import ALL

NOW = 2_000_000.0


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("inbox", "INBOX"),
        ("InBox/Work", "INBOX/Work"),
        ("Inboxes", "Inboxes"),
        ("Work/", "Work"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("a/inbox", "a/inbox"),
        ("\u0131nbox", "\u0131nbox"),
        ("旅行/2026", "旅行/2026"),
    ],
)
def test_a_name_has_one_form(given_name: str, name: str) -> None:
    assert canonical_name(given_name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a//b",
        "a\r\nb",
        "a\x00",
        "a\u2028b",
        "\ufeffa",
        "x" * 256,
        "/".join("a" * 33),
        "é" * 501,
        "\udc80",
    ],
)
def test_names_that_would_hurt_are_refused(name: str) -> None:
    with pytest.raises(BadMailboxName):
        canonical_name(name)


@given(st.text(max_size=40))
def test_the_one_form_stays_as_it_is(name: str) -> None:
    try:
        once = canonical_name(name)
    except BadMailboxName:
        return
    assert canonical_name(once) == once
    assert not once.startswith("/")


def test_a_new_account_has_its_mailboxes_subscribed(store: Any) -> None:
    account = store.account()
    listed = mailboxes.listing(store.tx, account)
    assert [(name.name, name.mailbox and name.mailbox.special) for name in listed] == [
        ("INBOX", ""),
        ("Archive", "\\Archive"),
        ("Drafts", "\\Drafts"),
        ("Junk", "\\Junk"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
    ]
    assert all(name.subscribed for name in listed)


def test_create_makes_the_parents_that_are_missing(store: Any) -> None:
    account = store.account()
    made = mailboxes.create(store.tx, account, "a/b/c", NOW)
    assert [mailbox.name for mailbox in made] == ["a", "a/b", "a/b/c"]
    with pytest.raises(MailboxExists):
        mailboxes.create(store.tx, account, "a/b", NOW)


def test_each_account_has_its_own_names(store: Any) -> None:
    first, second = store.account(1), store.account(2)
    for account, other in ((first, second), (second, first)):
        mailboxes.create(store.tx, account, f"mine{account}", NOW)
        assert not mailboxes.exists(store.tx, other, f"mine{account}")
        assert mailboxes.find(store.tx, other, f"mine{account}") is None


def test_no_mailbox_for_nobody(store: Any) -> None:
    with pytest.raises(NoSuchAccount):
        mailboxes.create(store.tx, AccountId(5), "a", NOW)


def test_uidvalidity_never_repeats_for_a_name(store: Any) -> None:
    # given a clock that stands still, and one that goes back
    account = store.account()
    seen = []
    for now in (NOW, NOW, NOW - 1000, NOW + 50):
        # when
        seen.append(mailboxes.create(store.tx, account, "a", now)[-1].uidvalidity)
        mailboxes.delete(store.tx, account, "a")
        removal.sweep(store.tx, store.contents, account)
    # then
    assert seen == sorted(set(seen))
    assert seen[-1] == int(NOW) + 50


def test_a_special_use_belongs_to_one_mailbox(store: Any) -> None:
    account = store.account()
    with pytest.raises(SpecialUseTaken):
        mailboxes.create(store.tx, account, "Papierkorb", NOW, special=SpecialUse.TRASH)
    mailboxes.set_special_use(store.tx, account, "Trash", None)
    made = mailboxes.create(store.tx, account, "Papierkorb", NOW, special=SpecialUse.TRASH)
    assert made[-1].special == "\\Trash"
    with pytest.raises(SpecialUseTaken):
        mailboxes.set_special_use(store.tx, account, "Trash", SpecialUse.TRASH)


def test_rename_takes_the_children_along_and_keeps_uids(store: Any) -> None:
    # given
    account = store.account()
    before = mailboxes.create(store.tx, account, "work/2026", NOW)
    mailboxes.create(store.tx, account, "workshop", NOW)
    store.deposit(account, "work/2026")
    # when
    made = mailboxes.rename(store.tx, account, "work", "old/work", NOW)
    # then
    assert [mailbox.name for mailbox in made] == ["old"]
    after = store.mailbox(account, "old/work/2026")
    assert (after.id, after.uidvalidity, after.uidnext) == (before[-1].id, before[-1].uidvalidity, 2)
    assert mailboxes.find(store.tx, account, "work") is None
    assert mailboxes.exists(store.tx, account, "workshop")


def test_rename_into_something_that_exists_or_into_itself_is_refused(store: Any) -> None:
    account = store.account()
    mailboxes.create(store.tx, account, "a/b", NOW)
    mailboxes.create(store.tx, account, "c", NOW)
    with pytest.raises(MailboxExists):
        mailboxes.rename(store.tx, account, "a", "c", NOW)
    with pytest.raises(BadMailboxName):
        mailboxes.rename(store.tx, account, "a", "a/b/c", NOW)
    with pytest.raises(MailboxNotFound):
        mailboxes.rename(store.tx, account, "nowhere", "d", NOW)


def test_renaming_inbox_moves_its_messages_and_leaves_it_empty(store: Any) -> None:
    # given
    account = store.account()
    mailboxes.create(store.tx, account, "INBOX/child", NOW)
    for _ in range(3):
        store.deposit(account)
    session = snapshot.take(store.tx, account, store.mailbox(account).id)
    # when
    mailboxes.rename(store.tx, account, "INBOX", "old", NOW)
    # then
    old = snapshot.take(store.tx, account, store.mailbox(account, "old").id)
    assert list(old.uids) == [1, 2, 3]
    assert mailboxes.exists(store.tx, account, "INBOX/child")
    assert session.apply(snapshot.delta(store.tx, account, session.mailbox)).expunged == [1, 2, 3]
    assert store.deposit(account).uid == 4
    assert store.deposit(account, "old").uid == 4


def test_delete_leaves_the_children_and_shows_the_gap(store: Any) -> None:
    account = store.account()
    mailboxes.create(store.tx, account, "a/b", NOW)
    mailboxes.subscribe(store.tx, account, "a")
    mailboxes.delete(store.tx, account, "a")
    listed = {name.name: name for name in mailboxes.listing(store.tx, account)}
    assert listed["a"].mailbox is None
    assert listed["a"].children
    assert listed["a"].subscribed
    assert not listed["a/b"].children
    with pytest.raises(MailboxNotFound):
        mailboxes.delete(store.tx, account, "a")


def test_inbox_cannot_be_deleted(store: Any) -> None:
    with pytest.raises(MailboxError):
        mailboxes.delete(store.tx, store.account(), "INBOX")


def test_messages_of_a_deleted_mailbox_go_in_batches_and_give_their_octets_back(store: Any) -> None:
    # given
    account = store.account()
    mailboxes.create(store.tx, account, "a", NOW)
    for _ in range(5):
        store.deposit(account, "a", size=10)
    id = store.mailbox(account, "a").id
    # when
    mailboxes.delete(store.tx, account, "a")
    # then nobody sees it, even by the id a session has
    assert mailboxes.find_id(store.tx, account, id) is None
    with pytest.raises(MailboxNotFound):
        snapshot.take(store.tx, account, id)
    with pytest.raises(MailboxNotFound):
        changes.store(store.tx, account, id, ALL, changes.Action.ADD, 1)
    assert removal.unswept(store.tx) == [account]
    assert [removal.sweep(store.tx, store.contents, account, 2) for _ in range(3)] == [2, 2, 1]
    assert removal.unswept(store.tx) == []
    assert store.used(account) == 0
    assert store.number("SELECT count(*) FROM content") == 0


def test_an_account_is_removed_to_the_last_row_and_no_other_is_touched(store: Any) -> None:
    # given
    account, other = store.account(1), store.account(2)
    for _ in range(5):
        store.deposit(account)
    store.deposit(other)
    mailboxes.create(store.tx, account, "a/b", NOW)
    urlkeys.put(store.tx, account, account, 1, b"k")
    urlkeys.put(store.tx, other, account, 1, b"k")
    urlkeys.put(store.tx, other, other, 1, b"k")
    # when
    while removal.remove_all(store.tx, store.contents, account, 2):
        pass
    # then
    for table in ("mailbox", "subscription", "email", "placement", "expunged"):
        assert store.number(f"SELECT count(*) FROM {table} WHERE account = ?", account) == 0
    assert store.number("SELECT count(*) FROM content") == 1
    assert store.number("SELECT count(*) FROM url_key") == 1
    assert urlkeys.find(store.tx, other, other, 1) == b"k"
    assert mailboxes.status(store.tx, other, "INBOX").messages == 1


def test_status_counts(store: Any) -> None:
    # given
    account = store.account()
    for size in (10, 20, 30):
        store.deposit(account, size=size)
    id = store.mailbox(account).id
    changes.store(store.tx, account, id, [(1, 2)], changes.Action.ADD, Flag.SEEN)
    changes.store(store.tx, account, id, [(2, 2)], changes.Action.ADD, Flag.DELETED)
    # when
    numbers = mailboxes.status(store.tx, account, "INBOX")
    # then
    assert (numbers.messages, numbers.unseen, numbers.deleted, numbers.recent, numbers.size) == (
        3,
        1,
        1,
        3,
        60,
    )
    assert mailboxes.statuses(store.tx, account)["INBOX"] == numbers
    assert mailboxes.statuses(store.tx, account)["Sent"].messages == 0


def test_recent_messages_are_one_sessions(store: Any) -> None:
    account = store.account()
    store.deposit(account)
    id = store.mailbox(account).id
    assert changes.claim_recent(store.tx, account, id) == 1
    assert changes.claim_recent(store.tx, account, id) == 2
    store.deposit(account)
    assert mailboxes.status(store.tx, account, "INBOX").recent == 1


def test_a_claim_of_what_was_shown_leaves_what_came_later_and_takes_nothing_back(store: Any) -> None:
    account = store.account()
    for _ in range(3):
        store.deposit(account)
    id = store.mailbox(account).id
    for shown, left in ((3, 1), (2, 1), (4, 0)):
        changes.claim_shown(store.tx, account, id, shown)
        assert mailboxes.status(store.tx, account, "INBOX").recent == left


def test_subscriptions_are_names_and_outlive_mailboxes(store: Any) -> None:
    account = store.account()
    mailboxes.subscribe(store.tx, account, "later")
    mailboxes.subscribe(store.tx, account, "later")
    assert "later" in mailboxes.subscriptions(store.tx, account)
    assert [name.mailbox for name in mailboxes.listing(store.tx, account) if name.name == "later"] == [None]
    mailboxes.unsubscribe(store.tx, account, "later")
    mailboxes.unsubscribe(store.tx, account, "later")
    assert "later" not in mailboxes.subscriptions(store.tx, account)


def test_mailboxes_and_subscriptions_are_bounded(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an account that has all it may have
    account = store.account()
    monkeypatch.setattr(mailboxes, "MAILBOX_LIMIT", 6)
    # then no more, neither directly nor as parents
    for attempt in (
        lambda: mailboxes.create(store.tx, account, "more", NOW),
        lambda: mailboxes.rename(store.tx, account, "Sent", "a/b", NOW),
        lambda: mailboxes.subscribe(store.tx, account, "more"),
    ):
        store.tx.run("SAVEPOINT attempt")
        with pytest.raises(TooManyMailboxes):
            attempt()
        store.tx.run("ROLLBACK TO attempt")
    mailboxes.subscribe(store.tx, account, "Sent")
