"""Tokens in place of passwords: OAUTHBEARER (RFC 7628), and XOAUTH2 as Google and Microsoft document it.

    OAUTHBEARER   n,a=alice@example.org,^Ahost=mail.example.org^Aport=993^Aauth=Bearer vF9dft4qmT^A^A
    XOAUTH2       user=alice@example.org^Aauth=Bearer vF9dft4qmT^A^A

A refusal takes one round more: the server says why in JSON (`problem`), the client answers with ^A or
anything else, and only then does the exchange fail (RFC 7628 §3.2.3).
"""

from __future__ import annotations

import json
import re

from posthouse.protocol.sasl.exchange import SaslError, Token
from posthouse.protocol.sasl.gs2 import read_header

BEARER = ("OAUTHBEARER", "XOAUTH2")

_SEPARATOR = b"\x01"
_FIELD = re.compile(rb"([A-Za-z]+)=([\x21-\x7e \t\r\n]*)")  # RFC 7628 §3.1; unknown keys are passed over
_TOKEN = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*) *|", re.I)  # RFC 6750 §2.1, or nothing yet
_USER = b"user="


class BearerServer:
    """One exchange, by either mechanism."""

    __slots__ = ("_mechanism",)

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism

    def step(self, response: bytes | None) -> bytes | Token:
        if response is None:
            return b""
        first, separator, rest = response.partition(_SEPARATOR)
        if not separator:
            raise SaslError("fields are parted by ^A")
        identity = _user(first) if self._mechanism == "XOAUTH2" else _authorization(first)
        return Token(self._mechanism, identity, _token(rest))


def _authorization(octets: bytes) -> str:
    header, rest = read_header(octets)
    if header.flag.startswith(b"p=") or rest:
        raise SaslError("there is no channel binding for tokens")
    return header.authorization


def _user(field: bytes) -> str:
    try:
        name = field.removeprefix(_USER).decode()
    except UnicodeDecodeError:
        raise SaslError("names are UTF-8") from None
    if not field.startswith(_USER) or not name or "\0" in name:
        raise SaslError("XOAUTH2 begins with a user")
    return name


def _token(octets: bytes) -> str:
    """What `auth` says; empty where a client only asks where tokens are to be had (RFC 7628 §4.3)."""
    if not octets.endswith(_SEPARATOR):
        raise SaslError("the fields end with ^A twice")
    token = None
    for field in octets[:-1].split(_SEPARATOR):
        if not field:
            continue
        parts = _FIELD.fullmatch(field)
        if parts is None:
            raise SaslError("malformed field")
        if parts[1].lower() == b"auth":
            if token is not None:
                raise SaslError("there is more than one token")
            token = _TOKEN.fullmatch(parts[2].rstrip())
            if token is None:
                raise SaslError("only bearer tokens are taken")
    if token is None:
        raise SaslError("there is no token")
    return (token[1] or b"").decode()


def problem(mechanism: str, code: str, *, scope: str = "", discovery: str = "") -> bytes:
    """What a client is told of a token that is refused (RFC 7628 §3.2.2).

    `code` is OAuth's: invalid_token, insufficient_scope …; `scope` the one to ask for, `discovery` the
    URL of the issuer's OpenID configuration.
    """
    if mechanism == "XOAUTH2":
        said = {"status": "401" if code == "invalid_token" else "403", "schemes": "bearer"}
    else:
        said = {"status": code}
    if scope:
        said["scope"] = scope
    if discovery and mechanism != "XOAUTH2":
        said["openid-configuration"] = discovery
    return json.dumps(said, separators=(",", ":")).encode()
