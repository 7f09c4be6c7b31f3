"""Letters of our own making are read by others as they were meant."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from posthouse.mail import codes
from posthouse.mail.address import parse_address
from posthouse.mail.compose import Attachment, field, message

ALICE = ("Alice Äsop", parse_address("alice@north.test"))
BOB = ('Bob, "the builder"', parse_address("bob@south.test"))


def read(**more: object) -> EmailMessage:
    arguments: dict[str, object] = {
        "sender": ALICE, "to": [BOB], "date": 1793624645, "message_id": "1@north.test", "boundary": "=_b",
    } | more  # fmt: skip
    composed = message(**arguments)  # type: ignore[arg-type]
    assert b"\n" not in composed.replace(b"\r\n", b"")
    assert composed.isascii()
    assert all(len(line) <= 998 for line in composed.split(b"\r\n"))
    parsed = email.message_from_bytes(composed, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_names_subject_and_text_beyond_ascii_arrive() -> None:
    subject, text = "Grüße " * 40, "Hällo Bob\n.\nFrom now on\n" + "y" * 3000 + "\n"
    parsed = read(subject=subject, text=text, cc=[("", parse_address("carol@east.test"))])
    assert parsed["From"] == "Alice Äsop <alice@north.test>"
    assert parsed["To"].addresses[0].display_name == 'Bob, "the builder"'
    assert parsed["Cc"] == "carol@east.test"
    assert parsed["Subject"] == subject.strip()
    assert parsed["Date"].datetime.timestamp() == 1793624645
    assert parsed["Message-ID"] == "<1@north.test>"
    assert parsed.get_content().replace("\r\n", "\n") == text


def test_plain_text_stays_as_it_is() -> None:
    parsed = read(text="Hello\nBob\n")
    assert parsed["Content-Transfer-Encoding"] == "7bit"
    assert parsed.get_content() == "Hello\r\nBob\r\n"


@pytest.mark.parametrize("name", ["plan.pdf", "the plan.pdf", 'a "b" \\c.pdf', "Übersicht.pdf"])
def test_attachments_arrive_to_the_octet_under_their_name(name: str) -> None:
    data = bytes(range(256)) * 9
    parsed = read(text="see", attachments=[Attachment(name, "application/pdf", data)])
    (attachment,) = parsed.iter_attachments()
    assert attachment.get_filename() == name
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_content() == data


@pytest.mark.parametrize("kind", ["", "message/rfc822", "multipart/mixed", "a/b\r\nEvil: 1", "text"])
def test_a_type_that_cannot_stand_in_base64_becomes_plain_octets(kind: str) -> None:
    (attachment,) = read(attachments=[Attachment("x", kind, b"x")]).iter_attachments()
    assert attachment.get_content_type() == "application/octet-stream"


def test_values_cannot_smuggle_in_fields() -> None:
    parsed = read(
        sender=("Al\r\nBcc: all@north.test", parse_address("alice@north.test")),
        subject="x\r\nBcc: all@north.test",
        extra_fields=[("X-Test", "1\n\nbody")],
    )
    assert parsed["Bcc"] is None
    assert parsed["X-Test"] == "1  body" or parsed["X-Test"] == "1 body"


def test_long_fields_are_folded_at_spaces() -> None:
    folded = field("To", ", ".join(f"person{number}@north.test" for number in range(50)))
    assert max(len(line) for line in folded.split(b"\r\n")) <= 78
    assert folded.replace(b"\r\n ", b" ").count(b"\r\n") == 1


@pytest.mark.parametrize(
    ("reply", "says", "advises"),
    [
        ("550 5.1.1 <x@y>: unknown user", "no such mailbox", "Check the address"),
        ("450 4.2.0 Greylisted, see http://…", "greylisting", "tries again"),
        (
            "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org",
            "blocklist",
            "delisted",
        ),
        ("550 5.7.26 Unauthenticated email is not accepted due to DMARC policy", "DMARC", "DKIM"),
        ("550 SPF check failed", "SPF", "SPF record"),
        ("552 5.2.2 Mailbox full", "full", "later"),
        ("421 4.7.0 Too many connections from your IP", "limits", "tries again"),
        ("530 5.7.0 Must issue a STARTTLS command first", "encrypted", "TLS"),
        ("554 5.7.1 Relay access denied", "own domains", "MX"),
        ("5.7.25", "no name in DNS", "PTR"),
        ("550-5.4.6 x", "round in circles", "administrator"),
        ("421", "closes the connection", "tries again"),
        ("556", "takes no mail", "Check the address"),
        ("593 strange", "will not work", "no use"),
    ],
)
def test_replies_are_explained_in_plain_words(reply: str, says: str, advises: str) -> None:
    explained = codes.explain(reply)
    assert says in explained.says
    assert advises in explained.advice


def test_success_is_not_taken_for_what_its_text_mentions() -> None:
    assert codes.explain("250 2.0.0 Ok: no spam, no greylisting").says == "The command was carried out."


def test_every_reply_code_of_the_standard_is_in_the_book() -> None:
    # RFC 5321 §4.2.3, RFC 4954, RFC 7504
    standard = (
        "211 214 220 221 235 250 251 252 334 354 421 450 451 452 454 455 500 501 502 503 504 521 530 "
        "534 535 538 550 551 552 553 554 555 556"
    )
    assert set(map(int, standard.split())) <= set(codes.REPLY_CODES)


def test_every_enhanced_code_of_the_registry_is_in_the_book() -> None:
    last = {"1": 10, "2": 4, "3": 6, "4": 7, "5": 6, "6": 10, "7": 30}
    for subject, details in last.items():
        known = codes.ENHANCED_CODES.keys() | codes.SUCCESS_CODES.keys()
        assert all(f"{subject}.{detail}" in known for detail in range(details + 1))


def test_nothing_is_wrong_where_a_server_says_yes() -> None:
    assert codes.explain("250 2.1.0 Ok").says == "The sender's address is good."
    assert codes.explain("250 2.1.5 Ok").says == "The recipient's address is good."
    assert codes.explain("250 2.2.0 Ok").says == codes.explain("250 Ok").says
