"""IMAP URLs that name a message or a part of one (RFC 5092).

    imap://bob@mail.example.org/Drafts;UIDVALIDITY=7/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
    /INBOX;UIDVALIDITY=7/;UID=20          relative to the server
    /;UID=20 or ;UID=20                   … and without a mailbox, to the selected one

A URL that lets others have what it names says at its end until when, and who, and is signed (RFC 4467):

    imap://bob@mail.example.org/Drafts/;UID=20;EXPIRE=2027-01-01T00:00:00Z;URLAUTH=submit+bob:INTERNAL:0123…

URLs of servers, mailboxes and searches are none of these. The slash before `;UID` may be missing,
as it once was written.
"""

from __future__ import annotations

import datetime
import re
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from posthouse.mail.section import Section, parse_section

LONGEST = 4096
"""Characters of a URL."""

_LARGEST = 2**32 - 1
_ALL = 2**62
_SERVER = re.compile(r"imap://(?:([^@/;]*)(?:;AUTH=[^@/;]*)?@)?([^/;?#@]+)(?=/)", re.IGNORECASE)
_PARAMETER = re.compile(r"/?;(UIDVALIDITY|UID|SECTION|PARTIAL)=([^;/]*)(?=[;/]|\Z)", re.IGNORECASE)
_PARTIAL = re.compile(r"([0-9]{1,18})(?:\.([1-9][0-9]{0,17}))?")
_AUTHORITY = re.compile(
    r"(?:;EXPIRE=([^;/]*))?;URLAUTH=(submit\+|user\+|authuser|anonymous)([^:;/]*)"
    r"(?::([A-Z0-9.-]+):([0-9A-F]{32,}))?\Z",
    re.IGNORECASE,
)
_DATE_TIME = re.compile(  # RFC 3339 §5.6
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_PLAIN = "!#$%&'()*+,-./:;<=>?@[]^_`{|}~ "


class BadUrl(ValueError):
    """It is no URL of a message."""


class MessageUrl(NamedTuple):
    """A URL, taken apart."""

    user: str
    """Empty where none is named."""
    host: str
    """In lower case, with its port; empty in a relative URL."""
    mailbox: str
    """Decoded; empty: the selected one."""
    uidvalidity: int | None
    uid: int
    section: Section
    partial: tuple[int, int] | None
    """First octet and greatest number of octets."""


class Access(Enum):
    """Who may have what a URL names (RFC 4467 §3)."""

    SUBMIT = "submit+"
    """The submission server, for one user."""
    USER = "user+"
    """One user."""
    AUTHUSER = "authuser"
    """Every user."""
    ANONYMOUS = "anonymous"


class AuthorizedUrl(NamedTuple):
    """A URL that lets others have what its user may read (RFC 4467 §3)."""

    message: MessageUrl
    rump: str
    """What is signed: the URL as it was written, without mechanism and token."""
    expires: float | None
    """Seconds since 1970 UTC after which it is worth nothing."""
    access: Access
    only: str
    """The user whom SUBMIT and USER name."""
    mechanism: str
    """In capitals; empty: it is not signed yet."""
    token: str
    """In hexadecimal, lower case."""


def parse_authorized_url(text: str) -> AuthorizedUrl:
    """Takes a URL that ends with URLAUTH apart. Raises BadUrl."""
    if len(text) > LONGEST:
        raise BadUrl("the URL is too long")
    found = _AUTHORITY.search(text)
    if found is None or not text.isascii():
        raise BadUrl("it does not say who may use it")
    message = parse_url(text[: found.start()])
    if not (message.user and message.host and message.mailbox):
        raise BadUrl("it has to name a user, the server and a mailbox")  # RFC 4467 §9
    access, only = Access(found[2].lower()), _decoded(found[3])
    if bool(only) != (access in (Access.SUBMIT, Access.USER)):
        raise BadUrl("it does not say who may use it")
    rump = text[: found.end(3)]
    expires = None if found[1] is None else _date_time(found[1])
    return AuthorizedUrl(
        message, rump, expires, access, only, (found[4] or "").upper(), (found[5] or "").lower()
    )


def _date_time(text: str) -> float:
    if not _DATE_TIME.fullmatch(text):
        raise BadUrl("the time is none")
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise BadUrl("the time is none") from None


def parse_url(text: str) -> MessageUrl:
    """Takes a URL apart. Raises BadUrl."""
    if len(text) > LONGEST:
        raise BadUrl("the URL is too long")
    server = _SERVER.match(text)
    user, host, position = "", "", 0
    if server is not None:
        user, host, position = _decoded(server[1] or ""), server[2].lower(), server.end()
    if not text.startswith("/", position) and not (position == 0 and text[:5].upper() == ";UID="):
        raise BadUrl("no path")
    first = _PARAMETER.search(text, position)
    if first is None:
        raise BadUrl("no UID")
    mailbox = _decoded(text[position + 1 : first.start()])
    values: dict[str, str] = {}
    position = first.start()
    while (found := _PARAMETER.match(text, position)) is not None:
        name = found[1].upper()
        if name in values:
            raise BadUrl("a parameter comes twice")
        values[name] = found[2]
        position = found.end()
    if position != len(text):
        raise BadUrl("what stands at its end is unknown")
    if "UID" not in values:
        raise BadUrl("no UID")
    try:
        section = parse_section(_decoded(values.get("SECTION", "")))
    except ValueError as problem:
        raise BadUrl(str(problem)) from None
    uidvalidity = _number(values["UIDVALIDITY"]) if "UIDVALIDITY" in values else None
    return MessageUrl(user, host, mailbox, uidvalidity, _number(values["UID"]), section, _partial(values))


def _partial(values: dict[str, str]) -> tuple[int, int] | None:
    if "PARTIAL" not in values:
        return None
    found = _PARTIAL.fullmatch(values["PARTIAL"])
    if found is None:
        raise BadUrl("the range is none")
    return int(found[1]), int(found[2] or _ALL)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) <= _LARGEST:
        raise BadUrl("a UID is a number above zero")
    return int(text)


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadUrl("it is not UTF-8") from None


def shown(text: str) -> str:
    """A URL as a quoted string in a response code, whatever is in it."""
    return '"' + quote(text[:LONGEST], safe=_PLAIN) + '"'
