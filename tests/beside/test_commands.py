"""Commands that are right, strange or wrong get the same kind of answer as from Dovecot: OK, NO or BAD."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.beside.fetched import fill
from tests.beside.servers import Both

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")

COMMANDS = [
    line.replace("\\s", " ").replace("\\r\\n", "\r\n")
    for line in (Path(__file__).with_name("commands.txt")).read_text().splitlines()[1:]
]
STRICTER = {
    "Too much behind the last argument; Dovecot reads on.": (
        "COPY 1 INBOX x", "EXPUNGE 1", "NOOP x", "CHECK x", "CAPABILITY x", "NAMESPACE x", "UNSELECT x",
        "IDLE x",
        "CREATE x y", "SELECT INBOX x", "FETCH 1 BINARY.SIZE[1]<0.1>",
    ),
    "RFC 9051 §9: one space parts arguments.": (
        "FETCH  1 FLAGS", "FETCH 1  FLAGS", "FETCH 1 BODY[HEADER.FIELDS (From) ]",
    ),
    "RFC 9051 §9: a list that is not empty.": (
        "FETCH 1 (FLAGS) ()", "STORE 1 () FLAGS (\\Seen)", 'LIST "" ()', "SELECT INBOX ()",
    ),
    "An argument is missing (RFC 2971 §3.1, RFC 5161 §3.1, RFC 9051 §9).": (
        "ID", "ENABLE", "STORE 1 FLAGS", "STORE 1:* FLAGS",
    ),
    "RFC 2971 §3.1: pairs of strings, or NIL.": ('ID ("name")', "ID (name x)", "ID x"),
    "RFC 9051 §9: numbers are not zero and begin with no zero, and sets are not open at the end.": (
        "FETCH 1,2, FLAGS", "FETCH 1 BODY[]<0>",
        "FETCH 1 BODY[]<0.0>", "FETCH 1 BODY[0]", "FETCH 1 BODY[1.0]", "FETCH 1 BODY[01]",
    ),
    "RFC 9051 §9: keywords are atoms without ]; and to SEARCH they are no strings.": (
        "STORE 1 FLAGS (a%b)", "STORE 1 FLAGS (a]b)", "SEARCH KEYWORD \\Seen", 'SEARCH KEYWORD "a"',
    ),
    "There is no such day.": (
        "SEARCH BEFORE 32-Jan-2000", "SEARCH BEFORE 30-Feb-2000", "SEARCH BEFORE 0-Jan-2000",
        'APPEND INBOX "31-Feb-2026 15:09:26 +0100" {3+}\r\nabc',
        'APPEND INBOX "14-Mar-2026 25:09:26 +0100" {3+}\r\nabc',
        'APPEND INBOX "14-Mar-2026 15:09:26 CET" {3+}\r\nabc',
    ),
    "RFC 5256 §4: REVERSE stands before a key.": ("SORT (REVERSE REVERSE DATE) UTF-8 ALL",),
    "RFC 9051 §6.4.5: BINARY is of a part.": ("FETCH 1 BINARY[HEADER]",),
    "The mailbox is not there, whether or not there is something to copy.": ("UID COPY 999 nosuch",),
}  # fmt: skip
RICHER = {
    "STATUS INBOX (SIZE HIGHESTMODSEQ DELETED)": "RFC 9051 §6.3.11 has DELETED.",
}


def test_commands_are_answered_alike(both: Both) -> None:
    pair = both.imap()
    fill(pair, [b"Subject: x\r\n\r\nbody\r\n"] * 3)
    different, ended = {}, False
    for count, command in enumerate(COMMANDS):
        if count % 5 == 0 or ended:  # who says nothing but nonsense is sent away
            pair.close()
            pair = both.imap()
        pair.do(b"SELECT INBOX")
        ours, theirs = pair.do(command.encode())
        ended = bool({"+", "BYE"} & {ours.condition, theirs.condition})
        if ours.condition != theirs.condition:
            different[command] = f"{ours.condition} {ours.text}; Dovecot {theirs.condition} {theirs.text}"
    pair.close()
    stricter = {command for commands in STRICTER.values() for command in commands}
    assert {
        command: said for command, said in different.items() if command not in stricter | set(RICHER)
    } == {}
    assert {command for command, said in different.items() if said.startswith("OK")} == set(RICHER)
    assert stricter | set(RICHER) == set(different)


def test_without_a_mailbox_commands_about_messages_are_refused(both: Both) -> None:
    pair = both.imap()
    for command in (
        b"FETCH 1 FLAGS",
        b"SEARCH ALL",
        b"EXPUNGE",
        b"CLOSE",
        b"CHECK",
        b"STORE 1 FLAGS (a)",
        b"COPY 1 INBOX",
    ):
        ours, theirs = pair.do(command)
        assert (ours.condition, theirs.condition) == ("BAD", "BAD"), command
    pair.close()
