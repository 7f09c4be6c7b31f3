"""SMTP replies: the value that a decision is, and the catalogue of those Posthouse gives.

A reply is a three-digit code (RFC 5321 §4.2), an enhanced status code (RFC 3463) and a text. It is
a plain value: the core that owns the connection is the only place that turns one into bytes.
"""

from __future__ import annotations

from typing import NamedTuple


class Reply(NamedTuple):
    """A reply to one command, or to the end of data.

    `enhanced` is empty where RFC 2034 §3 wants none (220 greeting, EHLO, 354, 334).
    `text` may hold several lines, parted by a line feed.
    """

    code: int
    enhanced: str
    text: str

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def saying(self, text: str) -> Reply:
        """The same codes with another text."""
        return Reply(self.code, self.enhanced, text)

    def encode(self) -> bytes:
        """The reply as it goes on the wire, CRLF included (RFC 5321 §4.2.1)."""
        status = f"{self.enhanced} " if self.enhanced else ""
        if "\n" not in self.text:
            return f"{self.code} {status}{self.text}\r\n".encode("utf-8", "replace")
        *first, last = self.text.split("\n")
        lines = [f"{self.code}-{status}{line}\r\n" for line in first]
        lines.append(f"{self.code} {status}{last}\r\n")
        return "".join(lines).encode("utf-8", "replace")

    def __str__(self) -> str:
        status = f"{self.enhanced} " if self.enhanced else ""
        return f"{self.code} {status}" + self.text.replace("\n", " ")


# RFC 5321 §4.2.3 names the codes, RFC 3463 and the IANA registry the enhanced ones.
OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Ok")
RECIPIENT_WILL_FORWARD = Reply(251, "2.1.5", "User not local; will forward")
CANNOT_VERIFY = Reply(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")
CLOSING = Reply(221, "2.0.0", "Bye")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")
START_MAIL_INPUT = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

SHUTTING_DOWN = Reply(421, "4.3.2", "Service is shutting down, try again later")
TIMED_OUT = Reply(421, "4.4.2", "Timed out waiting for you")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
MAILBOX_BUSY = Reply(450, "4.2.0", "Mailbox temporarily unavailable, try again later")
LOCAL_ERROR = Reply(451, "4.3.0", "Local error in processing, try again later")
OVERLOADED = Reply(451, "4.3.2", "Too much to do right now, try again later")
DATABASE_AWAY = Reply(451, "4.3.0", "Storage is out of reach, try again later")
INSUFFICIENT_STORAGE = Reply(452, "4.3.1", "Insufficient system storage")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
MAILBOX_FULL_FOR_NOW = Reply(452, "4.2.2", "Mailbox is full")
TLS_UNAVAILABLE = Reply(454, "4.7.0", "TLS not available due to a temporary reason")
AUTH_TEMPORARY = Reply(454, "4.7.0", "Temporary authentication failure")
CANNOT_ACCOMMODATE = Reply(455, "4.5.4", "Server unable to accommodate parameters right now")

COMMAND_UNRECOGNIZED = Reply(500, "5.5.2", "Command not recognized")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
BARE_LINE_ENDING = Reply(500, "5.5.2", "A line must end with <CR><LF>; a bare <CR> or <LF> is not allowed")
SYNTAX_ERROR = Reply(501, "5.5.4", "Syntax error in parameters or arguments")
BAD_SENDER_SYNTAX = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT_SYNTAX = Reply(501, "5.1.3", "Bad recipient address syntax")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
PARAMETER_NOT_IMPLEMENTED = Reply(504, "5.5.4", "Command parameter not implemented")
DOES_NOT_ACCEPT_MAIL = Reply(521, "5.3.2", "This host does not accept mail")
AUTH_REQUIRED = Reply(530, "5.7.0", "Authentication required")
TLS_REQUIRED = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
AUTH_INVALID = Reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here")
NO_SUCH_DOMAIN = Reply(550, "5.1.2", "Domain not found")
MAILBOX_DISABLED = Reply(550, "5.2.1", "Mailbox disabled, not accepting messages")
NULL_MX = Reply(556, "5.1.10", "Recipient domain does not accept mail (null MX)")
RELAY_DENIED = Reply(554, "5.7.1", "Relay access denied")
ROUTING_LOOP = Reply(554, "5.4.6", "Mail loops: too many hops, or already delivered here")
ALIAS_LOOP = Reply(550, "5.4.6", "Aliases of this address form a loop")
USER_HAS_MOVED = Reply(551, "5.1.6", "User not local; please try the given address")
MAILBOX_FULL = Reply(552, "5.2.2", "Mailbox is full")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds the limit")
MAILBOX_NAME_NOT_ALLOWED = Reply(553, "5.1.3", "Mailbox name not allowed")
SENDER_NOT_OWNED = Reply(553, "5.7.1", "Sender address is not yours")
TRANSACTION_FAILED = Reply(554, "5.0.0", "Transaction failed")
BAD_LINE_ENDINGS_IN_DATA = Reply(
    554, "5.6.0", "Message has a bare <CR> or <LF>; lines must end with <CR><LF>"
)
URL_NOT_RESOLVED = Reply(554, "5.6.6", "IMAP URL resolution failed")
URL_NOT_AUTHORIZED = Reply(554, "5.7.0", "IMAP URL authorization failed")
URL_OF_ANOTHER_SERVER = Reply(554, "5.7.14", "The URL is of a server that we have no trust relationship with")
UTF8_NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Non-ASCII address needs SMTPUTF8")
UNKNOWN_MAIL_PARAMETER = Reply(555, "5.5.4", "MAIL FROM parameter not recognized or not implemented")
UNKNOWN_RCPT_PARAMETER = Reply(555, "5.5.4", "RCPT TO parameter not recognized or not implemented")


def queued_as(letter_id: str) -> Reply:
    """The reply to an accepted letter; `letter_id` is its id as shown (also its journey's)."""
    return Reply(250, "2.0.0", f"Ok: queued as {letter_id}")
