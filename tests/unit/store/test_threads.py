"""Threads: the keys of a letter, and how they find each other."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import conversation
from posthouse.mail.header import HeaderIndex
from posthouse.store import changes, threads


def keys(text: str) -> tuple[int, ...]:
    return conversation.keys(HeaderIndex(text.replace("\n", "\r\n").encode() + b"\r\n"))


def test_a_long_subject_holds_nobody_up() -> None:
    """By the square of its length it would be longer than any test may take."""
    for piece in (b"aw:", b"[x]", b"sv: [x] "):
        head = b"Message-ID: <a@b>\r\nSubject: " + piece * 100_000 + b"\r\n\r\n"
        assert conversation.keys(HeaderIndex(head))


def test_letters_share_a_key_where_ids_and_base_subjects_are_the_same() -> None:
    root = keys("Message-ID: <a@x>\nSubject: Hello\n")
    answer = keys("Message-ID: <b@x>\nIn-Reply-To: <a@x> (sent on Monday)\nSubject: Re: hello\n")
    other = keys("Message-ID: <c@x>\nReferences: <a@x>\nSubject: Goodbye\n")
    assert set(root) < set(answer)
    assert not set(root) & set(other)
    assert len(root) == 1
    # its own first, then the nearest
    deep = keys("Message-ID: <d@x>\nReferences: <a@x>\n <b@x> <c@x>\nSubject: hello\n")
    (nearest,) = keys("Message-ID: <c@x>\nSubject: hello\n")
    assert deep[1:] == (nearest, answer[0], root[0])


def test_a_letter_without_ids_stands_alone() -> None:
    assert keys("Subject: Re: hello\nMessage-ID: none\n") == ()


def test_a_thousand_references_cost_a_few_keys() -> None:
    many = " ".join(f"<{number}@x>" for number in range(1000))
    found = keys(f"References: {many}\n")
    assert len(found) == 20
    assert found[-1] == keys("Message-ID: <0@x>\n")[0]
    assert found[0] == keys("Message-ID: <999@x>\n")[0]


@given(st.binary(max_size=300))
def test_any_header_has_keys(head: bytes) -> None:
    for key in conversation.keys(HeaderIndex(b"Message-ID: <x@y>\r\nSubject: " + head)):
        assert -(1 << 63) <= key < 1 << 63


def test_a_thread_never_changes_though_a_later_letter_belongs_to_two(store: Any) -> None:
    account, other = store.account(1), store.account(2)
    assert threads.join(store.tx, account, [(10, (1, 2))]) == [10]
    assert threads.join(store.tx, account, [(11, (3,))]) == [11]
    assert threads.join(store.tx, account, [(12, (4, 3, 2))]) == [11]
    assert threads.join(store.tx, account, [(13, (2,))]) == [10]
    assert threads.join(store.tx, account, [(14, (4,))]) == [11]
    assert threads.join(store.tx, other, [(15, (1,))]) == [15]
    assert threads.join(store.tx, account, [(16, ())]) == [16]


def test_keys_go_when_the_last_message_of_their_thread_has_gone(store: Any) -> None:
    # given more keys than are looked at in one go, in two accounts, and in the first a thread of one message
    first, second = store.account(1), store.account(2)
    for number in range(threads.BATCH + 3):
        threads.join(store.tx, second, [(number + 1, (number,))])
    answer = store.content(head=b"Message-ID: <7@x>\r\nIn-Reply-To: <8@x>\r\n\r\n")
    store.deposit(first, content_id=answer)
    assert not threads.complete(store.tx, first)
    assert store.number("SELECT count(*) FROM thread_key") == threads.BATCH + 5
    # when
    _sweep(store)
    # then
    assert store.number("SELECT count(*) FROM thread_key WHERE account = 1") == 2
    assert store.number("SELECT count(*) FROM thread_key") == 2
    # and when the message goes
    mailbox = store.mailbox(first).id
    changes.expunge(store.tx, store.contents, first, mailbox, deleted_only=False)
    _sweep(store)
    assert store.number("SELECT count(*) FROM thread_key") == 0


def _sweep(store: Any) -> None:
    stale = threads.Stale()
    while stale.look(store.tx):
        stale.sweep(store.tx)
