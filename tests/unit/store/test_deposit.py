"""Deposit: the UID, the modseq and the quota are decided by one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.envelope import AccountId
from posthouse.store import mailboxes
from posthouse.store.deposit import AccountGone, Deposited, Missing, NoMailbox, OverQuota


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
