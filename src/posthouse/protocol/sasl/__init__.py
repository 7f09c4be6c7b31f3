"""SASL (RFC 4422): how a user proves who he is, for servers and for clients.

A mechanism speaks octets; SMTP, IMAP and POP3 wrap them in base64 and in their own framing. A server's
mechanism ends with `Credentials`, which somebody else checks. Secrets never appear in a `repr`.
Another mechanism is another class with a row in `SERVER_MECHANISMS` or `CLIENT_MECHANISMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from posthouse.protocol.sasl.exchange import (
    RESPONSE_LIMIT,
    ClientMechanism,
    Credentials,
    Keys,
    KeysWanted,
    Proof,
    SaslError,
    ServerMechanism,
    decode,
    encode,
)
from posthouse.protocol.sasl.plain import LoginClient, LoginServer, PlainClient, PlainServer
from posthouse.protocol.sasl.scram import SCRAM, ScramServer, make_keys

__all__ = [
    "CLIENT_MECHANISMS",
    "RESPONSE_LIMIT",
    "SCRAM",
    "SERVER_MECHANISMS",
    "USUAL",
    "ClientMechanism",
    "Credentials",
    "Keys",
    "KeysWanted",
    "LoginClient",
    "LoginServer",
    "PlainClient",
    "PlainServer",
    "Proof",
    "SaslError",
    "ScramServer",
    "ServerMechanism",
    "decode",
    "encode",
    "make_keys",
]

USUAL = ("PLAIN", "LOGIN")

SERVER_MECHANISMS: dict[str, Callable[[], ServerMechanism]] = {
    **{name: partial(ScramServer, name) for name in SCRAM},
    "PLAIN": PlainServer,
    "LOGIN": LoginServer,
}
"""In the order in which they are offered."""

CLIENT_MECHANISMS: dict[str, Callable[[Credentials], ClientMechanism]] = {
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
}
"""In the order of our liking."""
