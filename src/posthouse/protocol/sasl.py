"""SASL (RFC 4422): the mechanisms PLAIN (RFC 4616) and LOGIN, for servers and for clients.

A mechanism speaks octets; SMTP, IMAP and POP3 wrap them in base64 and in their own framing. A server
mechanism ends with `Credentials`, which somebody else checks. Secrets never appear in a `repr`.
Another mechanism is another class with a row in `SERVER_MECHANISMS` or `CLIENT_MECHANISMS`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Protocol

RESPONSE_LIMIT = 12288
"""Octets of a line in an exchange, base64 and CRLF included (RFC 4954 §4)."""

_FIELD_LIMIT = 1024
"""Octets of one identity or password."""


class SaslError(ValueError):
    """The peer's words do not fit the mechanism; the message says why and holds no secret."""


class Credentials:
    """What a user has shown: who he is, whom he wants to be, and his password."""

    __slots__ = ("authorization", "identity", "password")

    def __init__(self, identity: str, password: str, authorization: str = "") -> None:
        self.identity = identity
        """The login name (authcid)."""
        self.password = password
        self.authorization = authorization
        """Whom to act as (authzid); empty for oneself."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and (
            (self.identity, self.password, self.authorization)
            == (other.identity, other.password, other.authorization)
        )

    def __hash__(self) -> int:
        return hash((self.identity, self.authorization))

    def __repr__(self) -> str:
        return f"Credentials(identity={self.identity!r}, authorization={self.authorization!r}, password=…)"


class ServerMechanism(Protocol):
    """The server's side of one exchange."""

    def step(self, response: bytes | None) -> bytes | Credentials:
        """The client's response (None: it has sent none yet) → the next challenge, or the credentials.

        Raises SaslError.
        """


class ClientMechanism(Protocol):
    """The client's side of one exchange."""

    @property
    def initial(self) -> bytes | None:
        """The initial response; None where the server speaks first."""

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises SaslError when there is none."""


class PlainServer:
    """PLAIN (RFC 4616): [authzid] NUL authcid NUL password."""

    __slots__ = ()

    def step(self, response: bytes | None) -> bytes | Credentials:
        if response is None:
            return b""
        fields = response.split(b"\0")
        if len(fields) != 3:
            raise SaslError("PLAIN wants authorization identity, identity and password, parted by NUL")
        authorization, identity, password = (_text(field) for field in fields)
        if not identity or not password:  # RFC 4616 §2: 1*SAFE each
            raise SaslError("PLAIN wants an identity and a password")
        return Credentials(identity, password, authorization)


class LoginServer:
    """LOGIN: name, then password. No RFC; as the expired draft and everybody's clients have it."""

    __slots__ = ("_identity",)

    def __init__(self) -> None:
        self._identity = ""

    def step(self, response: bytes | None) -> bytes | Credentials:
        if response is None:
            return b"Username:"
        text = _text(response)
        if not text:
            raise SaslError("LOGIN wants a name and a password")
        if not self._identity:
            self._identity = text
            return b"Password:"
        return Credentials(self._identity, text)


class PlainClient:
    """PLAIN, all in the initial response."""

    __slots__ = ("_credentials",)

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    @property
    def initial(self) -> bytes | None:
        ours = self._credentials
        return "\0".join((ours.authorization, ours.identity, ours.password)).encode()

    def step(self, challenge: bytes) -> bytes:
        raise SaslError("the server asks for more than PLAIN has to say")


class LoginClient:
    """LOGIN: the name to the first challenge, the password to the second, whatever they say."""

    __slots__ = ("_answers",)

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.password.encode(), credentials.identity.encode()]

    @property
    def initial(self) -> bytes | None:
        return None

    def step(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise SaslError("the server asks for more than a name and a password")
        return self._answers.pop()


SERVER_MECHANISMS: dict[str, Callable[[], ServerMechanism]] = {"PLAIN": PlainServer, "LOGIN": LoginServer}

CLIENT_MECHANISMS: dict[str, Callable[[Credentials], ClientMechanism]] = {
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
}
"""In the order of our liking."""


def decode(text: bytes) -> bytes:
    """The octets behind base64 (RFC 4648 §4, with its padding). Raises SaslError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("not valid base64") from None


def encode(octets: bytes) -> bytes:
    """Base64 on one line."""
    return base64.b64encode(octets)


def _text(field: bytes) -> str:
    if len(field) > _FIELD_LIMIT:
        raise SaslError(f"an identity or password has more than {_FIELD_LIMIT} octets")
    try:
        text = field.decode()
    except UnicodeDecodeError:
        raise SaslError("identities and passwords are UTF-8") from None
    if "\0" in text:
        raise SaslError("NUL has no place in an identity or password")
    return text
