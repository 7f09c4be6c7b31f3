"""One local recipient: into which mailbox, with which trace fields, or why not at all.

The copy gets, before the trace fields of the letter:

    Return-Path: <sender>           the reverse-path (RFC 5321 §4.4)
    Delivered-To: address           of the account; the mark by which a loop is found
    X-Original-To: address          as the client gave it, where that is another

A letter that bears the account's address in a Delivered-To field has been in this mailbox before and was
sent back: it fails, for it would come again and again (RFC 5321 §6.3). The mailbox is INBOX; the detail
of a subaddress chooses none, or else any stranger could put mail into any mailbox (RFC 5233 §5).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from posthouse.mail.address import Address, canonical
from posthouse.mail.envelope import Sender
from posthouse.mail.header import HeaderIndex
from posthouse.mail.outcome import Failed
from posthouse.mail.received import delivered_to
from posthouse.mail.reply import ROUTING_LOOP
from posthouse.routing.route import Local
from posthouse.store.mailboxes import INBOX


class Placed(NamedTuple):
    """A copy for a mailbox of the account."""

    mailbox: str
    prefix: bytes
    """What stands before the letter's own header section in this copy."""


Delivery: TypeAlias = Placed | Failed


def deliver(header: HeaderIndex, sender: Sender, trace: bytes, given: Address, local: Local) -> Delivery:
    """Decide about a letter for `local`, which was addressed as `given`.

    `header` is the letter's header section as received, `trace` the fields that every copy gets.
    """
    if local.address in delivered_to(header):
        return Failed(ROUTING_LOOP, local.address)
    return Placed(INBOX, _prefix(sender, given, local) + trace)


def _prefix(sender: Sender, given: Address, local: Local) -> bytes:
    reverse_path = "" if sender.address is None else str(sender.address)
    original = str(given)
    if original == local.address or canonical(given) == local.address:
        return f"Return-Path: <{reverse_path}>\r\nDelivered-To: {local.address}\r\n".encode()
    return (
        f"Return-Path: <{reverse_path}>\r\nDelivered-To: {local.address}\r\nX-Original-To: {original}\r\n"
    ).encode()
