"""Delivery status notifications as other programs read them: with the parser of the standard library."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Sequence
from email.message import EmailMessage, Message
from typing import NamedTuple

from tests.servers import InProcess


class Notification(NamedTuple):
    """What RFC 3464 wants to be told: the fields of the letter and of each recipient."""

    letter: EmailMessage
    about: Message
    """Fields about the letter: Reporting-MTA, Arrival-Date, Original-Envelope-Id."""
    recipients: list[Message]
    """One for each recipient: Final-Recipient, Action, Status …"""
    returned: Message
    """The third part: the letter or its header."""

    @property
    def actions(self) -> dict[str, str]:
        """Action of each recipient."""
        return {fields["Final-Recipient"].partition("; ")[2]: fields["Action"] for fields in self.recipients}


def parse(octets: bytes) -> Notification:
    """Fails where it is no proper notification (RFC 3464 §2, RFC 6522)."""
    letter = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(letter, EmailMessage)
    assert not letter.defects
    assert letter.get_content_type() == "multipart/report"
    assert letter.get_param("report-type") == "delivery-status"
    words, status, returned = letter.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    about, *recipients = status.get_payload()
    assert recipients
    assert about["Reporting-MTA"].startswith("dns; ")
    for fields in recipients:
        assert fields["Final-Recipient"].startswith("rfc822; ")
        assert fields["Action"] in ("failed", "delayed", "delivered", "relayed", "expanded")
        assert fields["Status"][0] == {"failed": "5", "delayed": "4"}.get(fields["Action"], "2")
        assert fields["Status"].count(".") == 2
    return Notification(letter, about, recipients, returned)


def notifications(messages: Sequence[bytes]) -> list[Notification]:
    """Those of the messages that are notifications; each came with the null reverse-path."""
    found = []
    for message in messages:
        if b"multipart/report" in message:
            assert message.startswith(b"Return-Path: <>\r\n")
            found.append(parse(message))
    return found


async def told(world: InProcess, user: str = "alice") -> list[Notification]:
    """The notifications in a mailbox, once the queue is idle."""
    await world.idle()
    return notifications(await world.mailbox(user))
