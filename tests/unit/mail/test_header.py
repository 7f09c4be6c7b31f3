"""Header sections: find, count, remove, add; trace fields and dates; encoded words."""

from __future__ import annotations

import email
import email.utils
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import dates, words
from posthouse.mail.envelope import Client
from posthouse.mail.header import HeaderIndex, add_fields, field_value_text, remove_fields
from posthouse.mail.received import delivered_to, hop_count, received_field

HEAD = (
    b"Received: from a\r\n\tby b\r\n"
    b"received : second\r\n"
    b"Subject: =?utf-8?q?J=C3=BC?=\r\n =?utf-8?q?rgen?= here\r\n"
    b"X-Subject: other\r\n"
    b"To: alice@north.test\r\n"
    b"Too: no\r\n"
    b"Empty:\r\n"
    b"a line that is no field\r\n"
    b"Cc: last\r\n\r\n"
)


def test_fields_are_found_whatever_their_case_folding_and_space_before_the_colon() -> None:
    header = HeaderIndex(HEAD)
    assert header.first("subject") == b"=?utf-8?q?J=C3=BC?= =?utf-8?q?rgen?= here"
    assert header.all("RECEIVED") == [b"from a\tby b", b"second"]
    assert header.first("To") == b"alice@north.test"
    assert header.first("Empty") == b""
    assert header.first("Cc") == b"last"
    assert header.first("Bcc") is None
    assert header.count("Received") == 2


def test_names_and_places_of_all_fields_give_back_the_octets() -> None:
    fields = HeaderIndex(HEAD).fields
    assert [name for name, _, _ in fields] == [
        b"Received", b"received", b"Subject", b"X-Subject", b"To", b"Too", b"Empty", b"Cc",
    ]  # fmt: skip
    _, start, end = fields[2]
    assert HEAD[start:end] == b"Subject: =?utf-8?q?J=C3=BC?=\r\n =?utf-8?q?rgen?= here\r\n"


def test_removing_fields_leaves_all_else_to_the_octet() -> None:
    assert (
        remove_fields(HEAD, ["RECEIVED", "cc"]) == HEAD[HEAD.index(b"Subject") : HEAD.index(b"Cc")] + b"\r\n"
    )
    assert remove_fields(HEAD, ["Bcc"]) == HEAD


@pytest.mark.parametrize("head", [HEAD, b"\r\n", b"", b"A: b\r\n", b"A: b"])
def test_fields_are_added_before_the_empty_line(head: bytes) -> None:
    grown = add_fields(head, b"New: x\r\n")
    assert HeaderIndex(grown).first("New") == b"x"
    assert HeaderIndex(grown).first("A") == HeaderIndex(head).first("A")
    assert grown.endswith(b"\r\n\r\n") == (head == b"\r\n" or head.endswith(b"\r\n\r\n"))


def test_a_value_is_told_as_text_whatever_its_charset() -> None:
    assert field_value_text(HeaderIndex(HEAD).first("Subject") or b"") == "Jürgen here"
    assert field_value_text("Grüße".encode()) == "Grüße"
    assert field_value_text("Grüße".encode("cp1252")) == "Grüße"
    assert field_value_text(b"=?iso-8859-1?Q?a_=FCb?= =?unknown?b?xyz=?= =?idna?q?xn--?=").startswith("a üb")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_encoded_words_are_read_back_by_us_and_by_others(text: str) -> None:
    written = words.encode(text)
    assert words.decode(written) == text
    assert written.isascii()
    if written != text:
        assert all(len(word) <= 75 for word in written.split(" "))
        assert str(make_header(decode_header(written))) == text


@given(st.binary(max_size=200))
def test_no_header_value_is_beyond_decoding(raw: bytes) -> None:
    assert isinstance(field_value_text(b"=?utf-8?q?" + raw + b"?= =?big5?b?" + raw + b"?="), str)


@given(st.integers(0, 4_000_000_000), st.integers(-720, 840))
def test_a_date_is_read_back_by_us_and_by_others(epoch: int, offset: int) -> None:
    written = dates.format_date(epoch, offset)
    assert dates.parse_date(written) == epoch
    assert email.utils.parsedate_to_datetime(written).timestamp() == epoch
    assert dates.parse_imap_datetime(dates.imap_datetime(epoch)) == epoch
    assert dates.parse_imap_datetime(f'"{dates.imap_datetime(epoch)}"') == epoch
    assert len(dates.imap_datetime(epoch)) == 26


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 2 Nov 2026 13:04:05 +0000",
        "2 Nov 2026 13:04:05 GMT",
        "Mon,  2 Nov 26 08:04:05 EST",
        "Mon, 02 Nov 2026 14:04:05 +0100 (CET)",
        "Mon Nov  2 13:04:05 2026",
        "Monday, 2 November 2026 13:04:05 -0000",
        "02-Nov-2026 13:04:05",
        # RFC 5322 §4.3
        "Mon , 2 Nov 2026 13 : 04 : 05 +0000",
        "Mon, (a) 2 (b) Nov 2026 13:04:05 +0000",
    ],
)
def test_dates_as_people_write_them_are_understood(value: str) -> None:
    assert dates.parse_date(value) == 1793624645


@pytest.mark.parametrize(
    "value", ["", "yesterday", "99 Nov 2026 00:00:00 +0000", "2 Foo 2026 00:00:00", "2 Nov 2026"]
)
def test_what_is_no_date_is_none(value: str) -> None:
    assert dates.parse_date(value) is None


def test_imap_dates_out_of_grammar_are_none() -> None:
    assert dates.parse_imap_datetime("2026-11-02 13:04:05 +0000") is None
    assert dates.parse_imap_datetime("31-Feb-2026 13:04:05 +0000") is None


CLIENT = Client("192.0.2.1", 4711, "mx.north.test", "ESMTPS", "TLSv1.3 TLS_AES_256_GCM_SHA384")


def test_the_trace_field_names_who_whom_how_and_when() -> None:
    field = received_field(CLIENT, "mail.south.test", "0sa4pyy380c00", 1793624645.7, "bob@south.test")
    assert HeaderIndex(field).first("Received") == (
        b"from mx.north.test ([192.0.2.1])\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)"
        b"\tby mail.south.test (Posthouse) with ESMTPS id 0sa4pyy380c00"
        b"\tfor <bob@south.test>; Mon, 2 Nov 2026 13:04:05 +0000"
    )
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))


def test_the_trace_field_keeps_a_users_whereabouts_to_itself() -> None:
    client = CLIENT._replace(user="alice@north.test", helo="laptop.home", protocol="ESMTPSA")
    field = received_field(client, "mail.north.test", "0sa4pyy380c00", 0, None)
    assert b"192.0.2.1" not in field
    assert b"laptop" not in field
    assert b"alice" not in field
    assert b"with ESMTPSA id 0sa4pyy380c00;" in field


def test_a_hostile_greeting_cannot_add_fields_or_comments() -> None:
    client = CLIENT._replace(helo="x)\r\nBcc: all@north.test (", address="2001:db8::1")
    field = received_field(client, "mail.south.test", "0sa4pyy380c00", 0, None)
    assert len(HeaderIndex(field).fields) == 1
    assert b"from x???Bcc:?all?north.test?? ([IPv6:2001:db8::1])" in field


def test_a_recipient_beyond_ascii_is_named_only_under_smtputf8() -> None:
    assert b"for <" not in received_field(CLIENT, "h.test", "x", 0, "jürgen@south.test")
    utf8 = CLIENT._replace(protocol="UTF8SMTPS")
    assert "for <jürgen@south.test>".encode() in received_field(utf8, "h.test", "x", 0, "jürgen@south.test")


def test_hops_and_former_mailboxes_are_read_from_the_head() -> None:
    head = b"Delivered-To: Bob@South.test\r\n" + HEAD[:-2] + b"Delivered-To: <carol@east.test>\r\n\r\n"
    assert hop_count(HeaderIndex(head)) == 2
    assert delivered_to(HeaderIndex(head)) == ["bob@south.test", "carol@east.test"]


def test_our_fields_are_fields_to_the_standard_library() -> None:
    field = received_field(CLIENT, "mail.south.test", "0sa4pyy380c00", 0, "bob@south.test")
    parsed = email.message_from_bytes(field + b"Subject: x\r\n\r\n")
    assert [name for name, _ in parsed.items()] == ["Received", "Subject"]
    assert email.utils.parsedate_to_datetime(parsed["Received"].rpartition(";")[2]).timestamp() == 0


@pytest.mark.parametrize(
    ("epoch", "wanted"),
    [
        (-62_135_640_000.0, " 1-Jan-0001 00:00:00 +0000"),
        (253_402_343_999.0, "31-Dec-9999 23:59:59 +0000"),
        (-1.5, "31-Dec-1969 23:59:58 +0000"),
    ],
)
def test_a_moment_beyond_four_digits_of_year_can_be_told(epoch: float, wanted: str) -> None:
    assert dates.imap_datetime(epoch) == wanted
