"""Delivery status notifications, as a person, a program and the standard library read them."""

from __future__ import annotations

import email
import email.message

import pytest

from posthouse.mail.address import parse_address
from posthouse.mail.dsn import Action, RecipientReport, compose_dsn, wants
from posthouse.mail.envelope import Notify, Recipient, Return
from posthouse.mail.mime import scan
from posthouse.mail.reply import Reply

HEAD = b"From: alice@north.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@north.test>\r\n\r\n"
BODY = b"Hello Bob\r\n"
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here")
NOON = 1793624645.0


def report(
    action: Action = "failed",
    address: str = "bob@south.test",
    reply: Reply = NO_SUCH_USER,
    mta: str = "mx.south.test",
    orcpt: str = "",
    until: float | None = None,
) -> RecipientReport:
    return RecipientReport(Recipient(parse_address(address), orcpt=orcpt), action, reply, mta, NOON, until)


def compose(*reports: RecipientReport, **more: object) -> email.message.Message:
    arguments: dict[str, object] = {
        "hostname": "mail.north.test",
        "letter_id": "0sa4pyy380c00",
        "dsn_id": "0sa4pyy380c01",
        "sender": parse_address("alice@north.test"),
        "reports": reports,
        "arrived": NOON - 3600,
        "now": NOON,
        "head": HEAD,
        "body": BODY,
        "boundary": "=_b",
    } | more
    return email.message_from_bytes(compose_dsn(**arguments))  # type: ignore[arg-type]


def parts(message: email.message.Message) -> list[email.message.Message]:
    payload = message.get_payload()
    assert isinstance(payload, list)
    return payload  # type: ignore[return-value]


def text(message: email.message.Message) -> str:
    octets = parts(message)[0].get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode()


def test_a_failure_is_told_in_words_and_in_fields_and_gives_the_letter_back() -> None:
    # when
    message = compose(report(orcpt="rfc822;robert@south.test"), envid="Q1")
    # then the header is that of an answer by a machine
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "<alice@north.test>"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.north.test>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<0sa4pyy380c01@mail.north.test>"
    assert message["References"] == "<1@north.test>"
    # and a person learns what happened and what to do
    words = text(message)
    for phrase in (
        "Grüße",
        "could not be delivered to:",
        "bob@south.test",
        "to which you wrote as robert@south.test",
        "There is no such mailbox at that domain.",
        "Check the address",
        "550 5.1.1 No such user here",
        "0sa4pyy380c00",
    ):
        assert phrase in words
    # and a program finds the fields of RFC 3464
    status = parts(message)[1]
    assert status.get_content_type() == "message/delivery-status"
    about_message, about_recipient = parts(status)
    assert about_message.items() == [
        ("Reporting-MTA", "dns; mail.north.test"),
        ("Original-Envelope-Id", "Q1"),
        ("Arrival-Date", "Mon, 2 Nov 2026 12:04:05 +0000"),
    ]
    assert about_recipient.items() == [
        ("Original-Recipient", "rfc822; robert@south.test"),
        ("Final-Recipient", "rfc822; bob@south.test"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mx.south.test"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user here"),
        ("Last-Attempt-Date", "Mon, 2 Nov 2026 13:04:05 +0000"),
        ("Final-Log-ID", "0sa4pyy380c00"),
    ]
    # and the letter is in it as it was
    assert parts(message)[2].get_content_type() == "message/rfc822"
    assert parts(message)[2].get_payload(0)["Message-ID"] == "<1@north.test>"  # type: ignore[index]


def test_the_letter_given_back_is_the_letter_to_the_octet() -> None:
    composed = compose_dsn(
        hostname="h.test", letter_id="x", sender=parse_address("a@b.test"), reports=[report()],
        arrived=0, now=0, head=HEAD, body=BODY, boundary="=_b",
    )  # fmt: skip
    returned = scan(composed).parts[2]
    assert composed[returned.body_start : returned.end] == HEAD + BODY


def test_a_delay_names_when_we_give_up_and_gives_back_the_header_alone() -> None:
    message = compose(report("delayed", reply=Reply(450, "4.7.1", "Greylisted"), until=NOON + 86400))
    assert "you need not send it again" in text(message)
    assert "We go on trying until Tue, 3 Nov 2026 13:04:05 +0000." in text(message)
    assert parts(parts(message)[1])[1]["Will-Retry-Until"] == "Tue, 3 Nov 2026 13:04:05 +0000"
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"
    assert "Hello Bob" not in message.as_string()


def test_several_recipients_each_have_their_own_group() -> None:
    message = compose(
        report(),
        report("delayed", "carol@east.test", Reply(421, "4.4.2", "Bye"), until=NOON + 1),
        report("relayed", "dave@west.test", Reply(250, "2.0.0", "Ok")),
    )
    groups = parts(parts(message)[1])[1:]
    assert [(group["Final-Recipient"], group["Action"], group["Status"]) for group in groups] == [
        ("rfc822; bob@south.test", "failed", "5.1.1"),
        ("rfc822; carol@east.test", "delayed", "4.4.2"),
        ("rfc822; dave@west.test", "relayed", "2.0.0"),
    ]
    words = text(message)
    assert words.index("bob@") < words.index("carol@") < words.index("dave@")


@pytest.mark.parametrize(
    ("ret", "body", "kind"),
    [
        (Return.UNSTATED, BODY, "message/rfc822"),
        (Return.FULL, BODY * 10_000, "message/rfc822"),
        (Return.UNSTATED, BODY * 10_000, "text/rfc822-headers"),
        (Return.HEADERS, BODY, "text/rfc822-headers"),
        (Return.FULL, None, "text/rfc822-headers"),
        (Return.FULL, b"\0binary", "text/rfc822-headers"),
        (Return.FULL, b"x" * 2000, "text/rfc822-headers"),
    ],
)
def test_as_much_is_given_back_as_ret_says_and_a_message_can_carry(
    ret: Return, body: bytes | None, kind: str
) -> None:
    assert parts(compose(report(), ret=ret, body=body))[2].get_content_type() == kind


def test_addresses_beyond_ascii_come_in_the_international_forms() -> None:
    message = compose(report(address="jürgen@bücher.example", mta=""), smtputf8=True, ret=Return.HEADERS)
    assert [part.get_content_type() for part in parts(message)] == [
        "text/plain",
        "message/global-delivery-status",
        "message/global-headers",
    ]
    assert "jürgen@bücher.example" in text(message)
    raw = message.as_bytes().decode("utf-8", "replace")
    assert "Diagnostic-Code: x-posthouse; 550 5.1.1" in raw


def test_an_international_address_stands_in_utf8_in_its_field() -> None:
    composed = compose_dsn(
        hostname="h.test", letter_id="x", sender=parse_address("a@b.test"),
        reports=[report(address="jürgen@bücher.example", orcpt="utf-8;jürgen@bücher.example")],
        arrived=0, now=0, head=HEAD, body=None, boundary="=_b",
    )  # fmt: skip
    assert "Final-Recipient: utf-8; jürgen@bücher.example\r\n".encode() in composed
    assert "Original-Recipient: utf-8; jürgen@bücher.example\r\n".encode() in composed


def test_a_hostile_reply_adds_no_fields() -> None:
    evil = Reply(550, "5.1.1", "no\r\nAction: delivered\r\n\r\n--=_b--\r\n" + "x " * 2000 + "y" * 3000)
    message = compose(report(reply=evil), envid="a\r\nEvil: 1")
    about_message, about_recipient = parts(parts(message)[1])
    assert about_recipient.get_all("Action") == ["failed"]
    assert about_message["Evil"] is None
    assert len(parts(message)) == 3
    assert all(len(line) <= 998 for line in message.as_bytes().split(b"\n"))


def test_a_boundary_inside_the_letter_cannot_end_the_report() -> None:
    assert len(parts(compose(report(), body=b"--=_b--\r\nrest\r\n"))) == 3


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [
        (Notify.UNSTATED, {"failed", "delayed"}),
        (Notify.NEVER, set()),
        (Notify.SUCCESS, {"delivered", "relayed", "expanded"}),
        (Notify.FAILURE, {"failed"}),
        (Notify.DELAY | Notify.FAILURE, {"delayed", "failed"}),
    ],
)
def test_the_sender_hears_what_notify_asks_for(notify: Notify, wanted: set[Action]) -> None:
    actions: tuple[Action, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")
    assert {action for action in actions if wants(notify, action)} == wanted
