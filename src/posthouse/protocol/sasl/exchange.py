"""What the two sides of a SASL exchange are, whatever the mechanism (RFC 4422)."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple, Protocol, TypeAlias

RESPONSE_LIMIT = 12288
"""Octets of a line in an exchange, base64 and CRLF included (RFC 4954 §4)."""


class SaslError(ValueError):
    """The peer's words do not fit the mechanism; the message says why and holds no secret."""


class Proof(NamedTuple):
    """What became of a mechanism that never sees the password: it was compared with `Keys`."""

    right: bool
    version: int
    """Of the keys."""


class Credentials:
    """What a user has shown: who he is, whom he wants to be, and his password or a proof of it."""

    __slots__ = ("authorization", "identity", "password", "proof")

    def __init__(
        self, identity: str, password: str, authorization: str = "", proof: Proof | None = None
    ) -> None:
        self.identity = identity
        """The login name (authcid)."""
        self.password = password
        """Empty where there is a proof."""
        self.authorization = authorization
        """Whom to act as (authzid); empty for oneself."""
        self.proof = proof

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and (
            (self.identity, self.password, self.authorization, self.proof)
            == (other.identity, other.password, other.authorization, other.proof)
        )

    def __hash__(self) -> int:
        return hash((self.identity, self.authorization))

    def __repr__(self) -> str:
        return f"Credentials(identity={self.identity!r}, authorization={self.authorization!r}, password=…)"


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


Step: TypeAlias = "bytes | KeysWanted | Credentials"


class ServerMechanism(Protocol):
    """The server's side of one exchange."""

    def step(self, response: bytes | None) -> Step:
        """The client's response (None: it has sent none yet) → the next challenge, or the credentials.

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
