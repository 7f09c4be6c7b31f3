"""What an IMAP session hands to its driver besides commands, and what it is answered (see `server`)."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from posthouse.protocol.imap.commands import AppendNext, Command
from posthouse.protocol.imap.searching import CHARSETS
from posthouse.protocol.sasl import Evidence, KeysWanted


class Connected(NamedTuple):
    """A client has connected."""


class Literal(NamedTuple):
    """A piece of the message of an APPEND."""

    octets: bytes


class WholeMessage(NamedTuple):
    """A message that has come at once."""

    command: AppendNext
    """Its `size` is of no account."""
    octets: bytes


class AppendWhole(NamedTuple):
    """Further messages of an APPEND, each of them whole; the one before is complete."""

    messages: list[WholeMessage]


class AppendEnd(NamedTuple):
    """The message of an APPEND is complete."""


class AppendAbort(NamedTuple):
    """The message of an APPEND is not to be stored."""


class IdleEnd(NamedTuple):
    """DONE."""


Event: TypeAlias = (
    Command | Connected | KeysWanted | Evidence | Literal | AppendWhole | AppendEnd | AppendAbort | IdleEnd
)


class Result(NamedTuple):
    """How a command ended: the status response, and what is to be said before it."""

    status: str
    """OK, NO or BAD; BYE ends the session."""
    text: str
    code: str = ""
    """A response code without its brackets: `TRYCREATE`, `APPENDUID 1 2` …"""
    untagged: bytes = b""
    """Whole untagged responses, each with its CRLF."""


BAD_CREDENTIALS = Result("NO", "Login name or password is wrong", "AUTHENTICATIONFAILED")  # RFC 5530 §3
UNKNOWN_CHARSET = Result("NO", "Unknown charset", f"BADCHARSET ({' '.join(CHARSETS)})")
TRY_LATER = Result("NO", "Temporary problem, try again later", "UNAVAILABLE")
