"""Delivery status notifications: what the sender is told of failure, delay and success (RFC 3461, RFC 3464).

A notification is a multipart/report of three parts: words that a person understands, fields that a
program understands, and the letter or its header. Where an address is beyond ASCII, or the letter
itself needed SMTPUTF8, the parts are those of RFC 6533. The envelope of a notification has the null
reverse-path; that none is made about a letter that had it itself is the caller's to see to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from posthouse.mail import codes
from posthouse.mail.address import Address
from posthouse.mail.compose import LINE_LIMIT, field, mailbox, multipart, text_field, text_part
from posthouse.mail.dates import format_date
from posthouse.mail.envelope import Notify, Recipient, Return
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.reply import Reply

Action: TypeAlias = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

RETURN_LIMIT = 50_000
"""Octets of body given back in full where the sender did not say RET."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_LONG_WORD = re.compile(r"(\S{500})")
_SUBJECT_LIMIT = 120


class RecipientReport(NamedTuple):
    """What became of one recipient (RFC 3464 §2.3)."""

    recipient: Recipient
    action: Action
    reply: Reply
    """The reply that decided it: the remote server's, or ours."""
    remote_mta: str
    """The name of the server that gave the reply; empty where it is ours."""
    last_attempt: float
    """Seconds since 1970 UTC."""
    will_retry_until: float | None = None
    """For `delayed`: when we give up."""


def wants(notify: Notify, action: Action) -> bool:
    """Whether the sender wants to hear of this (RFC 3461 §4.1). Without NOTIFY: failures and delays."""
    if notify == Notify.UNSTATED:
        return action in ("failed", "delayed")
    if action == "failed":
        return bool(notify & Notify.FAILURE)
    if action == "delayed":
        return bool(notify & Notify.DELAY)
    return bool(notify & Notify.SUCCESS)


def compose_dsn(
    *,
    hostname: str,
    letter_id: str,
    sender: Address,
    reports: Sequence[RecipientReport],
    arrived: float,
    now: float,
    head: bytes,
    body: bytes | None,
    boundary: str,
    ret: Return = Return.UNSTATED,
    envid: str = "",
    smtputf8: bool = False,
    dsn_id: str = "",
) -> bytes:
    """The notification, whole, with CRLF.

    `sender` is the reverse-path of the letter, to whom it goes. `letter_id` is the letter's id as
    shown, `dsn_id` the notification's own, for its Message-ID. `head` and `body` are the letter's;
    `body` may be None where it is too large to fetch, and is given back only in reports of failure,
    as `ret` and `RETURN_LIMIT` allow. `smtputf8`: the letter came with SMTPUTF8. `boundary`: one that
    nobody can guess.
    """
    header = HeaderIndex(head)
    international = smtputf8 or not all(report.recipient.address.ascii for report in reports)
    international = international or not all(report.recipient.orcpt.isascii() for report in reports)
    subject = field_value_text(header.first("Subject") or b"")[:_SUBJECT_LIMIT]
    fields = [
        field("From", mailbox("Mail Delivery System", Address("MAILER-DAEMON", hostname))),
        field("To", f"<{sender}>"),
        text_field("Subject", f"{_headline(reports)}: {subject}" if subject else _headline(reports)),
        field("Date", format_date(now)),
        field("Message-ID", f"<{dsn_id or boundary}@{hostname}>"),
        field("Auto-Submitted", "auto-replied"),  # RFC 3834 §5
        field("MIME-Version", "1.0"),
    ]
    message_id = header.first("Message-ID")
    if message_id and message_id.isascii() and len(message_id) < LINE_LIMIT // 2:
        fields.append(field("References", message_id.decode()))
    parts = [
        text_part(_explanation(hostname, letter_id, reports, arrived, subject)),
        _status_part(hostname, letter_id, reports, arrived, envid, international),
        _returned_part(head, _body_to_return(body, reports, ret), smtputf8),
    ]
    # RFC 6522 §3
    return b"".join(fields) + multipart("report; report-type=delivery-status", parts, boundary)


def _headline(reports: Sequence[RecipientReport]) -> str:
    actions = {report.action for report in reports}
    if "failed" in actions:
        return "Not delivered"
    if "delayed" in actions:
        return "Delayed, still trying"
    return "Delivered" if actions == {"delivered"} else "Passed on"


def _explanation(
    hostname: str, letter_id: str, reports: Sequence[RecipientReport], arrived: float, subject: str
) -> str:
    """The part for people."""
    about = f'Your message "{subject}"' if subject else "Your message"
    lines = [f"This is the mail system at {hostname}.", ""]
    opening = f"{about} of {format_date(arrived)}\n"
    for action, sentence in _SENTENCES:
        chosen = [report for report in reports if report.action == action]
        if not chosen:
            continue
        lines += [opening + sentence, ""]
        opening = "It "
        for report in chosen:
            lines += _about_recipient(report)
    lines.append(f"The message is known to its mail system as {letter_id}.")
    if any(report.action == "failed" for report in reports):
        lines.append("Below are details for programs, and the message or its header.")
    return "\n".join(lines)


_SENTENCES: tuple[tuple[Action, str], ...] = (
    ("failed", "could not be delivered to:"),
    ("delayed", "could not be delivered yet, but is tried further, so you need not send it again, to:"),
    ("delivered", "was delivered to:"),
    ("relayed", "was passed on to a server that will not report any further, for:"),
    ("expanded", "was delivered to a mailing list or group, which reports no further:"),
)


def _about_recipient(report: RecipientReport) -> list[str]:
    address = str(report.recipient.address)
    lines = [f"  {address}"]
    asked_for = report.recipient.orcpt.partition(";")[2]
    if asked_for and asked_for.lower() != address.lower():
        lines.append(f"    (to which you wrote as {_clean(asked_for)})")
    if report.action in ("failed", "delayed"):
        said = codes.explain(str(report.reply))
        lines.append(f"    {said.says}")
        # Asking to wait is out of place in a final notice, and superfluous in a delay.
        if report.action == "failed" and said.advice and not report.reply.transient:
            lines.append(f"    {said.advice}")
        speaker = f"The server {report.remote_mta} said" if report.remote_mta else "We say"
        lines.append(f"    {speaker}: {_clean(str(report.reply))}")
    if report.will_retry_until is not None and report.action == "delayed":
        lines.append(f"    We go on trying until {format_date(report.will_retry_until)}.")
    return [*lines, ""]


def _clean(text: str) -> str:
    """What a stranger said, without control characters and with places to fold it."""
    return _LONG_WORD.sub(r"\1 ", _UNPRINTABLE.sub(" ", text))


def _status_part(
    hostname: str,
    letter_id: str,
    reports: Sequence[RecipientReport],
    arrived: float,
    envid: str,
    international: bool,
) -> bytes:
    """The part for programs (RFC 3464 §2, RFC 6533 §4)."""
    groups = [field("Reporting-MTA", f"dns; {hostname}")]
    if envid:
        groups.append(field("Original-Envelope-Id", _ascii(envid)))
    groups.append(field("Arrival-Date", format_date(arrived)))
    for report in reports:
        groups += [b"\r\n", *_recipient_fields(report, letter_id, international)]
    if international:
        kind = field("Content-Type", "message/global-delivery-status")
        return kind + field("Content-Transfer-Encoding", "8bit") + b"\r\n" + b"".join(groups)
    return field("Content-Type", "message/delivery-status") + b"\r\n" + b"".join(groups)


def _recipient_fields(report: RecipientReport, letter_id: str, international: bool) -> list[bytes]:
    address = report.recipient.address
    keep = _clean if international else _ascii
    fields: list[bytes] = []
    kind, _, original = report.recipient.orcpt.partition(";")
    if original:
        fields.append(field("Original-Recipient", f"{_ascii(kind)}; {keep(original)}"))
    fields.append(field("Final-Recipient", f"{'rfc822' if address.ascii else 'utf-8'}; {address}"))
    fields.append(field("Action", report.action))
    fields.append(field("Status", _status(report)))
    if report.remote_mta:
        fields.append(field("Remote-MTA", f"dns; {_ascii(report.remote_mta)}"))
    if report.action in ("failed", "delayed") or report.remote_mta:
        diagnosis = "smtp" if report.remote_mta else "x-posthouse"
        fields.append(field("Diagnostic-Code", f"{diagnosis}; {keep(str(report.reply))}"))
    fields.append(field("Last-Attempt-Date", format_date(report.last_attempt)))
    fields.append(field("Final-Log-ID", letter_id))
    if report.will_retry_until is not None and report.action == "delayed":
        fields.append(field("Will-Retry-Until", format_date(report.will_retry_until)))
    return fields


def _status(report: RecipientReport) -> str:
    """RFC 3464 §2.3.4: the enhanced code, or its class where there is none."""
    return report.reply.enhanced or f"{min(max(report.reply.code // 100, 2), 5)}.0.0"


def _ascii(text: str) -> str:
    return _clean(text).encode("ascii", "replace").decode()


def _body_to_return(body: bytes | None, reports: Sequence[RecipientReport], ret: Return) -> bytes | None:
    """RFC 3461 §4.3: RET speaks of failures only; other reports give back the header."""
    if body is None or ret is Return.HEADERS or not any(report.action == "failed" for report in reports):
        return None
    if ret is Return.UNSTATED and len(body) > RETURN_LIMIT:
        return None
    # Binary content cannot lie in an 8-bit message (RFC 3030 §3).
    if b"\0" in body or any(len(line) > LINE_LIMIT for line in body.split(b"\r\n")):
        return None
    return body


def _returned_part(head: bytes, body: bytes | None, smtputf8: bool) -> bytes:
    """The letter (RFC 6522 §3) or its header (RFC 6522 §4, RFC 6533 §5)."""
    if body is None:
        kind = "message/global-headers" if smtputf8 else "text/rfc822-headers"
        content = head[:-2] if head.endswith(b"\r\n\r\n") else head
    else:
        kind = "message/global" if smtputf8 else "message/rfc822"
        content = head + body
    eight_bit = b"" if content.isascii() else field("Content-Transfer-Encoding", "8bit")
    return field("Content-Type", kind) + eight_bit + b"\r\n" + content
