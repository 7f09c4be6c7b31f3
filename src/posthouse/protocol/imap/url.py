"""IMAP URLs that name a message or a part of one (RFC 5092).

    imap://bob@mail.example.org/Drafts;UIDVALIDITY=7/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
    /INBOX;UIDVALIDITY=7/;UID=20          relative to the server
    /;UID=20                              … and without a mailbox, to the selected one

URLs of servers, mailboxes and searches are none of these. The slash before `;UID` may be missing,
as it once was written.
"""

from __future__ import annotations

import re
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


def parse_url(text: str) -> MessageUrl:
    """Takes a URL apart. Raises BadUrl."""
    if len(text) > LONGEST:
        raise BadUrl("the URL is too long")
    server = _SERVER.match(text)
    user, host, position = "", "", 0
    if server is not None:
        user, host, position = _decoded(server[1] or ""), server[2].lower(), server.end()
    if not text.startswith("/", position):
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
