"""The client's side of IMAP: what servers say is read strictly, in whatever pieces it comes."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.protocol.imap.client import CannotSay, ImapClient, decoded_name
from posthouse.protocol.imap.responses import (
    BODY_LIMIT,
    LITERAL_LIMIT,
    Data,
    ImapProtocolError,
    Octets,
    ResponseReader,
    Status,
)

TALK = (
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Hello there\r\n"
    b'* LIST (\\HasNoChildren \\Sent) "/" "Sent \\"Mail\\""\r\n'
    b"* LIST () NIL {4}\r\nA(B)\r\n"
    b"* STATUS INBOX (MESSAGES 2 UIDNEXT 9)\r\n"
    b'* 1 FETCH (UID 7 FLAGS (\\Seen $x) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 300)\r\n'
    b"* 2 FETCH (BODY[] {12}\r\nSubject: {3} UID 8)\r\n"
    b'* 3 FETCH (UID 9 BODY[] "small")\r\n'
    b"* SEARCH\r\n"
    b"+ go on\r\n"
    b"A1 NO [AUTHENTICATIONFAILED] no\r\n"
)
READ = [
    Status("", "OK", "CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN", "Hello there"),
    Data("LIST", 0, [[b"\\HasNoChildren", b"\\Sent"], b"/", b'Sent "Mail"']),
    Data("LIST", 0, [[], None, b"A(B)"]),
    Data("STATUS", 0, [b"INBOX", [b"MESSAGES", b"2", b"UIDNEXT", b"9"]]),
    Data(
        "FETCH",
        1,
        [
            [
                *(b"UID", b"7", b"FLAGS", [b"\\Seen", b"$x"]),
                *(b"INTERNALDATE", b"17-Jul-1996 02:44:25 -0700", b"RFC822.SIZE", b"300"),
            ]
        ],
    ),
    Octets(b"Subject: {3}"),
    Data("FETCH", 2, [[b"BODY[]", b"", b"UID", b"8"]]),
    Data("FETCH", 3, [[b"UID", b"9", b"BODY[]", b"small"]]),
    Data("SEARCH", 0, []),
    Status("+", "", "", "go on"),
    Status("A1", "NO", "AUTHENTICATIONFAILED", "no"),
]


def read(pieces: list[bytes]) -> list:
    """All responses, pieces of one body joined."""
    reader = ResponseReader()
    found: list = []
    for piece in pieces:
        reader.receive(piece)
        while (response := reader.next()) is not None:
            if isinstance(response, Octets) and found and isinstance(found[-1], Octets):
                response = Octets(found.pop().octets + response.octets)
            found.append(response)
    return found


def test_each_kind_of_response_is_read() -> None:
    assert read([TALK]) == READ


@given(st.lists(st.integers(0, len(TALK)), max_size=20))
def test_it_does_not_matter_in_which_pieces_it_comes(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TALK)]
    assert read([TALK[start:end] for start, end in pairwise(edges)]) == READ


def test_byte_by_byte() -> None:
    assert read([bytes([octet]) for octet in TALK]) == READ


@pytest.mark.parametrize(
    "said",
    [
        b"hello\r\n",
        b"* 1 FETCH (UID 7\r\n",
        b"* LIST ())) x\r\n",
        b'* LIST () "/" "open\r\n',
        b"* LIST " + b"(" * 40 + b")" * 40 + b"\r\n",
        b"* LIST () NIL {%d}\r\n" % (LITERAL_LIMIT + 1),
        b"* 1 FETCH (BODY[] {%d}\r\n" % (BODY_LIMIT + 1),
        b"* OK bare \n line\r\n",
        b"x" * 2_000_000,
        b"* LIST () NIL {60000}\r\n" * 40 + b"y" * 60_000,
    ],
)
def test_what_is_not_imap_or_without_bounds_ends_the_connection(said: bytes) -> None:
    with pytest.raises(ImapProtocolError):
        read([said] + [b"z" * 60_000 + b" {60000}\r\n"] * 60)


@given(st.binary(max_size=300))
def test_anything_at_all_is_read_or_refused(octets: bytes) -> None:
    for start in (b"", b"* ", b"* 1 FETCH (", b"* LIST (", b"A1 OK ["):
        try:
            read([start + octets + b"\r\n"])
        except ImapProtocolError:
            continue


def said(client: ImapClient) -> str:
    return client.take_output().decode()


def test_a_user_logs_in_and_a_master_on_his_behalf() -> None:
    client = ImapClient()
    client.login("alice", 'pass"word')
    client.login("alice", "secret", "boss")
    assert said(client) == 'A1 LOGIN "alice" "pass\\"word"\r\nA2 LOGIN "alice*boss" "secret"\r\n'

    client.learn(["IMAP4rev1", "SASL-IR", "auth=plain"])
    client.login("alice", "sécret", "boss")
    plain = base64.b64encode("alice\0boss\0sécret".encode()).decode()
    assert said(client) == f"A3 AUTHENTICATE PLAIN {plain}\r\n"


def test_a_password_that_cannot_be_said_is_a_problem() -> None:
    with pytest.raises(CannotSay):
        ImapClient().login("alice", "sécret")


def test_lists_and_fetches_are_said_as_the_server_understands_them() -> None:
    client = ImapClient()
    client.list_mailboxes()
    client.fetch_bodies([3, 4, 5, 9])
    client.fetch_marks(1, 1000)
    client.examine(b'a "b"')
    assert said(client).splitlines() == [
        'A1 LIST "" "*"',
        'A2 LSUB "" "*"',
        "A3 UID FETCH 3:5,9 (UID BODY.PEEK[])",
        "A4 UID FETCH 1:1000 (UID FLAGS INTERNALDATE RFC822.SIZE)",
        'A5 EXAMINE "a \\"b\\""',
    ]


@pytest.mark.parametrize(
    ("wire", "separator", "name"),
    [
        (b"INBOX.Sent", b".", "INBOX/Sent"),
        (b"J&APw-rgen/x", b".", "Jürgen_x"),
        (b"A/B", b"/", "A/B"),
        (b"x&y", None, "x&y"),
    ],
)
def test_names_come_with_our_separator(wire: bytes, separator: bytes | None, name: str) -> None:
    assert decoded_name(wire, separator) == name
