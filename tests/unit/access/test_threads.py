"""Base subjects and threads, as RFC 5256 wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access.imap.threads import Known, by_references, by_subject, write
from posthouse.mail.subjects import base_subject

SUBJECTS = [
    ("hello", "hello", False),
    ("Re: hello", "hello", True),
    ("RE : Fw: [list] fwd[2]:  Hello   World (fwd) (Fwd)", "hello world", True),
    ("[list] hello", "hello", False),
    ("[list] Re: [list] hello", "hello", True),
    # RFC 5256 §2.1 (4): a blob stays where nothing else would be left
    ("[list]", "[list]", False),
    ("Re: [list]", "[list]", True),
    ("[fwd: Re: hello]", "hello", True),
    ("[fwd: hello", "[fwd: hello", False),
    ("Re:", "", True),
    ("", "", False),
    ("regarding: x", "regarding: x", False),
    ("Größe", "große".replace("ß", "ss").replace("o", "o\u0308", 1), False),
]


@pytest.mark.parametrize(("subject", "base", "reply"), SUBJECTS)
def test_base_subjects(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


@given(
    st.lists(st.sampled_from(["re:", "fwd:", "[x]", "[fwd:", "]", " ", "(fwd)", "a", "["]), max_size=30).map(
        "".join
    )
)
def test_a_base_subject_is_its_own_base(subject: str) -> None:
    assert base_subject(base_subject(subject).text).text == base_subject(subject).text


@pytest.mark.parametrize("piece", ["re:", "[x]", "[x] re", "(fwd)", "[fwd:", " ", "[", "re"])
def test_long_subjects_take_no_time(piece: str) -> None:
    """By their length, that is: by its square it would be longer than any test may take."""
    base_subject(piece * 200_000)


class Message(NamedTuple):
    number: int
    id: str
    references: tuple[str, ...]
    subject: str
    sent: float


def known(number: int, id: str = "", *references: str, subject: str = "", sent: float = 0.0) -> Message:
    return Message(number, id, references, subject, sent or number)


def columns(messages: Sequence[Message]) -> Known:
    bases = [base_subject(message.subject) for message in messages]
    return Known(
        [message.sent for message in messages],
        [base.text.encode() for base in bases],
        [base.reply for base in bases],
        [message.id.encode() for message in messages],
        [" ".join(message.references).encode() for message in messages],
    )


def references(*messages: Message) -> str:
    return write(by_references(columns(messages)), [message.number for message in messages]).decode()


def test_answers_stand_below_what_they_answer() -> None:
    messages = known(2, "b"), known(3, "c"), known(6, "f", "c"), known(4, "d", "c", "f"), known(23, "w", "d")
    more = known(44, "x", "c", "f"), known(7, "g", "x"), known(96, "y", "c", "f", "x", "g")
    assert references(*messages, *more) == "(2)(3 6 (4 23)(44 7 96))"


def test_a_message_that_is_not_here_holds_its_answers_together() -> None:
    # RFC 5256 §4: the parent of 3 and 5 is missing
    assert references(known(3, "c", "gone"), known(5, "e", "gone")) == "((3)(5))"
    # with only one answer nobody misses it
    assert references(known(3, "c", "gone")) == "(3)"
    assert references(known(1, "a"), known(3, "c", "a", "gone")) == "(1 3)"


def test_the_order_of_the_mailbox_does_not_matter() -> None:
    chain = [known(n, f"i{n}", *[f"i{m}" for m in range(1, n)]) for n in range(1, 6)]
    assert references(*chain) == references(*reversed(chain)) == "(1 2 3 4 5)"


def test_siblings_stand_by_the_date_they_were_sent() -> None:
    late = known(2, "b", "a", sent=9.0)
    assert references(known(1, "a", sent=1.0), late, known(3, "c", "a", sent=5.0)) == "(1 (3)(2))"
    assert references(known(1, "a", sent=5.0), known(2, "b", sent=3.0)) == "(2)(1)"


def test_loops_and_doubles_do_no_harm() -> None:
    assert references(known(1, "a", "b"), known(2, "b", "a")) in ("(1 2)", "(2 1)")
    assert references(known(1, "a", "a")) == "(1)"
    assert references(known(1, "a"), known(2, "a"), known(3, "c", "a")) == "(1 3)(2)"
    assert references(known(1), known(2)) == "(1)(2)"


def test_threads_with_one_subject_become_one() -> None:
    # RFC 5256 §3 (5): an answer without references goes below what it answers
    assert references(known(1, "a", subject="x"), known(2, "b", subject="Re: x")) == "(1 2)"
    # equals stand side by side, and what comes later joins them
    assert references(known(1, subject="x"), known(2, subject="x")) == "((1)(2))"
    assert (
        references(known(1, subject="x"), known(2, subject="x"), known(3, subject="Re: x")) == "((1)(2)(3))"
    )
    # the one that is no answer is the first, even where it was sent later
    assert references(known(1, subject="Re: x"), known(2, subject="x")) == "(2 1)"
    gone = known(1, "a", "gone", subject="x"), known(2, "b", "gone", subject="x")
    assert references(*gone, known(3, "c", subject="Re: x")) == "((1)(2)(3))"
    assert references(known(1), known(2)) == "(1)(2)"


def test_by_subject() -> None:
    messages = [
        known(1, subject="b", sent=5.0),
        known(2, subject="Re: a", sent=3.0),
        known(3, subject="a", sent=1.0),
        known(4, subject="Re: a", sent=2.0),
    ]
    assert write(by_subject(columns(messages)), [1, 2, 3, 4]) == b"(3 (4)(2))(1)"
    assert write(by_subject(columns([])), []) == b""


ids = st.sampled_from(["", "a", "b", "c", "d", "e"])


@given(
    st.lists(
        st.tuples(ids, st.lists(ids.filter(bool), max_size=4), st.sampled_from(["", "x", "Re: x"])),
        max_size=12,
    )
)
def test_every_message_is_in_one_thread(letters: list[tuple[str, list[str], str]]) -> None:
    messages = [known(n, id, *refs, subject=text) for n, (id, refs, text) in enumerate(letters, 1)]
    said = references(*messages)
    numbers = sorted(int(word) for word in said.replace("(", " ").replace(")", " ").split())
    assert numbers == list(range(1, len(messages) + 1))
    assert said.count("(") == said.count(")")
    assert "()" not in said


def test_a_chain_as_long_as_a_mailbox() -> None:
    chain = [known(n, f"i{n}", f"i{n - 1}") for n in range(1, 20_001)]
    assert references(*chain).count(" ") == 19_999
    assert references(*reversed(chain)).count("(") == 1
