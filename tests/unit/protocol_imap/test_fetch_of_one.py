"""The FETCH of one message that is read at one go is what the grammar says it is, or it is left to that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.protocol.imap.commands import Command
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem
from posthouse.protocol.imap.verbs import read_fetch_of_one, read_head


def by_grammar(octets: bytes) -> tuple[bytes, Command] | None:
    try:
        head = read_head(octets)
        parser = Parser(octets, head.position)
        command = head.verb.read(parser, head.uid)
        parser.end()
    except SyntaxProblem:
        return None
    return head.tag, command


@pytest.mark.parametrize(
    "octets",
    [
        b"t1 UID FETCH 7 (BODY.PEEK[])",
        b"t1 FETCH 7 (UID FLAGS BODY[])",
        b"a.b uid fetch 4294967 rfc822",
        b"x Fetch 1 FAST",
    ],
)
def test_what_mail_programs_say_is_read_at_one_go(octets: bytes) -> None:
    found = read_fetch_of_one(octets)
    assert found is not None
    assert found == by_grammar(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"t1 UID FETCH 0 (FLAGS)",
        b"t1 UID FETCH 01 (FLAGS)",
        b"t1 UID FETCH 7:8 (FLAGS)",
        b"t1 UID FETCH * (FLAGS)",
        b"t1 UID FETCH $ (FLAGS)",
        b"t1 UID FETCH 7  (FLAGS)",
        b"t1 UID FETCH 7 (FLAGS) (CHANGEDSINCE 5)",
        b"t1 UID FETCH 7 (FLAGS MODSEQ)",
        b"t1 UID FETCH 7 (NONSENSE)",
        b"t1  FETCH 7 (FLAGS)",
        b"+ FETCH 7 (FLAGS)",
    ],
)
def test_all_else_is_left_to_the_grammar(octets: bytes) -> None:
    assert read_fetch_of_one(octets) is None


_PIECES = [
    b"t",
    b" ",
    b"UID",
    b"fetch",
    b"7",
    b"0",
    b":",
    b",",
    b"*",
    b"(",
    b")",
    b"FLAGS",
    b"BODY",
    b"[",
    b"]",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map(b"".join))
def test_whatever_is_said_the_two_never_differ(rest: bytes) -> None:
    for octets in (rest, b"t UID FETCH 7 " + rest, b"t FETCH 7 (" + rest + b")"):
        found = read_fetch_of_one(octets)
        assert found is None or found == by_grammar(octets)
