"""What follows the grammar is taken, what does not is refused with BAD, in IMAP4rev1 and in IMAP4rev2."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.server import Connected, Limits, Literal, Result, ServerSession

COMMANDS = Path(__file__).parents[2] / "transcripts" / "grammar_of_imap.txt"
_OK = Result("OK", "done")
_UNANSWERED = (
    Connected, commands.Append, commands.AppendNext, commands.CatenateText, commands.CatenateUrl,
    commands.Idle, Literal,
)  # fmt: skip


def _selected(revision: str) -> ServerSession:
    core = ServerSession("h", plaintext_login=True, limits=Limits(errors=1000))
    for line in (b"", b"x LOGIN a b\r\n", b"x ENABLE %b\r\n" % revision.encode(), b"x SELECT INBOX\r\n"):
        core.receive(line)
        _answer(core)
    core.take_output()
    return core


def _answer(core: ServerSession) -> None:
    while (event := core.next_event()) is not None:
        core.answer(None if isinstance(event, _UNANSWERED) else _OK)


def _answered(core: ServerSession, command: str) -> str:
    core.receive(f"a {command}\r\n".replace("\\r\\n", "\r\n").encode())
    _answer(core)
    last = core.take_output().splitlines()[-1].decode()
    return last.split()[1] if last.startswith(("a ", "* BAD")) else last


@pytest.mark.parametrize("revision", ["IMAP4rev1", "IMAP4rev2"])
def test_each_command_is_taken_or_refused_as_the_grammar_says(revision: str) -> None:
    wrong = []
    for line in COMMANDS.read_text("utf-8").splitlines():
        kind, _, command = line.partition(" ")
        if kind not in ("+", "-"):
            continue
        answer = _answered(_selected(revision), command)
        if (answer == "BAD") != (kind == "-") or answer not in ("OK", "NO", "BAD"):
            wrong.append((line, answer))
    assert not wrong


@pytest.mark.parametrize("shape", ["right", "left"])
def test_a_search_chooses_among_hundreds(shape: str) -> None:
    # given one of 900 senders: as clients write it, OR within OR
    senders = [f"FROM {number}@example.org" for number in range(900)]
    if shape == "right":
        command = "SEARCH OR " + " OR ".join(senders[:-1]) + " " + senders[-1]
    else:
        command = "SEARCH " + "OR " * 899 + " ".join(senders)
    core = _selected("IMAP4rev1")
    core.receive(f"a {command}\r\n".encode())
    event = core.next_event()
    assert isinstance(event, commands.Search)
    # then all of them are sought, in a tree that is no deeper than it must be
    assert [leaf.text for leaf in searching.leaves(event.key) if isinstance(leaf, searching.InHeader)] == [
        f"{number}@example.org" for number in range(900)
    ]
    assert _depth(event.key) == 10


SEEN = searching.HasFlag("\\Seen")


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("(" * 1900 + "SEEN" + ")" * 1900, SEEN),
        ("NOT " * 1900 + "SEEN", SEEN),
        ("NOT " * 1901 + "SEEN", searching.Not(SEEN)),
        ("NOT (" * 901 + "SEEN" + ")" * 901, searching.Not(SEEN)),
        ("(SEEN " * 900 + "SEEN" + ")" * 900, searching.And((SEEN,) * 901)),
        ("FUZZY " * 1900 + "SEEN", searching.Fuzzy(SEEN)),
    ],
)
def test_a_search_may_be_as_deep_as_it_likes_where_that_means_nothing(
    command: str, key: searching.SearchKey
) -> None:
    core = _selected("IMAP4rev1")
    core.receive(f"a SEARCH {command}\r\n".encode())
    event = core.next_event()
    assert isinstance(event, commands.Search)
    assert event.key == key


@pytest.mark.parametrize("times", [24, 30, 900])
def test_a_search_whose_depth_means_something_is_refused_where_it_is_too_deep(times: int) -> None:
    core = _selected("IMAP4rev1")
    # given NOT (SEEN NOT (SEEN …, of which each makes two levels
    answer = _answered(core, "SEARCH " + "NOT (SEEN " * times + "SEEN" + ")" * times)
    assert answer == ("OK" if 2 * times <= searching.DEEPEST else "BAD")
    assert _answered(core, "NOOP") == "OK"


def _depth(key: searching.SearchKey) -> int:
    return 1 + max(_depth(key.one), _depth(key.other)) if isinstance(key, searching.Or) else 0
