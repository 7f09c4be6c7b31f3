"""Envelopes: who sends, who receives, and what the sender wants to be told (RFC 5321 §2.3.1, RFC 3461)."""

from __future__ import annotations

from enum import Enum, IntFlag
from typing import NamedTuple, NewType

from posthouse.mail.address import Address

LetterId = NewType("LetterId", int)
AccountId = NewType("AccountId", int)


class Notify(IntFlag):
    """NOTIFY of RFC 3461 §4.1. `UNSTATED` (no parameter) means failure, and delay as the server likes."""

    UNSTATED = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class Return(Enum):
    """RET of RFC 3461 §4.3: how much of the letter a failure notice gives back."""

    UNSTATED = ""
    FULL = "FULL"
    HEADERS = "HDRS"


class BodyType(Enum):
    """BODY of RFC 6152 and RFC 3030."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


class Sender(NamedTuple):
    """The reverse-path and the parameters of MAIL. `address` is None for the null reverse-path `<>`."""

    address: Address | None
    size: int = 0
    """SIZE as declared, octets; 0 when it was not."""
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Return = Return.UNSTATED
    envid: str = ""
    """ENVID as decoded from xtext; empty when absent."""
    auth: str = ""
    """AUTH= of RFC 4954 §5, decoded; empty when absent."""


class Recipient(NamedTuple):
    """One forward-path and the parameters of its RCPT."""

    address: Address
    notify: Notify = Notify.UNSTATED
    orcpt: str = ""
    """ORCPT, `rfc822;alice@example.org`, address part decoded from xtext; empty when absent."""


class Envelope(NamedTuple):
    sender: Sender
    recipients: tuple[Recipient, ...]


class Client(NamedTuple):
    """Who handed a letter in: what trace fields, policy and the journey need to know of a session."""

    address: str
    """IP address as text; `local` for a Unix socket or a letter we wrote ourselves."""
    port: int = 0
    helo: str = ""
    protocol: str = "ESMTP"
    """The `with` value of RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPSA, LMTP …, UTF8SMTP … (RFC 6531)."""
    tls: str = ""
    """`TLSv1.3 TLS_AES_256_GCM_SHA384` or empty."""
    user: str = ""
    """The authenticated login name, or empty."""
    listener: str = "smtp"
    trusted: bool = False
    """In mynetworks."""
