"""What the two sides of a SASL exchange are, whatever the mechanism (RFC 4422)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

RESPONSE_LIMIT = 12288
"""Octets of a line in an exchange, base64 and CRLF included (RFC 4954 §4)."""


class SaslError(ValueError):
    """The peer's words do not fit the mechanism; the message says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login name, and the password to it."""

    identity: str
    """The login name (authcid)."""
    password: str = field(repr=False)
    authorization: str = ""
    """Whom to act as (authzid); empty for oneself."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of a mechanism that never sees the password (SCRAM): it was compared with `Keys`."""

    mechanism: str
    identity: str
    authorization: str
    right: bool
    version: int
    """Of the keys."""
    suspicion: str = ""
    """What suggests that somebody stands between the client and us."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What TLS has verified (EXTERNAL)."""

    identity: str
    """Who he wants to be; empty where the certificate says enough."""
    addresses: tuple[str, ...]
    """Those that the certificate is for."""

    @property
    def mechanism(self) -> str:
        return "EXTERNAL"


@dataclass(frozen=True, slots=True)
class Token:
    """A token from somebody whom we trust to know the user (OAUTHBEARER, XOAUTH2)."""

    mechanism: str
    identity: str
    """Who he says he is; empty where the token says enough."""
    token: str = field(repr=False)


Evidence: TypeAlias = Proof | Certificate | Token
"""What shows who a user is without his password."""


class Refused(NamedTuple):
    """A driver's answer: no, but the client is told why first, and has to answer it (RFC 7628 §3.2.3)."""

    challenge: bytes
    then: Any
    """The refusal itself."""


class KeysWanted(NamedTuple):
    """A question in the middle of an exchange: what is kept of the password of `identity`?"""

    identity: str
    mechanism: str
    """A name in `SCRAM`."""


class Keys(NamedTuple):
    """What a server keeps of a password for SCRAM (RFC 5802 §3), and what it needs for one exchange."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    version: int
    """Of the credential; comes back in the `Proof`."""
    nonce: str
    """The server's part of it: printable, without comma, never the same."""

    def __repr__(self) -> str:
        return "Keys(…)"


Shown: TypeAlias = Credentials | Evidence
"""How an exchange ends; somebody else judges it."""

Step: TypeAlias = bytes | KeysWanted | Shown


class ServerMechanism(Protocol):
    """The server's side of one exchange."""

    def step(self, response: bytes | None) -> Step:
        """The client's response (None: it has sent none yet) → the next challenge, or what it has shown.

        In between SCRAM wants `Keys`, which are given to its `challenge`. Raises SaslError.
        """


class ClientMechanism(Protocol):
    """The client's side of one exchange."""

    @property
    def initial(self) -> bytes | None:
        """The initial response; None where the server speaks first."""

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises SaslError when there is none."""


def decode(text: bytes) -> bytes:
    """The octets behind base64 (RFC 4648 §4, with its padding). Raises SaslError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("not valid base64") from None


def encode(octets: bytes) -> bytes:
    """Base64 on one line."""
    return base64.b64encode(octets)
