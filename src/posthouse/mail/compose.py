"""Letters of our own making: folded header fields, text in an encoding that travels anywhere, attachments.

Everything comes out with CRLF and, but for addresses beyond ASCII, in 7-bit ASCII. Values cannot
smuggle in fields: control characters become spaces.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from posthouse.mail import words
from posthouse.mail.address import Address
from posthouse.mail.dates import format_date

LINE_LIMIT = 998
"""Octets of a line without its CRLF (RFC 5322 §2.1.1)."""

_FOLD_AT = 76
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'+^_`{|}~.-]+\Z")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")


class Attachment(NamedTuple):
    """A file that goes with a letter."""

    name: str
    content_type: str
    """`application/pdf`"""
    data: bytes


def field(name: str, value: str) -> bytes:
    """A header field, folded at its spaces, with CRLF; control characters of the value become spaces."""
    line = f"{name}: {_CONTROLS.sub(' ', value).strip()}"
    lines: list[str] = []
    while len(line) > _FOLD_AT:
        at = line.rfind(" ", len(name) + 2 if not lines else 1, _FOLD_AT + 1)
        if at < 0:
            at = line.find(" ", _FOLD_AT)
        if at <= 0 or not line[at:].strip():
            break
        lines.append(line[:at])
        line = line[at:]
    lines.append(line)
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n"


def text_field(name: str, text: str) -> bytes:
    """A field of plain text, such as Subject: with encoded words where it needs them."""
    return field(name, words.encode(_CONTROLS.sub(" ", text).strip()))


def mailbox(name: str, address: Address) -> str:
    """`Alice Example <alice@example.org>`, the name quoted or encoded where it must be."""
    name = _CONTROLS.sub(" ", name).strip()
    if not name:
        return str(address)
    if not name.isascii() or "=?" in name:
        name = words.encode(name)
    elif not _ATOMS.match(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def encode_text(text: str) -> tuple[str, bytes]:
    """Content-Transfer-Encoding and octets of a text: 7bit where possible, else quoted-printable."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    octets = text.encode("utf-8", "replace")
    if text.isascii() and "\0" not in text and all(len(line) <= LINE_LIMIT for line in text.split("\n")):
        return "7bit", octets.replace(b"\n", b"\r\n")
    return "quoted-printable", binascii.b2a_qp(octets).replace(b"\n", b"\r\n")


def text_part(text: str) -> bytes:
    """A text/plain entity: its Content fields, an empty line and the encoded text."""
    encoding, octets = encode_text(text)
    return (
        field("Content-Type", "text/plain; charset=utf-8")
        + field("Content-Transfer-Encoding", encoding)
        + b"\r\n"
        + octets
    )


def attachment_part(attachment: Attachment) -> bytes:
    """An entity for a file, in base64."""
    kind = (
        attachment.content_type if _MEDIA_TYPE.match(attachment.content_type) else "application/octet-stream"
    )
    if kind.lower().startswith(("message/", "multipart/")):  # these may not be in base64 (RFC 2046 §5)
        kind = "application/octet-stream"
    encoded = base64.b64encode(attachment.data)
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    return (
        field("Content-Type", kind)
        + field("Content-Disposition", "attachment" + _file_name(attachment.name))
        + field("Content-Transfer-Encoding", "base64")
        + b"\r\n"
        + b"\r\n".join(lines)
        + b"\r\n"
    )


def _file_name(name: str) -> str:
    """The parameter for a name (RFC 2183 §2.3, RFC 2231 §4 beyond ASCII)."""
    name = _CONTROLS.sub(" ", name)
    if not name:
        return ""
    if not name.isascii():
        return f"; filename*=utf-8''{quote(name, safe='', errors='replace')}"
    if _TOKEN.match(name):
        return f"; filename={name}"
    return '; filename="' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def multipart(subtype: str, parts: Sequence[bytes], boundary: str) -> bytes:
    """A multipart entity with its Content-Type; `subtype` may carry parameters.

    The boundary is made longer where it occurs in a part.
    """
    while any(b"--" + boundary.encode() in part for part in parts):
        boundary += "="
    delimiter = b"--" + boundary.encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    content_type = field("Content-Type", f'multipart/{subtype}; boundary="{boundary}"')
    return content_type + b"\r\n" + body + delimiter + b"--\r\n"


def message(
    *,
    sender: tuple[str, Address],
    to: Iterable[tuple[str, Address]] = (),
    cc: Iterable[tuple[str, Address]] = (),
    subject: str = "",
    text: str = "",
    attachments: Sequence[Attachment] = (),
    date: float,
    message_id: str,
    boundary: str,
    offset_minutes: int = 0,
    extra_fields: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A whole letter.

    Pairs are display name and address. `message_id` stands without angle brackets. `boundary` is
    used where there are attachments; give one that nobody can guess.
    """
    head = [field("From", mailbox(*sender))]
    for name, mailboxes in (("To", to), ("Cc", cc)):
        listed = ", ".join(mailbox(*pair) for pair in mailboxes)
        if listed:
            head.append(field(name, listed))
    if subject:
        head.append(text_field("Subject", subject))
    head.append(field("Date", format_date(date, offset_minutes)))
    head.append(field("Message-ID", f"<{message_id}>"))
    head += [text_field(name, value) for name, value in extra_fields]
    head.append(field("MIME-Version", "1.0"))
    entity = text_part(text)
    if attachments:
        entity = multipart("mixed", [entity, *map(attachment_part, attachments)], boundary)
    return b"".join(head) + entity
