"""SASL (RFC 4422): how a user proves who he is, for servers and for clients.

A mechanism speaks octets; an `Exchange` has them in base64, and SMTP, IMAP and POP3 in their own framing.
A server's mechanism ends with what the client has shown, which somebody else judges. Secrets never appear
in a `repr`. Another mechanism is another class, with a line in `server` or in `CLIENT_MECHANISMS`.
"""

from __future__ import annotations

from collections.abc import Callable

from posthouse.protocol.sasl.bearer import BEARER, problem
from posthouse.protocol.sasl.channel import IN_CLEAR, PRIVATE, Channel
from posthouse.protocol.sasl.exchange import (
    RESPONSE_LIMIT,
    Certificate,
    ClientMechanism,
    Credentials,
    Evidence,
    Keys,
    KeysWanted,
    Proof,
    Refused,
    SaslError,
    Shown,
    Token,
    decode,
    encode,
)
from posthouse.protocol.sasl.plain import LoginClient, PlainClient
from posthouse.protocol.sasl.scram import PLUS, SCRAM, make_keys
from posthouse.protocol.sasl.server import (
    Exchange,
    Next,
    NotYourself,
    Over,
    offered,
    takes_passwords,
    with_binding,
)

__all__ = [
    "BEARER",
    "CLIENT_MECHANISMS",
    "IN_CLEAR",
    "PLUS",
    "PRIVATE",
    "RESPONSE_LIMIT",
    "SCRAM",
    "USUAL",
    "Certificate",
    "Channel",
    "ClientMechanism",
    "Credentials",
    "Evidence",
    "Exchange",
    "Keys",
    "KeysWanted",
    "LoginClient",
    "Next",
    "NotYourself",
    "Over",
    "PlainClient",
    "Proof",
    "Refused",
    "SaslError",
    "Shown",
    "Token",
    "decode",
    "encode",
    "make_keys",
    "offered",
    "problem",
    "takes_passwords",
    "with_binding",
]

USUAL = ("PLAIN", "LOGIN")
"""What is offered where nothing is configured."""

CLIENT_MECHANISMS: dict[str, Callable[[Credentials], ClientMechanism]] = {
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
}
"""In the order of our liking."""
