"""Delivery to one local recipient: the mailbox, the trace fields, and the loop that ends here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.delivery.local import Placed, deliver
from posthouse.mail.address import Address, parse_address
from posthouse.mail.envelope import AccountId, Sender
from posthouse.mail.header import HeaderIndex
from posthouse.mail.outcome import Failed
from posthouse.routing.route import Local

BOB = Local(AccountId(2), "bob@example.org", "")
ALICE = Sender(parse_address("alice@example.com"))
TRACE = b"Received: by here; today\r\n"


def _deliver(
    head: bytes = b"Subject: hello\r\n\r\n",
    sender: Sender = ALICE,
    to: str = "bob@example.org",
    local: Local = BOB,
) -> Placed | Failed:
    return deliver(HeaderIndex(head), sender, TRACE, parse_address(to), local)


def test_the_copy_says_who_sent_it_and_whose_it_is() -> None:
    assert _deliver() == Placed(
        "INBOX",
        b"Return-Path: <alice@example.com>\r\nDelivered-To: bob@example.org\r\nReceived: by here; today\r\n",
    )


def test_a_notice_has_the_null_return_path() -> None:
    placed = _deliver(sender=Sender(None))
    assert isinstance(placed, Placed)
    assert placed.prefix.startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("bob@example.org", None),
        ("Bob@EXAMPLE.org", None),
        ("bob+lists@example.org", b"bob+lists@example.org"),
        ("sales@example.net", b"sales@example.net"),
        ("postmaster", b"postmaster"),
        ('"two words"@example.org', b'"two words"@example.org'),
    ],
)
def test_the_address_as_given_is_kept_where_it_is_another(to: str, shown: bytes | None) -> None:
    placed = _deliver(to=to)
    assert isinstance(placed, Placed)
    line = b"" if shown is None else b"X-Original-To: " + shown + b"\r\n"
    assert placed.prefix.count(b"X-Original-To") == (shown is not None)
    assert placed.prefix.endswith(b"Delivered-To: bob@example.org\r\n" + line + TRACE)


@pytest.mark.parametrize(
    "field",
    [
        b"Delivered-To: bob@example.org\r\n",
        b"delivered-to:Bob@Example.ORG\r\n",
        b"Delivered-To: carol@example.org\r\nDelivered-To:\r\n\tbob@example.org\r\n",
    ],
)
def test_a_letter_that_was_here_before_is_a_loop(field: bytes) -> None:
    result = _deliver(b"Received: x\r\n" + field + b"Subject: hello\r\n\r\n")
    assert isinstance(result, Failed)
    assert result.reply.permanent
    assert result.reply.enhanced == "5.4.6"


@pytest.mark.parametrize(
    "head",
    [
        b"Delivered-To: carol@example.org\r\n\r\n",
        b"Delivered-To: notbob@example.org\r\n\r\n",
        b"X-Delivered-To: bob@example.org\r\n\r\n",
        b"Subject: Delivered-To: bob@example.org\r\n\r\n",
        b"",
    ],
)
def test_what_was_elsewhere_before_is_welcome(head: bytes) -> None:
    assert isinstance(_deliver(head), Placed)


def test_the_copy_of_one_account_does_not_stop_the_others() -> None:
    """A letter to two accounts bears no mark of either until it is stored."""
    carol = Local(AccountId(3), "carol@example.org", "")
    assert isinstance(_deliver(), Placed)
    assert isinstance(_deliver(local=carol, to="carol@example.org"), Placed)


def test_a_detail_chooses_no_mailbox() -> None:
    placed = _deliver(to="bob+Trash@example.org", local=Local(AccountId(2), "bob@example.org", "Trash"))
    assert isinstance(placed, Placed)
    assert placed.mailbox == "INBOX"


def test_what_is_stored_once_and_sent_back_is_caught() -> None:
    """The mark that a copy gets is the one that is looked for."""
    first = _deliver(to="sales@example.net")
    assert isinstance(first, Placed)
    assert isinstance(_deliver(first.prefix + b"Subject: hello\r\n\r\n", to="sales@example.net"), Failed)


@given(local=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_no_address_breaks_out_of_its_field(local: str) -> None:
    placed = deliver(
        HeaderIndex(b""), Sender(Address(local, "example.com")), b"", Address(local, "example.net"), BOB
    )
    assert isinstance(placed, Placed)
    lines = placed.prefix.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines] == [
        b"Return-Path",
        b"Delivered-To",
        b"X-Original-To",
        b"",
    ]
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
