"""PLAIN (RFC 4616) and LOGIN: the password itself, which TLS has to keep from others."""

from __future__ import annotations

from posthouse.protocol.sasl.exchange import Credentials, SaslError

_FIELD_LIMIT = 1024
"""Octets of one identity or password."""


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
