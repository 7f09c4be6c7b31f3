"""The verbs and extensions of SMTP and LMTP as tables: what EHLO and HELP print, and what the session obeys.

A row says in which states a verb is allowed, how its argument is read, how long its line may be, and
where it is written down. The session has one guard for all of them; nothing about a verb stands elsewhere
but what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from posthouse.mail.reply import Reply
from posthouse.protocol.sasl import RESPONSE_LIMIT
from posthouse.protocol.smtp import grammar

# States: bits, so that a row names several with one number.
REFUSED = 1
"""Greeted with 554 or 521: nothing but QUIT (RFC 5321 §3.1)."""
GREETED = 2
"""No HELO yet, or forgotten again by STARTTLS."""
READY = 4
"""HELO was accepted; no transaction is open."""
MAIL = 8
"""MAIL was accepted, no recipient yet."""
RCPT = 16
"""There is at least one recipient."""
CHUNKS = 32
"""Between the BDAT chunks of one letter."""
DATA = 64
"""The octets of a letter follow, up to the final dot."""
CHUNK = 128
"""The octets of a BDAT chunk follow."""
AUTH = 256
"""An authentication exchange is under way."""
SWALLOW = 512
"""The octets of a refused BDAT chunk follow."""

OCTETS = DATA | CHUNK | SWALLOW
TRANSACTION = MAIL | RCPT | CHUNKS
ANY_COMMAND = GREETED | READY | TRANSACTION

# Flags.
LAST_IN_GROUP = 1
"""The client must wait for the reply before it sends more (RFC 2920 §3.1)."""
BEFORE_TLS = 2
"""Allowed before STARTTLS where TLS is required (RFC 3207 §4)."""
IDLE_TALK = 4
"""Does no work: many of these in one session are a nuisance."""
SMTP_ONLY = 8
LMTP_ONLY = 16


URL_LIMIT = 4096 + 12
"""Octets of a line with BURL: as many as an IMAP URL may have, and the rest."""


class Verb(NamedTuple):
    """One command."""

    name: str
    states: int
    parse: Callable[[bytes, bool], Any]
    """Octets after the verb, and whether MAIL had SMTPUTF8 → the argument; raises grammar.Refused."""
    syntax: str
    rfc: str
    flags: int = 0
    line_limit: int = 512
    """Octets with CRLF (RFC 5321 §4.5.3.1.4, and what the extensions add)."""
    extension: str = ""
    """The extension without which the verb does not exist."""


VERBS: dict[bytes, Verb] = {
    row.name.encode(): row
    for row in (
        Verb(
            "HELO",
            ANY_COMMAND,
            grammar.parse_helo,
            "HELO domain",
            "RFC 5321 §4.1.1.1",
            BEFORE_TLS | SMTP_ONLY,
        ),
        Verb(
            "EHLO",
            ANY_COMMAND,
            grammar.parse_helo,
            "EHLO domain",
            "RFC 5321 §4.1.1.1",
            LAST_IN_GROUP | BEFORE_TLS | SMTP_ONLY,
        ),
        Verb(
            "LHLO",
            ANY_COMMAND,
            grammar.parse_helo,
            "LHLO domain",
            "RFC 2033 §4.1",
            LAST_IN_GROUP | BEFORE_TLS | LMTP_ONLY,
        ),
        Verb(
            "MAIL",
            READY,
            grammar.parse_mail,
            "MAIL FROM:<address> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=id]",
            "RFC 5321 §4.1.1.2",
            # RFC 1870 §3 adds 26, RFC 6152 §2 17, RFC 3461 §4 100, RFC 6531 §3.4 10, RFC 4954 §5 500
            line_limit=512 + 26 + 17 + 100 + 10 + 500,
        ),
        Verb(
            "RCPT",
            MAIL | RCPT,
            grammar.parse_rcpt,
            "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address]",
            "RFC 5321 §4.1.1.3",
            line_limit=512 + 500,  # RFC 3461 §4
        ),
        Verb("DATA", RCPT, grammar.parse_nothing, "DATA", "RFC 5321 §4.1.1.4", LAST_IN_GROUP),
        Verb("BDAT", RCPT | CHUNKS, grammar.parse_bdat, "BDAT size [LAST]", "RFC 3030 §2"),
        Verb(
            "BURL",
            RCPT | CHUNKS,
            grammar.parse_burl,
            "BURL url [LAST]",
            "RFC 4468 §3",
            line_limit=URL_LIMIT,
            extension="BURL",
        ),
        Verb("RSET", ANY_COMMAND, grammar.parse_nothing, "RSET", "RFC 5321 §4.1.1.5", IDLE_TALK),
        Verb(
            "NOOP",
            ANY_COMMAND,
            grammar.parse_anything,
            "NOOP",
            "RFC 5321 §4.1.1.9",
            LAST_IN_GROUP | BEFORE_TLS | IDLE_TALK,
        ),
        Verb(
            "QUIT",
            ANY_COMMAND | REFUSED,
            grammar.parse_nothing,
            "QUIT",
            "RFC 5321 §4.1.1.10",
            LAST_IN_GROUP | BEFORE_TLS,
        ),
        Verb(
            "VRFY",
            ANY_COMMAND,
            grammar.parse_text,
            "VRFY address",
            "RFC 5321 §4.1.1.6",
            LAST_IN_GROUP | IDLE_TALK,
            line_limit=522,  # RFC 6531 §3.7.4.2
        ),
        Verb(
            "EXPN",
            ANY_COMMAND,
            grammar.parse_text,
            "EXPN list",
            "RFC 5321 §4.1.1.7",
            LAST_IN_GROUP | IDLE_TALK,
            line_limit=522,
        ),
        Verb(
            "HELP",
            ANY_COMMAND,
            grammar.parse_optional_text,
            "HELP [verb|STATUS]",
            "RFC 5321 §4.1.1.8",
            IDLE_TALK,
        ),
        Verb(
            "STARTTLS",
            READY,
            grammar.parse_nothing,
            "STARTTLS",
            "RFC 3207 §4",
            LAST_IN_GROUP | BEFORE_TLS,
            extension="STARTTLS",
        ),
        Verb(
            "AUTH",
            READY,
            grammar.parse_auth,
            "AUTH mechanism [initial-response]",
            "RFC 4954 §4",
            LAST_IN_GROUP,
            line_limit=RESPONSE_LIMIT,
            extension="AUTH",
        ),
    )
}

LINE_LIMIT = max(row.line_limit for row in VERBS.values())
"""Octets of the longest line that any verb may have."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a listener offers."""

    hostname: str
    lmtp: bool = False
    starttls: bool = False
    tls_required: bool = False
    """530 for everything before TLS (RFC 3207 §4)."""
    auth_mechanisms: tuple[str, ...] = ()
    auth_without_tls: bool = False
    auth_required: bool = False
    """530 for MAIL, VRFY and EXPN before AUTH (RFC 4954 §6): submission."""
    burl: bool = False
    """Letters may have pieces that are on our IMAP server (RFC 4468): submission."""
    message_size_limit: int = 0
    """Octets of a letter at most; 0: no limit."""


class Now(NamedTuple):
    """What has become of a session."""

    tls: bool = False
    authenticated: bool = False
    mechanisms: tuple[str, ...] = ()
    """Of SASL, those that can be used on the connection as it is."""


class Extension(NamedTuple):
    """One EHLO keyword: its parameters here and now, or None where it is not offered."""

    keyword: str
    parameters: Callable[[Capabilities, Now], str | None]
    rfc: str


def _always(capabilities: Capabilities, now: Now) -> str | None:
    return ""


def _size(capabilities: Capabilities, now: Now) -> str | None:
    return str(capabilities.message_size_limit)


def _starttls(capabilities: Capabilities, now: Now) -> str | None:
    return "" if capabilities.starttls and not now.tls else None


def _auth(capabilities: Capabilities, now: Now) -> str | None:
    return " ".join(now.mechanisms) or None


def _burl(capabilities: Capabilities, now: Now) -> str | None:
    """RFC 4468 §3.1, §3.3: before AUTH only that there is such a thing."""
    if not capabilities.burl:
        return None
    return f"imap imap://{capabilities.hostname}" if now.authenticated else ""


EXTENSIONS: dict[str, Extension] = {
    row.keyword: row
    for row in (
        Extension("PIPELINING", _always, "RFC 2920"),
        Extension("SIZE", _size, "RFC 1870"),
        Extension("EXPN", _always, "RFC 5321 §4.1.1.7"),
        Extension("HELP", _always, "RFC 5321 §4.1.1.8"),
        Extension("STARTTLS", _starttls, "RFC 3207"),
        Extension("AUTH", _auth, "RFC 4954"),
        Extension("ENHANCEDSTATUSCODES", _always, "RFC 2034"),
        Extension("8BITMIME", _always, "RFC 6152"),
        Extension("DSN", _always, "RFC 3461"),
        Extension("SMTPUTF8", _always, "RFC 6531"),
        Extension("CHUNKING", _always, "RFC 3030"),
        Extension("BURL", _burl, "RFC 4468"),
    )
}


def ehlo_lines(capabilities: Capabilities, now: Now) -> list[str]:
    """The lines of the reply to EHLO: the host name, then what is offered (RFC 5321 §4.1.1.1)."""
    lines = [capabilities.hostname]
    for row in EXTENSIONS.values():
        parameters = row.parameters(capabilities, now)
        if parameters is not None:
            lines.append(f"{row.keyword} {parameters}".rstrip())
    return lines


@lru_cache(maxsize=64)
def hello(capabilities: Capabilities, extended: bool, now: Now) -> bytes:
    """The reply to EHLO, or to HELO (RFC 5321 §4.1.1.1), as it goes on the wire."""
    lines = ehlo_lines(capabilities, now) if extended else [capabilities.hostname]
    return Reply(250, "", "\n".join(lines)).encode()


@lru_cache(maxsize=64)
def greeting(capabilities: Capabilities) -> bytes:
    """What a client is welcomed with (RFC 5321 §3.1), as it goes on the wire."""
    name = "LMTP" if capabilities.lmtp else "ESMTP"
    return Reply(220, "", f"{capabilities.hostname} {name} Posthouse").encode()


def exists(verb: Verb, capabilities: Capabilities) -> bool:
    """Whether this listener knows the verb at all, now or after STARTTLS."""
    if verb.flags & (SMTP_ONLY if capabilities.lmtp else LMTP_ONLY):
        return False
    if verb.extension == "AUTH":
        return bool(capabilities.auth_mechanisms)
    if verb.extension == "BURL":
        return capabilities.burl
    return verb.extension != "STARTTLS" or capabilities.starttls


def help_lines(topic: str, capabilities: Capabilities) -> list[str] | None:
    """HELP's text: all verbs, or one verb's syntax; None for an unknown topic."""
    offered = [row for row in VERBS.values() if exists(row, capabilities)]
    if not topic:
        names = " ".join(row.name for row in offered)
        return [f"Commands: {names}", 'Say "HELP verb" for its syntax, "HELP STATUS" for this session']
    for row in offered:
        if row.name == topic.upper():
            return [row.syntax, f"See {row.rfc}"]
    return None
