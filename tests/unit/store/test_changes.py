"""Changes: flags, keywords, expunge, copy, move and append, each under one modseq."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.accounts.usage import NoSuchAccount
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, content, mailboxes, removal, snapshot
from posthouse.store.changes import (
    Action,
    AppendTarget,
    MessageGone,
    NewMessages,
    QuotaExceeded,
    Replaced,
    Terms,
)
from posthouse.store.deposit import Deposit
from posthouse.store.flags import BadKeyword, Flag, keyword_text
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.read import Column, fetch
from posthouse.store.uids import ALL, conditions, ranges_of

TERMS = Terms(now=5_000_000.0, limit=0)


@pytest.fixture
def filled(store: Any) -> tuple[Any, AccountId, int]:
    """A store, an account and the id of its INBOX with five messages of 100 octets."""
    account = store.account()
    for _ in range(5):
        store.deposit(account)
    return store, account, store.mailbox(account).id


def _flags(store: Any, account: AccountId, mailbox: int) -> list[int]:
    return list(snapshot.take(store.tx, account, mailbox).flags)


@pytest.mark.parametrize(
    ("action", "flags", "after"),
    [
        (Action.SET, Flag.SEEN | Flag.DRAFT, [17, 17, 2]),
        (Action.ADD, Flag.SEEN, [3, 3, 2]),
        (Action.REMOVE, Flag.ANSWERED | Flag.SEEN, [0, 0, 2]),
    ],
)
def test_flags_change_where_asked_only(filled: Any, action: Action, flags: int, after: list[int]) -> None:
    # given
    store, account, mailbox = filled
    changes.store(store.tx, account, mailbox, ALL, Action.SET, Flag.ANSWERED)
    before = store.mailbox(account).modseq
    # when
    stored = changes.store(store.tx, account, mailbox, [(1, 2)], action, flags)
    # then
    view = snapshot.take(store.tx, account, mailbox)
    assert list(view.flags[:3]) == after
    assert stored.changed == 2
    assert stored.modseq == store.mailbox(account).modseq > before
    assert [modseq == stored.modseq for modseq in view.modseqs] == [True, True, False, False, False]


@pytest.mark.parametrize("words", [(), ("kept",)])
def test_a_change_that_changes_nothing_leaves_the_modseq(filled: Any, words: tuple[str, ...]) -> None:
    store, account, mailbox = filled
    changes.store(store.tx, account, mailbox, ALL, Action.SET, Flag.SEEN, words)
    before = store.mailbox(account).modseq
    for action in (Action.SET, Action.ADD):
        assert changes.store(store.tx, account, mailbox, ALL, action, Flag.SEEN, words).changed == 0
    assert changes.store(store.tx, account, mailbox, ALL, Action.REMOVE, Flag.DRAFT, ["other"]).changed == 0
    assert store.mailbox(account).modseq == before


def test_keywords_keep_their_first_spelling_and_ignore_case(filled: Any) -> None:
    store, account, mailbox = filled
    changes.store(store.tx, account, mailbox, [(1, 1)], Action.ADD, 0, ["$Forwarded", "Work"])
    changes.store(store.tx, account, mailbox, [(1, 1)], Action.ADD, 0, ["work", "a"])
    assert snapshot.take(store.tx, account, mailbox).keywords[0] == "$Forwarded a Work"
    changes.store(store.tx, account, mailbox, [(1, 1)], Action.REMOVE, 0, ["WORK"])
    assert snapshot.take(store.tx, account, mailbox).keywords[:2] == ["$Forwarded a", ""]


@pytest.mark.parametrize("word", ["", "two words", "\\Seen", "ä", "x" * 129, "a]", 'q"'])
def test_what_is_no_atom_is_no_keyword(filled: Any, word: str) -> None:
    store, account, mailbox = filled
    for action in (Action.SET, Action.ADD):
        with pytest.raises(BadKeyword):
            changes.store(store.tx, account, mailbox, ALL, action, 0, [word])


def test_keywords_of_a_message_are_bounded() -> None:
    with pytest.raises(BadKeyword):
        keyword_text(f"k{number}" for number in range(101))


def test_unchanged_since_protects_what_somebody_else_changed(filled: Any) -> None:
    # given a client that knows the mailbox as it was before another one flagged message 2
    store, account, mailbox = filled
    known = store.mailbox(account).modseq
    changes.store(store.tx, account, mailbox, [(2, 2)], Action.ADD, Flag.FLAGGED)
    # when
    stored = changes.store(
        store.tx, account, mailbox, [(1, 3), (5, 5)], Action.SET, Flag.SEEN, unchanged_since=known
    )
    # then
    assert stored.refused == [2]
    assert stored.changed == 3
    assert _flags(store, account, mailbox) == [1, 4, 1, 0, 1]


def test_expunge_takes_the_deleted_and_remembers_their_uids(filled: Any) -> None:
    # given
    store, account, mailbox = filled
    changes.store(store.tx, account, mailbox, [(2, 4)], Action.ADD, Flag.DELETED)
    before = store.mailbox(account).modseq
    # when (UID EXPUNGE 3:*)
    gone = changes.expunge(store.tx, store.contents, account, mailbox, [(3, 0xFFFFFFFF)])
    # then
    assert gone.uids == [3, 4]
    assert list(snapshot.take(store.tx, account, mailbox).uids) == [1, 2, 5]
    assert snapshot.vanished(store.tx, account, mailbox, before) == [(3, 4)]
    assert store.used(account) == 300
    assert store.mailbox(account).modseq == gone.modseq


def test_expunge_of_nothing_changes_nothing(filled: Any) -> None:
    store, account, mailbox = filled
    before = store.mailbox(account)
    assert changes.expunge(store.tx, store.contents, account, mailbox).uids == []
    assert store.mailbox(account) == before


def test_copy_gives_new_uids_in_order_and_each_copy_counts(filled: Any) -> None:
    # given
    store, account, mailbox = filled
    changes.store(store.tx, account, mailbox, [(4, 4)], Action.SET, Flag.SEEN, ["$Junk"])
    store.deposit(account, "Archive")
    # when: lone UIDs and ranges out of order
    copied = changes.copy(store.tx, account, mailbox, [(4, 5), (1, 1), (99, 99)], "Archive", TERMS)
    # then
    assert (copied.sources, copied.targets) == ([1, 4, 5], [2, 3, 4])
    archive = store.mailbox(account, "Archive")
    assert (copied.uidvalidity, archive.uidnext, archive.modseq) == (archive.uidvalidity, 5, copied.modseq)
    view = snapshot.take(store.tx, account, archive.id)
    assert (view.flags[2], view.keywords[2]) == (Flag.SEEN, "$Junk")
    assert store.used(account) == 900


def test_a_copy_that_does_not_fit_is_refused_and_a_move_always_fits(filled: Any) -> None:
    store, account, mailbox = filled
    with pytest.raises(QuotaExceeded) as caught:
        changes.copy(store.tx, account, mailbox, ALL, "Archive", TERMS._replace(limit=999))
    assert caught.value.code == "OVERQUOTA"
    assert store.used(account) == 500
    assert store.mailbox(account, "Archive").uidnext == 1
    full = TERMS._replace(limit=400)
    changes.move(store.tx, account, mailbox, ALL, "Archive", full, store.contents)
    assert store.used(account) == 500


def test_a_copy_into_another_account_is_charged_there_and_shares_the_content(filled: Any) -> None:
    # given
    store, account, mailbox = filled
    other = store.account(2)
    terms = TERMS._replace(account=other, flags=Flag.SEEN, keywords=False)
    changes.store(store.tx, account, mailbox, [(1, 1)], Action.SET, Flag.SEEN | Flag.DELETED, ["$Junk"])
    contents = store.number("SELECT count(*) FROM content")
    # when: twice, so that the second finds the first
    changes.copy(store.tx, account, mailbox, [(1, 2)], "INBOX", terms)
    copied = changes.copy(store.tx, account, mailbox, [(1, 1)], "INBOX", terms)
    # then
    assert copied.targets == [3]
    assert (store.used(account), store.used(other)) == (500, 300)
    assert store.number("SELECT count(*) FROM content") == contents
    view = snapshot.take(store.tx, other, store.mailbox(other).id)
    assert (list(view.flags), view.keywords) == ([Flag.SEEN, 0, Flag.SEEN], ["", "", ""])
    # when the first account lets go of its own, the other keeps what it has
    changes.expunge(store.tx, store.contents, account, mailbox, deleted_only=False)
    assert (store.used(account), store.used(other)) == (0, 300)
    assert store.number("SELECT count(*) FROM content") == 2


def test_a_move_into_another_account_is_charged_there_and_credited_here(filled: Any) -> None:
    store, account, mailbox = filled
    other = store.account(2)
    view = snapshot.take(store.tx, account, mailbox)
    terms = TERMS._replace(account=other)
    moved = changes.move(store.tx, account, mailbox, [(2, 3)], "INBOX", terms, store.contents)
    assert (store.used(account), store.used(other)) == (300, 200)
    assert view.apply(snapshot.delta(store.tx, account, view.mailbox)).expunged == [2, 3]
    assert moved.left == store.mailbox(account).modseq
    assert moved.modseq == store.mailbox(other).modseq
    assert store.number("SELECT count(*) FROM email WHERE account = ?", account) == 3
    with pytest.raises(QuotaExceeded):
        changes.move(store.tx, account, mailbox, ALL, "INBOX", terms._replace(limit=499), store.contents)
    assert store.used(account) == 300


def test_when_a_message_came_into_a_mailbox_is_kept(filled: Any) -> None:
    store, account, mailbox = filled
    changes.copy(store.tx, account, mailbox, [(1, 1)], "Archive", TERMS._replace(now=88.9))
    changes.append(store.tx, account, "Archive", _messages(900), 0, 99.0)
    archive = store.mailbox(account, "Archive").id
    wanted = (Column.UID, Column.ARRIVED, Column.SAVED)
    assert fetch(store.tx, account, archive, ALL, wanted) == [(1, 1234.5, 88), (2, 77.0, 99)]
    assert fetch(store.tx, account, mailbox, [(1, 1)], wanted) == [(1, 1234.5, 1234)]


def test_a_message_in_two_mailboxes_goes_with_the_second(filled: Any) -> None:
    store, account, mailbox = filled
    changes.copy(store.tx, account, mailbox, [(1, 1)], "Archive", TERMS)
    changes.expunge(store.tx, store.contents, account, mailbox, deleted_only=False)
    assert (store.used(account), store.number("SELECT count(*) FROM content")) == (100, 1)
    archive = store.mailbox(account, "Archive").id
    changes.expunge(store.tx, store.contents, account, archive, deleted_only=False)
    assert (store.used(account), store.number("SELECT count(*) FROM content")) == (0, 0)


def test_copying_into_nowhere_says_that_it_can_be_created(filled: Any) -> None:
    store, account, mailbox = filled
    with pytest.raises(AppendTarget) as caught:
        changes.copy(store.tx, account, mailbox, ALL, "nowhere", TERMS)
    assert caught.value.code == "TRYCREATE"


def test_move_leaves_nothing_behind(filled: Any) -> None:
    store, account, mailbox = filled
    view = snapshot.take(store.tx, account, mailbox)
    moved = changes.move(store.tx, account, mailbox, [(2, 3)], "Trash", TERMS, store.contents)
    assert (moved.sources, moved.targets) == ([2, 3], [1, 2])
    applied = view.apply(snapshot.delta(store.tx, account, view.mailbox))
    assert applied.expunged == [2, 3]
    assert list(view.uids) == [1, 4, 5]
    assert mailboxes.status(store.tx, account, "Trash").messages == 2
    assert store.used(account) == 500


def test_move_within_a_mailbox_gives_new_uids_and_loses_nothing(filled: Any) -> None:
    store, account, mailbox = filled
    moved = changes.move(store.tx, account, mailbox, ALL, "INBOX", TERMS, store.contents)
    assert moved.targets == [6, 7, 8, 9, 10]
    assert list(snapshot.take(store.tx, account, mailbox).uids) == moved.targets


def test_another_accounts_mailbox_is_not_there(filled: Any) -> None:
    store, _, mailbox = filled
    other = store.account(2)
    store.tx.run("DELETE FROM mailbox WHERE account = 2")
    for attempt in (
        lambda: changes.store(store.tx, other, mailbox, ALL, Action.ADD, 1),
        lambda: changes.expunge(store.tx, store.contents, other, mailbox),
        lambda: changes.copy(store.tx, other, mailbox, ALL, "INBOX", TERMS),
        lambda: changes.claim_recent(store.tx, other, mailbox),
        lambda: snapshot.take(store.tx, other, mailbox),
    ):
        with pytest.raises(MailboxNotFound):
            attempt()


def _messages(*ids: int) -> NewMessages:
    return NewMessages(
        [Deposit(id, id, b"", 77.0, 10, b"(e)", b"(b)", Flag.SEEN, "$Junk") for id in ids],
        [content.New(id, b"A: b\r\n\r\n", b"xx", 10) for id in ids],
    )


def test_append_keeps_flags_keywords_and_internal_date(filled: Any) -> None:
    store, account, _ = filled
    done = changes.append(store.tx, account, "Sent", _messages(900, 901), 0, 1.0)
    assert done.uid == 1
    view = snapshot.take(store.tx, account, store.mailbox(account, "Sent").id)
    assert view.entry(1)._replace(modseq=0) == (2, 901, 10, Flag.SEEN, "$Junk", 0)
    assert store.number("SELECT arrived FROM email WHERE id = 901") == 77


def test_append_that_cannot_be_done_says_why(filled: Any) -> None:
    store, account, _ = filled
    with pytest.raises(AppendTarget):
        changes.append(store.tx, account, "nowhere", _messages(900), 0, 1.0)
    with pytest.raises(QuotaExceeded):
        changes.append(store.tx, account, "Sent", _messages(900), 505, 1.0)
    assert store.number("SELECT count(*) FROM content WHERE id = 900") == 0
    store.tx.run("INSERT INTO mailbox (account, id, name, uidvalidity) VALUES (9, 1, 'Sent', 1)")
    with pytest.raises(NoSuchAccount):
        changes.append(store.tx, AccountId(9), "Sent", _messages(900), 0, 1.0)


def test_tombstones_are_bounded_and_it_is_known_from_when(filled: Any, monkeypatch: Any) -> None:
    # given
    store, account, mailbox = filled
    monkeypatch.setattr(removal, "TOMBSTONES", 20)
    early = snapshot.take(store.tx, account, mailbox)
    # when many more are expunged, none beside another
    for _ in range(300):
        uid = store.deposit(account).uid
        store.deposit(account)
        changes.expunge(store.tx, store.contents, account, mailbox, [(uid, uid)], deleted_only=False)
    # then
    assert store.number("SELECT count(*) FROM expunged") <= 20 + 100
    assert not snapshot.delta(store.tx, account, early.mailbox).complete
    since = snapshot.remembered_since(store.tx, account, mailbox)
    assert early.mailbox.modseq < since < store.mailbox(account).modseq
    late = snapshot.take(store.tx, account, mailbox)
    assert snapshot.delta(store.tx, account, late.mailbox).complete


@given(st.sets(st.integers(1, 2000)))
def test_a_set_of_uids_is_the_same_as_ranges(uids: set[int]) -> None:
    ranges = ranges_of(sorted(uids))
    assert [uid for first, last in ranges for uid in range(first, last + 1)] == sorted(uids)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=600))
def test_conditions_name_each_uid_once_however_the_ranges_overlap(pairs: list[tuple[int, int]]) -> None:
    ranges = [(first * 7, first * 7 + more) for first, more in pairs]
    named: list[int] = []
    for condition, some in conditions(ranges):
        assert condition.count("?") == len(some) <= 500
        named += range(some[0], some[1] + 1) if "BETWEEN" in condition else sorted(set(some))
    assert sorted(named) == sorted({uid for first, last in ranges for uid in range(first, last + 1)})


def test_a_change_of_one_account_leaves_the_others_as_they_are(filled: Any) -> None:
    # given
    store, account, mailbox = filled
    for number in (2, 3):
        store.deposit(store.account(number))
    before = store.tx.all("SELECT id, used, modseq, uidvalidity FROM account WHERE id > 1")
    # when
    changes.store(store.tx, account, mailbox, ALL, Action.ADD, Flag.DELETED)
    changes.copy(store.tx, account, mailbox, ALL, "Archive", TERMS)
    changes.expunge(store.tx, store.contents, account, mailbox)
    mailboxes.create(store.tx, account, "new", 3e6)
    mailboxes.delete(store.tx, account, "Archive")
    removal.sweep(store.tx, store.contents, account)
    # then
    assert store.tx.all("SELECT id, used, modseq, uidvalidity FROM account WHERE id > 1") == before
    assert store.used(account) == 0


def test_replacing_appends_and_removes_at_once(filled: Any) -> None:
    # given
    store, account, mailbox = filled
    new = _messages(900)
    # when
    _, done = changes.replace(store.tx, store.contents, account, Replaced(mailbox, 2), "Sent", new, 0, 9.0)
    # then
    assert list(snapshot.take(store.tx, account, mailbox).uids) == [1, 3, 4, 5]
    assert list(snapshot.take(store.tx, account, store.mailbox(account, "Sent").id).uids) == [done.uid]
    with pytest.raises(MessageGone):
        changes.replace(store.tx, store.contents, account, Replaced(mailbox, 2), "Sent", new, 0, 9.0)
