"""Downgrading: internationalized letters in ASCII (RFC 6857)."""

from __future__ import annotations

import email.policy
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import downgrade, words
from posthouse.mail.content import end_of_head
from posthouse.mail.header import HeaderIndex
from posthouse.mail.mime import scan


def downgraded(letter: bytes) -> bytes:
    """The letter as it goes out."""
    root = scan(letter)
    statuses = {part.body_start: letter[part.body_start : part.end] for part in downgrade.status_parts(root)}
    pieces, position = [], 0
    for start, end, octets in downgrade.edits(letter[: end_of_head(letter)], root, statuses):
        assert position <= start < end
        pieces += [letter[position:start], octets]
        position = end
    return b"".join([*pieces, letter[position:]])


def field(line: str) -> str:
    """A field as it goes out, on one line."""
    written = downgraded(f"{line}\r\n\r\nbody\r\n".encode())
    assert written.endswith(b"\r\n\r\nbody\r\n")
    head = written.removesuffix(b"\r\n\r\nbody\r\n").decode("ascii")
    assert all(len(one) <= 78 for one in head.split("\r\n"))
    return head.replace("\r\n", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # §3.1.1, §3.2.6: text; only what is not ASCII
        ("Subject: Re: Grüße aus Köln [list]", "Subject: Re: Grüße aus Köln [list]"),
        ("Subject: =?utf-8?q?a=20?= ü", "Subject: a  ü"),
        ("X-Mood: größer", "X-Mood: größer"),
        ("List-Id: Größe <list.example.org>", "List-Id: Größe <list.example.org>"),
        # §3.1.3, §3.2.2
        ("Date: Mon, 2 Nov 2026 13:04:05 +0000 (für uns)", "Date: Mon, 2 Nov 2026 13:04:05 +0000 (für uns)"),
        # §3.1.5, §3.1.6, §3.1.8
        ("From: Jürgen <j@example.org>", "From: Jürgen <j@example.org>"),
        ("From: <j@größe.example>", "From: j@xn--gre-6ka8i.example"),
        ("From: Juergen <jürgen@example.org>", "From: Juergen jürgen@example.org :;"),
        ("From: jürgen@größe.example", "From: jürgen@größe.example :;"),
        ('To: "Smith, Jo" <s@x.example>, Ü <u@x.example>', 'To: "Smith, Jo" <s@x.example>, Ü <u@x.example>'),
        # §3.1.7
        ("To: Freunde: ü@x.example, b@x.example;", "To: Freunde ü@x.example, b@x.example :;"),
        ("To: Ämter: a@größe.example;", "To: Ämter: a@xn--gre-6ka8i.example;"),
        # §3.1.10, §3.2.3
        ("Message-ID: <ü@x.example>", "Downgraded-Message-ID: <ü@x.example>"),
        ("References: <a@x> <ü@x>", "Downgraded-References: <a@x> <ü@x>"),
        ("In-Reply-To: <a@x> (von Jürgen)", "In-Reply-To: <a@x> (von Jürgen)"),
        # §3.2.4
        (
            "Received: from größe.example by b id 1; Mon",
            "Received: from xn--gre-6ka8i.example by b id 1; Mon",
        ),
        ("Received: from a by b for <ü@x.example>; Mon", "Received: from a by b; Mon"),
        ("Received: from a by b id ü for <c@x.example>; Mon", "Received: from a by b for <c@x.example>; Mon"),
        # §3.2.7
        ("Keywords: eins, zwölf", "Keywords: eins, zwölf"),
        # §3.1.9, RFC 6533 §3
        ("Original-Recipient: utf-8; ü@x.example", r"Original-Recipient: utf-8;\x{FC}@x.example"),
        ("Final-Recipient: x400; ü", "Downgraded-Final-Recipient: x400; ü"),
    ],
)
def test_each_kind_of_field_says_in_ascii_what_it_said(before: str, after: str) -> None:
    written = field(before)
    assert words.decode(written) == after


def test_parameters_become_extended_ones_and_clients_read_them() -> None:
    name = "Übersicht (zwölf).txt"
    long = "ü" * 400 + ".txt"
    for wanted in (name, long):
        letter = f'Content-Disposition: attachment; filename="{wanted}"; size=1\r\n\r\n'.encode()
        read = BytesParser(policy=email.policy.default).parsebytes(downgraded(letter))
        assert read.get_filename() == wanted
        assert read["Content-Disposition"].params["size"] == "1"


def test_parts_and_letters_within_are_downgraded_and_bodies_are_not() -> None:
    # given an ASCII head, a part with a name in UTF-8, a letter within it, and the report of a delivery
    letter = (
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        '--b\r\nContent-Type: text/plain; charset=utf-8; name="ü"\r\n\r\nSubject: Größe\r\n'
        "--b\r\nContent-Type: message/global\r\n\r\nSubject: Grüße\r\n\r\nGrüße\r\n"
        "--b\r\nContent-Type: message/global-delivery-status\r\n\r\n"
        "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: utf-8; ü@x\r\nDiagnostic-Code: smtp; ü\r\n"
        "--b--\r\n"
    ).encode()
    # when, then
    assert (
        downgraded(letter)
        == (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            "--b\r\nContent-Type: text/plain; charset=\"utf-8\"; name*=utf-8''%C3%BC\r\n\r\n"
            "Subject: Größe\r\n"
            "--b\r\nContent-Type: message/global\r\n\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\nGrüße\r\n"
            "--b\r\nContent-Type: message/global-delivery-status\r\n\r\n"
            "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: utf-8;\\x{FC}@x\r\nDiagnostic-Code: smtp; ü\r\n"
            "--b--\r\n"
        ).encode()
    )


def test_what_is_ascii_or_of_unknown_charset_stays_to_the_octet() -> None:
    letter = b"Subject: gr\xfc\xdfe\r\nFrom : a@x (Bob)\nTo:   b@x\r\n\r\n\xfc\r\n"
    assert downgraded(letter) == letter


def test_a_field_that_is_downgraded_leaves_its_neighbours_alone() -> None:
    letter = "A:  b \r\nSubject: ü\nX-Latin: ".encode() + b"\xfc\r\n\r\n"
    assert downgraded(letter) == b"A:  b \r\nSubject: =?utf-8?B?w7w=?=\nX-Latin: \xfc\r\n\r\n"


_NAMES = st.sampled_from(sorted([*downgrade._METHODS, "subject", "x-any"]))
_VALUE = st.text(
    st.sampled_from("aü水 \t\r\n\"<>()[]@,;:\\=?*'%.{}-") | st.characters(codec="utf-8"), max_size=60
)


@given(st.lists(st.tuples(_NAMES, _VALUE), max_size=6))
def test_whatever_is_utf_8_comes_out_in_ascii(fields: list[tuple[str, str]]) -> None:
    # given fields of anything at all, folded where they have several lines
    lines = "".join(f"{name}: {' '.join(value.splitlines())}\r\n" for name, value in fields)
    letter = f"{lines}\r\n".encode()
    written = downgraded(letter)
    # then all of it is ASCII, there are as many fields, and there is nothing left to do
    assert written.isascii()
    assert len(HeaderIndex(written).fields) == len(fields)
    assert end_of_head(written) == len(written)
    assert downgraded(written) == written
