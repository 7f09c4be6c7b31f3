"""POP3 gives strange mail octet for octet, counts it and cuts it as Dovecot does."""

from __future__ import annotations

import poplib
from collections.abc import Iterator

import pytest

from tests.beside.fetched import fill
from tests.beside.letters import BOUNDARIES, HEADERS, NESTED, PARTS
from tests.beside.servers import Both
from tests.servers import PASSWORD, PATIENCE

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")

DOTS = {
    "a dot": b"Subject: x\r\n\r\n.\r\n",
    "dots": b"Subject: x\r\n\r\n..\r\n.a\r\n...\r\n",
    "a dot at the end": b"Subject: x\r\n\r\nx\r\n.",
    "a dot in the header": b".Subject: x\r\nY: z\r\n\r\nx\r\n",
    "no line end": b"Subject: x\r\n\r\nx",
    "nothing but a header": b"Subject: x\r\n",
    "an empty body": b"Subject: x\r\n\r\n",
}
OTHER_LINE_ENDS = {
    "LF alone",
    "LF alone in a multipart",
    "LF and CRLF",
    "CR CR LF",
    "CR alone",
    "CR alone in the header",
}
LETTERS = {
    name: letter
    for name, letter in {**DOTS, **BOUNDARIES, **PARTS, **NESTED, **HEADERS}.items()
    if name not in OTHER_LINE_ENDS and len(letter) < 50_000
}
COMMANDS = (
    ("LIST 0", "LIST 99999", "LIST x", "LIST -1", "LIST 1 2", "UIDL 0", "UIDL 99999"),
    ("RETR", "RETR 0", "RETR x", "RETR 99999", "TOP", "TOP 1", "TOP 1 -1"),
    ("TOP 1 x", "TOP 0 0", "TOP 99999 1", "DELE", "DELE 0", "DELE 99999", "NOSUCH"),
    ("USER x", "PASS x", "APOP x y", "STLS", "", "LAST"),
    ("STAT", "NOOP", "RSET", "list 1", "DELE 1", "DELE 1", "RETR 1", "LIST 1", "TOP 1 0", "UIDL 1", "STAT"),
    ("DELE 2", "LIST 3", "RSET", "LIST 1", "RETR 2", "TOP 3 0", "NOOP", "QUIT"),
)
"""Sessions; who says nothing but nonsense is sent away."""


Sessions = tuple[poplib.POP3, poplib.POP3]


@pytest.fixture
def filled(both: Both, monkeypatch: pytest.MonkeyPatch) -> Both:
    """A user who has all letters."""
    monkeypatch.setattr(poplib, "_MAXLINE", 1_000_000)
    pair = both.imap()
    fill(pair, LETTERS.values())
    pair.close()
    return both


@pytest.fixture
def sessions(filled: Both) -> Iterator[Sessions]:
    """One with each server."""
    opened = sessions_of(filled)
    yield opened
    for session in opened:
        session.close()


def sessions_of(both: Both) -> Sessions:
    opened = []
    for port in (both.ours.address("pop3")[1], both.theirs.pop3_port):
        session = poplib.POP3("127.0.0.1", port, PATIENCE)
        if "UTF8" in session.capa():  # RFC 6856: without it headers come in ASCII; Dovecot's never do
            session.utf8()
        session.user(both.user)
        session.pass_(PASSWORD)
        opened.append(session)
    return opened[0], opened[1]


def test_sizes_and_octets(sessions: Sessions) -> None:
    ours, theirs = sessions
    assert ours.stat() == theirs.stat()
    assert ours.list()[1] == theirs.list()[1]
    for number, (name, letter) in enumerate(LETTERS.items(), 1):
        here, there = ours.retr(number)[1], theirs.retr(number)[1]
        assert here == there, name
        # and that is what was put in, whose last line may lack its end
        assert b"\r\n".join(here) == letter.removesuffix(b"\r\n"), name


@pytest.mark.parametrize("lines", [0, 1, 2, 1000])
def test_beginnings(sessions: Sessions, lines: int) -> None:
    ours, theirs = sessions
    for number, name in enumerate(LETTERS, 1):
        here, there = ours.top(number, lines)[1], theirs.top(number, lines)[1]
        assert here == there, name


def test_unique_ids_are_unique(sessions: Sessions) -> None:
    for session in sessions:
        ids = [line.split()[1] for line in session.uidl()[1]]
        assert len(set(ids)) == len(LETTERS)
        assert all(1 <= len(id) <= 70 and all(33 <= octet <= 126 for octet in id) for id in ids)


def test_commands_are_answered_alike(filled: Both) -> None:
    different = []
    for commands in COMMANDS:
        ours, theirs = opened = sessions_of(filled)
        for command in commands:
            said = [answer_to(session, command) for session in opened]
            if said[0] != said[1]:
                different.append((command, *said))
        ours.close()
        theirs.close()
    assert different == []


def answer_to(session: poplib.POP3, command: str) -> bytes:
    """+OK or -ER."""
    session._putcmd(command)  # type: ignore[attr-defined]
    answer: bytes = session._getline()[0]  # type: ignore[attr-defined]
    if answer.startswith(b"+OK") and command.startswith(("RETR", "TOP")):
        while session._getline()[0] != b".":  # type: ignore[attr-defined]
            pass
    return answer[:3]
