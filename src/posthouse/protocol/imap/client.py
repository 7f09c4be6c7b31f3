"""The client's side of IMAP, without I/O: commands become octets, octets become responses.

It knows the commands by which mail is read from another server, and reads only: mailboxes are opened by
EXAMINE and messages fetched by BODY.PEEK (RFC 9051 §6.3.3, §6.4.5). Commands may be sent before the answers
to others have come (§5.5); each has a tag of its own.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence

from posthouse.protocol.imap import utf7
from posthouse.protocol.imap.responses import Response, ResponseReader, Status
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.speaker import Speaker


class CannotSay(ValueError):
    """A name or password that this server cannot be told."""


class ImapClient(Speaker):
    """One connection. `take_output` is to be sent after each command."""

    def __init__(self) -> None:
        self.capabilities: frozenset[str] = frozenset()
        """As last told, in capitals."""
        self._reader = ResponseReader()
        self._tags = itertools.count(1)
        self._output: list[bytes] = []

    # Octets

    def receive(self, octets: bytes) -> None:
        """Take what the server has sent."""
        self._reader.receive(octets)

    def next_response(self) -> Response | None:
        """The next response; None until more has arrived. Raises ImapProtocolError."""
        response = self._reader.next()
        if isinstance(response, Status) and response.code.upper().startswith("CAPABILITY "):
            self.learn(response.code.split()[1:])
        return response

    def learn(self, capabilities: Sequence[str]) -> None:
        """What the server can."""
        self.capabilities = frozenset(word.upper() for word in capabilities)

    def command(self, *words: bytes) -> str:
        """Say a command; its tag."""
        tag = f"A{next(self._tags)}"
        self._output.append(b" ".join([tag.encode(), *words]) + b"\r\n")
        return tag

    # Commands

    def login(self, user: str, password: str, master: str = "") -> str:
        """Log in as `user`, or as `master` on behalf of `user`; the tag. Raises CannotSay.

        SASL PLAIN where the server has it together with an initial response (RFC 4616, RFC 4959), which
        can say anything; else LOGIN, with a master user in the way of Dovecot, `user*master`.
        """
        if {"AUTH=PLAIN", "SASL-IR"} <= self.capabilities:
            said = "\0".join([user if master else "", master or user, password])
            return self.command(b"AUTHENTICATE PLAIN", base64.b64encode(said.encode()))
        name = f"{user}*{master}" if master else user
        return self.command(b"LOGIN", _quoted(name), _quoted(password))

    def list_mailboxes(self) -> list[str]:
        """Ask for all mailboxes, what they are for, and which are subscribed; the tags."""
        if {"LIST-EXTENDED", "SPECIAL-USE"} <= self.capabilities or "IMAP4REV2" in self.capabilities:
            return [self.command(b'LIST "" "*" RETURN (SPECIAL-USE SUBSCRIBED)')]
        return [self.command(b'LIST "" "*"'), self.command(b'LSUB "" "*"')]

    def examine(self, mailbox: bytes) -> str:
        return self.command(b"EXAMINE", _quoted_octets(mailbox))

    def status(self, mailbox: bytes) -> str:
        return self.command(b"STATUS", _quoted_octets(mailbox), b"(MESSAGES UIDNEXT UIDVALIDITY)")

    def fetch_marks(self, first: int, last: int) -> str:
        """What is known of messages beside their content."""
        return self.command(b"UID FETCH %d:%d (UID FLAGS INTERNALDATE RFC822.SIZE)" % (first, last))

    def fetch_bodies(self, uids: Sequence[int]) -> str:
        return self.command(b"UID FETCH", write_sequence_set(uids), b"(UID BODY.PEEK[])")


def decoded_name(wire: bytes, separator: bytes | None) -> str:
    """A mailbox name of LIST with '/' between its levels. What is not modified UTF-7 may be UTF-8."""
    try:
        name = utf7.decode(wire)
    except ValueError:
        name = wire.decode("utf-8", "replace")
    parts = name.split(separator.decode()) if separator else [name]
    return "/".join(part.replace("/", "_") for part in parts)


def _quoted(text: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise CannotSay("this server takes only printable US-ASCII in names and passwords")
    return _quoted_octets(text.encode())


def _quoted_octets(octets: bytes) -> bytes:
    if any(octet in octets for octet in b"\r\n\0"):
        raise CannotSay("a mailbox name with a line ending")
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
