"""What happens in an SMTP server session, as values: the driver decides each and answers with a Reply.

`Chunk`, `Reset` and `Quit` are told, not asked: they need no answer (None is one). For the others None
means "yes, in the usual words", but for `EndOfData` and `Auth`, whose answer only the driver knows.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.reply import Reply
from posthouse.protocol.sasl import KeysWanted, Shown


class Connected(NamedTuple):
    """The connection stands. Answer: 220 with the greeting, 554 or 521 to do no business, 421 to close."""


class Helo(NamedTuple):
    """HELO, EHLO (`extended`) or LHLO. Of a yes only the code counts: the core writes the text."""

    name: str
    extended: bool


class StartTls(NamedTuple):
    """Answer: 220, or 454 when TLS cannot be had."""


class Auth(NamedTuple):
    """An exchange has come to its end. Answer: 235, 535, 454 …"""

    mechanism: str
    shown: Shown


class Mail(NamedTuple):
    """MAIL FROM. Its size is already known to be within the limit."""

    sender: Sender


class Rcpt(NamedTuple):
    """RCPT TO. A positive answer (250, 251) adds the recipient."""

    recipient: Recipient


class Vrfy(NamedTuple):
    argument: str


class Expn(NamedTuple):
    argument: str


class Data(NamedTuple):
    """The letter is about to come, by DATA or (`chunked`) by BDAT. Answer: 354 (not shown to BDAT), or no."""

    chunked: bool


class FetchUrl(NamedTuple):
    """BURL: what a URL names is the next piece of the letter (RFC 4468).

    Answer: none, once its octets have passed through `expect` and `take` of `ServerSession.letter`; or no,
    and the transaction is over.
    """

    url: str
    last: bool


class Chunk(NamedTuple):
    """Octets of the letter, dot-stuffing undone. A letter that arrives together is one chunk."""

    data: bytes


class EndOfData(NamedTuple):
    """The letter is complete. Answer: one Reply; for LMTP also a list, one for each accepted recipient."""


class Reset(NamedTuple):
    """The transaction is over without a letter: by RSET, a new EHLO, or as the core refused the letter."""

    reply: Reply | None
    """The reply with which the core refused the letter; None where the client gave it up."""


class Quit(NamedTuple):
    """The client has said QUIT; 221 is on its way."""


Event: TypeAlias = (
    Connected
    | Helo
    | StartTls
    | KeysWanted
    | Auth
    | Mail
    | Rcpt
    | Vrfy
    | Expn
    | Data
    | FetchUrl
    | Chunk
    | EndOfData
    | Reset
    | Quit
)
