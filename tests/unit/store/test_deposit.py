"""Deposit: the UID, the modseq and the quota are decided by one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.envelope import AccountId
from posthouse.store import mailboxes
from posthouse.store.deposit import (
    AccountGone,
    Deposit,
    Deposited,
    Missing,
    NoMailbox,
    OneByOne,
    OverQuota,
    deposit,
    deposit_together,
)


def test_uids_ascend_and_modseq_grows(store: Any) -> None:
    # given
    account = store.account()
    # when
    results = [store.deposit(account) for _ in range(3)]
    # then
    assert [result.uid for result in results] == [1, 2, 3]
    assert results[0].modseq < results[1].modseq < results[2].modseq
    box = store.mailbox(account)
    assert (box.uidnext, box.modseq, box.uidvalidity) == (4, results[-1].modseq, results[-1].uidvalidity)


def test_the_last_letter_that_fits_fits_exactly(store: Any) -> None:
    # given
    account = store.account(quota=250)
    # when
    results = [store.deposit(account, size=size) for size in (100, 150, 1)]
    # then
    assert [type(result) for result in results] == [Deposited, Deposited, OverQuota]
    assert store.used(account) == 250
    assert store.number("SELECT count(*) FROM placement") == 2
    assert store.mailbox(account).uidnext == 3


@pytest.mark.parametrize(("own", "fits"), [(None, False), (0, True), (500, True), (60, False)])
def test_own_quota_goes_before_the_configured_one(store: Any, own: int | None, fits: bool) -> None:
    account = store.account(quota=own)
    assert (type(store.deposit(account, size=100, limit=99)) is Deposited) is fits


def test_a_mailbox_that_is_not_there_means_inbox(store: Any) -> None:
    account = store.account()
    result = store.deposit(account, "Lists")
    assert (result.mailbox, result.uid) == ("INBOX", 1)


def test_a_missing_mailbox_is_made_when_asked_with_its_parents(store: Any) -> None:
    account = store.account()
    result = store.deposit(account, "Lists/python", missing=Missing.CREATE)
    assert (result.mailbox, result.uid) == ("Lists/python", 1)
    assert mailboxes.exists(store.tx, account, "Lists")


def test_a_missing_mailbox_can_be_refused_and_costs_no_quota(store: Any) -> None:
    account = store.account()
    assert store.deposit(account, "Lists", missing=Missing.REFUSE) == NoMailbox()
    assert store.used(account) == 0


def test_inbox_comes_back_if_it_was_lost(store: Any) -> None:
    account = store.account()
    store.tx.run("DELETE FROM mailbox WHERE name = 'INBOX'")
    assert store.deposit(account).mailbox == "INBOX"


def test_an_account_that_is_gone_is_told_from_a_full_one(store: Any) -> None:
    assert store.deposit(AccountId(99)) == AccountGone()
    assert store.number("SELECT count(*) FROM email") == 0


def several(store: Any, number: int, size: int = 100) -> list[Deposit]:
    return [Deposit(store.new_id(), store.content(), b"", 1.0, size, b"()", b"()") for _ in range(number)]


def test_several_copies_have_uids_in_a_row_and_fit_all_or_none(store: Any) -> None:
    # given room for three
    account = store.account(quota=399)
    store.deposit(account, size=99)
    # when
    too_many = deposit(store.tx, account, "INBOX", several(store, 4), 0)
    first = deposit(store.tx, account, "INBOX", several(store, 3), 0)
    # then
    assert too_many == OverQuota()
    assert isinstance(first, Deposited)
    assert first.uid == 2
    assert [uid for (uid,) in store.tx.all("SELECT uid FROM placement ORDER BY uid")] == [1, 2, 3, 4]
    assert store.mailbox(account).uidnext == 5
    assert store.mailbox(account).modseq == first.modseq
    assert store.used(account) == 399


def test_copies_of_several_letters_go_each_into_its_mailbox(store: Any) -> None:
    first, second = store.account(1), store.account(2)
    store.deposit(second)
    lots = {
        (first, "INBOX"): several(store, 2),
        (second, "INBOX"): several(store, 1),
        (first, "Archive"): several(store, 1),
    }
    done = deposit_together(store.tx, lots, 0)
    assert [(lot, where.mailbox, where.uid) for lot, where in done.items()] == [
        ((first, "INBOX"), "INBOX", 1),
        ((second, "INBOX"), "INBOX", 2),
        ((first, "Archive"), "Archive", 1),
    ]
    assert store.used(first) == 300
    for (account, name), copies in lots.items():
        where = done[account, name]
        found = store.tx.all(
            "SELECT p.uid, p.email, p.modseq FROM placement p JOIN mailbox m"
            " ON m.account = p.account AND m.id = p.mailbox WHERE m.account = ? AND m.name = ? AND p.uid >= ?"
            " ORDER BY p.uid",
            (account, name, where.uid),
        )
        assert found == [(where.uid + n, copy.email, where.modseq) for n, copy in enumerate(copies)]


@pytest.mark.parametrize("what", ["no room", "no mailbox", "no account"])
def test_what_cannot_be_deposited_together_is_told(store: Any, what: str) -> None:
    first, second = store.account(1), store.account(2, quota=100)
    where = {
        "no room": (second, "INBOX"),
        "no mailbox": (second, "Lists"),
        "no account": (AccountId(9), "INBOX"),
    }
    lots = {(first, "INBOX"): several(store, 1), where[what]: several(store, 2 if what == "no room" else 1)}
    with pytest.raises(OneByOne):
        deposit_together(store.tx, lots, 0)


@given(st.integers(0, 2000), st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=12))
def test_quota_is_never_exceeded_and_never_leaks(
    new_store: Callable[[], Any], quota: int, letters: list[tuple[bool, int]]
) -> None:
    # given two accounts, so that one's octets could be charged to the other
    store = new_store()
    accounts = {True: store.account(1, quota=quota or 1), False: store.account(2, quota=0)}
    stored = {True: 0, False: 0}
    # when
    for which, size in letters:
        fits = not which or stored[which] + size <= (quota or 1)
        result = store.deposit(accounts[which], size=size)
        # then
        assert (type(result) is Deposited) is fits
        stored[which] += size if fits else 0
    for which, account in accounts.items():
        assert store.used(account) == stored[which]
