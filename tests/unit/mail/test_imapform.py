"""What FETCH returns: ENVELOPE, BODYSTRUCTURE, BODY and sections."""

from __future__ import annotations

import pytest

from posthouse.mail import imapform, mailboxes
from posthouse.mail.header import HeaderIndex
from posthouse.mail.mime import scan
from posthouse.mail.section import Section, parse_section, ranges


def letter(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


MIXED = letter(
    """From: alice@north.test
Subject: whole
Content-Type: multipart/mixed; boundary=out

--out
Content-Type: text/plain; charset=utf-8

Hello
--out
Content-Type: message/rfc822
Content-Description: forwarded

From: bob@south.test
Subject: inside
X-Other: yes
Content-Type: multipart/alternative; boundary=in

--in

one
--in
Content-Type: text/html
Content-Language: en, de
Content-Disposition: inline; filename="a \\"b\\".html"

two
--in--
--out--
"""
)


def test_an_envelope_has_ten_fields_and_from_stands_in_for_sender_and_reply_to() -> None:
    head = letter(
        'Date: Mon, 2 Nov 2026 13:04:05 +0000\nSubject: Hello "you"\nFrom: Alice <alice@north.test>\n'
        "To: bob@south.test, Carol <carol@east.test>\nIn-Reply-To: <0@x>\nMessage-ID: <1@x>\n\n"
    )
    alice = b'(("Alice" NIL "alice" "north.test"))'
    assert imapform.envelope(HeaderIndex(head)) == (
        b'("Mon, 2 Nov 2026 13:04:05 +0000" "Hello \\"you\\"" ' + b" ".join([alice] * 3) + b" "
        b'((NIL NIL "bob" "south.test")("Carol" NIL "carol" "east.test")) NIL NIL "<0@x>" "<1@x>")'
    )


def test_a_letter_without_a_header_has_an_envelope_of_nils() -> None:
    assert imapform.envelope(HeaderIndex(b"")) == b"(" + b" ".join([b"NIL"] * 10) + b")"


def test_repeated_address_fields_cannot_hide_one_another() -> None:
    head = letter("From: alice@north.test\nfrom: mallory@east.test\n\n")
    assert b'((NIL NIL "alice" "north.test")(NIL NIL "mallory" "east.test"))' in imapform.envelope(
        HeaderIndex(head)
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"plain", b'"plain"'),
        (b"", b'""'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        ("Grüße".encode(), b"{7}\r\nGr\xc3\xbc\xc3\x9fe"),
        (b"a\tb", b"{3}\r\na\tb"),
        (b"a\0b\x80", b"{3}\r\nab\x80"),
        (b"x" * 2000, b"{2000}\r\n" + b"x" * 2000),
    ],
)
def test_strings_are_quoted_where_that_is_safe_and_literal_elsewhere(value: bytes, written: bytes) -> None:
    assert imapform.string(value) == written


def test_bodystructure_and_body_tell_the_whole_tree() -> None:
    root = scan(MIXED)
    inner = root.parts[1].message
    assert inner is not None
    envelope = imapform.envelope(HeaderIndex(inner.header))
    message = root.parts[1]
    assert imapform.bodystructure(root) == (
        b'(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 0 NIL NIL NIL NIL)'
        b'("message" "rfc822" NIL NIL "forwarded" "7bit" %d %b '
        b'(("text" "plain" NIL NIL NIL "7bit" 3 0 NIL NIL NIL NIL)'
        b'("text" "html" NIL NIL NIL "7bit" 3 0 NIL ("inline" ("filename" "a \\"b\\".html")) ("en" "de") NIL)'
        b' "alternative" ("boundary" "in") NIL NIL NIL) %d NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "out") NIL NIL NIL)'
    ) % (message.size, envelope, message.lines)
    assert imapform.body(root) == (
        b'(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 0)'
        b'("message" "rfc822" NIL NIL "forwarded" "7bit" %d %b '
        b'(("text" "plain" NIL NIL NIL "7bit" 3 0)("text" "html" NIL NIL NIL "7bit" 3 0) "alternative") %d)'
        b' "mixed")'
    ) % (message.size, envelope, message.lines)


def test_a_multipart_without_parts_is_still_valid_to_a_client() -> None:
    root = scan(letter("Content-Type: multipart/mixed; boundary=x\n\nnothing\n"))
    assert imapform.body(root) == b'(("text" "plain" NIL NIL NIL "7bit" 0 0) "mixed")'


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        ("", MIXED),
        ("HEADER", MIXED[: MIXED.index(b"--out")]),
        ("TEXT", MIXED[MIXED.index(b"--out") :]),
        ("1", b"Hello"),
        ("1.MIME", letter("Content-Type: text/plain; charset=utf-8\n\n")),
        ("2.MIME", letter("Content-Type: message/rfc822\nContent-Description: forwarded\n\n")),
        ("2", MIXED[MIXED.index(b"From: bob") : MIXED.index(b"\r\n--out--")]),
        ("2.HEADER", MIXED[MIXED.index(b"From: bob") : MIXED.index(b"--in\r\n")]),
        ("2.TEXT", MIXED[MIXED.index(b"--in\r\n") : MIXED.index(b"\r\n--out--")]),
        ("2.1", b"one"),
        ("2.2", b"two"),
        ("HEADER.FIELDS (subject FROM)", letter("From: alice@north.test\nSubject: whole\n\n")),
        ('2.HEADER.FIELDS ("X-Other")', letter("X-Other: yes\n\n")),
        (
            "2.HEADER.FIELDS.NOT (X-Other Content-Type)",
            letter("From: bob@south.test\nSubject: inside\n\n"),
        ),
        ("HEADER.FIELDS (Absent)", b"\r\n"),
    ],
)
def test_a_section_is_the_octets_it_names(section: str, octets: bytes) -> None:
    found = ranges(scan(MIXED), parse_section(section))
    assert found is not None
    assert b"".join(MIXED[start:end] for start, end in found) == octets


@pytest.mark.parametrize("section", ["3", "1.1", "2.3", "1.HEADER", "1.TEXT", "2.1.1"])
def test_a_section_that_is_not_there_is_none(section: str) -> None:
    assert ranges(scan(MIXED), parse_section(section)) is None


def test_part_1_of_a_letter_that_is_no_multipart_is_its_body() -> None:
    data = letter("Subject: x\n\nbody\n")
    assert ranges(scan(data), parse_section("1")) == [(data.index(b"body"), len(data))]
    assert ranges(scan(data), parse_section("1.MIME")) == [(0, data.index(b"body"))]
    assert ranges(scan(data), parse_section("1.1")) is None


def test_fields_of_a_header_longer_than_is_kept_are_read_from_the_letter() -> None:
    data = letter("X: " + "y" * 600_000 + "\nSubject: late\n\n")
    root = scan(data)
    wanted = parse_section("HEADER.FIELDS (Subject)")
    assert ranges(root, wanted, lambda start, end: data[start:end]) == [(len(data) - 17, len(data))]


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "1.",
        ".1",
        "MIME",
        "HEADER.FIELDS",
        "HEADER.FIELDS ()",
        "HEADER (a)",
        "1.FOO",
        "1 ",
        "1" * 10,
        "1.0",
    ],
)
def test_a_section_out_of_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_section(text)


def test_a_section_is_understood_without_regard_to_case() -> None:
    assert parse_section("1.2.header.fields (From)") == Section((1, 2), "HEADER.FIELDS", ("From",))


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        (b"a@b.c (Al (the) Ice)", [(b"Al (the) Ice", None, b"a", b"b.c")]),
        (b'"q r"@s.t', [(None, None, b"q r", b"s.t")]),
        (
            b"<@r.test,@s.test:x@y.z>, a@b.c",
            [(None, b"@r.test,@s.test", b"x", b"y.z"), (None, None, b"a", b"b.c")],
        ),
        (b"friends:;", [(None, None, b"friends", None), (None, None, None, None)]),
        (
            b"f: a@b.c; , d@e.f",
            [
                (None, None, b"f", None),
                (None, None, b"a", b"b.c"),
                (None, None, None, None),
                (None, None, b"d", b"e.f"),
            ],
        ),
        (b"root", [(None, None, b"root", b"")]),
        (b"John Q. Public <j@q.test>", [(b"John Q. Public", None, b"j", b"q.test")]),
        (b"x@[192.0.2.1]", [(None, None, b"x", b"[192.0.2.1]")]),
        (b"Alice a@b.c>", [(b"Alice", None, b"a", b"b.c")]),
        (b"Alice <<a@b.c>>", [(b"Alice", None, b"a", b"b.c")]),
        (b"a@b.c Alice", [(None, None, b"a", b"b.c")]),
        (b"a . b @ (x) c . d", [(b"x", None, b"a.b", b"c.d")]),
        (b",, a@b.c ,", [(None, None, b"a", b"b.c")]),
        (b"", []),
    ],
)
def test_address_lists_are_read_as_imap_tells_them(value: bytes, entries: list[tuple[object, ...]]) -> None:
    assert [tuple(entry) for entry in mailboxes.parse(value)] == entries
