"""Every command in every state: obeyed where RFC 5321 §4.1.4 allows it, else refused as it should be."""

from __future__ import annotations

import pytest

from posthouse.protocol.smtp import verbs
from tests.transcripts import smtp

COMMANDS = {
    "HELO": b"HELO client.example\r\n",
    "EHLO": b"EHLO client.example\r\n",
    "LHLO": b"LHLO client.example\r\n",
    "MAIL": b"MAIL FROM:<alice@example.net>\r\n",
    "RCPT": b"RCPT TO:<bob@example.org>\r\n",
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT 3\r\nabc",
    "BURL": b"BURL imap://h/hello\r\n",
    "RSET": b"RSET\r\n",
    "NOOP": b"NOOP\r\n",
    "QUIT": b"QUIT\r\n",
    "VRFY": b"VRFY bob\r\n",
    "EXPN": b"EXPN team\r\n",
    "HELP": b"HELP\r\n",
    "STARTTLS": b"STARTTLS\r\n",
    "AUTH": b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
}
HELLO = {False: COMMANDS["EHLO"], True: COMMANDS["LHLO"]}
STATES = {
    "greeted": [],
    "ready": ["hello"],
    "mail": ["hello", "MAIL"],
    "mail, recipient refused": ["hello", "MAIL", "refused"],
    "rcpt": ["hello", "MAIL", "RCPT"],
    "chunks": ["hello", "MAIL", "RCPT", "BDAT"],
    "authenticated": ["hello", "AUTH"],
    "after a letter": ["hello", "MAIL", "RCPT", "letter"],
}
# fmt: off
EXPECTED: dict[str, dict[str, int]] = {
    "HELO": dict.fromkeys(STATES, 250), "EHLO": dict.fromkeys(STATES, 250),
    "RSET": dict.fromkeys(STATES, 250),
    "NOOP": dict.fromkeys(STATES, 250), "QUIT": dict.fromkeys(STATES, 221),
    "VRFY": dict.fromkeys(STATES, 250),
    "EXPN": dict.fromkeys(STATES, 250), "HELP": dict.fromkeys(STATES, 214),
    "LHLO": dict.fromkeys(STATES, 500),
    "MAIL": {"greeted": 503, "ready": 250, "mail": 503, "mail, recipient refused": 503, "rcpt": 503,
             "chunks": 503, "authenticated": 250, "after a letter": 250},
    "RCPT": {"greeted": 503, "ready": 503, "mail": 250, "mail, recipient refused": 250, "rcpt": 250,
             "chunks": 503, "authenticated": 503, "after a letter": 503},
    "DATA": {"greeted": 503, "ready": 503, "mail": 503, "mail, recipient refused": 554, "rcpt": 354,
             "chunks": 503, "authenticated": 503, "after a letter": 503},
    "BDAT": {"greeted": 503, "ready": 503, "mail": 503, "mail, recipient refused": 503, "rcpt": 250,
             "chunks": 250, "authenticated": 503, "after a letter": 503},
    "BURL": {"greeted": 503, "ready": 503, "mail": 503, "mail, recipient refused": 554, "rcpt": 250,
             "chunks": 250, "authenticated": 503, "after a letter": 503},
    "STARTTLS": {"greeted": 503, "ready": 220, "mail": 503, "mail, recipient refused": 503, "rcpt": 503,
                 "chunks": 503, "authenticated": 220, "after a letter": 220},
    "AUTH": {"greeted": 503, "ready": 235, "mail": 503, "mail, recipient refused": 503, "rcpt": 503,
             "chunks": 503, "authenticated": 503, "after a letter": 235},
}
# fmt: on


def in_state(state: str, *, lmtp: bool) -> smtp.Desk:
    options = {"auth", "starttls", "lmtp" if lmtp else "burl"}
    desk = smtp.open_desk(frozenset(options))
    desk.answer()
    for step in STATES[state]:
        if step == "hello":
            desk.session.receive(HELLO[lmtp])
        elif step == "refused":
            desk.session.receive(b"RCPT TO:<gone@example.org>\r\n")
        elif step == "letter":
            desk.session.receive(b"DATA\r\n.\r\n")
        else:
            desk.session.receive(COMMANDS[step])
        desk.answer()
    return desk


def test_the_matrix_knows_every_verb() -> None:
    assert {name.decode() for name in verbs.VERBS} == set(COMMANDS) == set(EXPECTED)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_command_in_state(verb: str, state: str, lmtp: bool) -> None:
    # given
    desk = in_state(state, lmtp=lmtp)
    expected = EXPECTED[verb][state]
    if lmtp:
        if verb in ("HELO", "EHLO"):
            expected = 500  # RFC 2033 §4.1
        elif verb == "LHLO":
            expected = 250
        elif verb == "BURL":
            expected = 502  # RFC 4468 §3.1: for submission alone
        elif (verb, state) == ("DATA", "mail, recipient refused"):
            expected = 503  # RFC 2033 §4.2
    # when
    desk.session.receive(COMMANDS[verb])
    output = desk.answer().decode()
    # then
    assert int(output[:3]) == expected, output
    assert desk.session.closing == (verb == "QUIT")
    assert desk.session.wants_tls == (expected == 220)


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if verb != "QUIT"])
@pytest.mark.parametrize("state", ["greeted", "ready", "mail", "rcpt"])
def test_a_refused_command_leaves_the_state_as_it_was(verb: str, state: str) -> None:
    # given
    desk = in_state(state, lmtp=False)
    desk.session.receive(COMMANDS[verb])
    if int(desk.answer()[:3]) < 400:
        return
    # when: what the state allows is said
    follows = {"greeted": "EHLO", "ready": "MAIL", "mail": "RCPT", "rcpt": "DATA"}[state]
    desk.session.receive(COMMANDS[follows])
    # then
    assert int(desk.answer()[:3]) == EXPECTED[follows][state]
