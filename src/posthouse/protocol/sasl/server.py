"""The server's side of an exchange in base64, as SMTP, IMAP and POP3 lead it, and what they offer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from posthouse.protocol.sasl.bearer import BEARER, BearerServer
from posthouse.protocol.sasl.channel import Channel
from posthouse.protocol.sasl.exchange import (
    Credentials,
    Keys,
    KeysWanted,
    Proof,
    Refused,
    SaslError,
    ServerMechanism,
    Shown,
    decode,
    encode,
)
from posthouse.protocol.sasl.external import ExternalServer
from posthouse.protocol.sasl.plain import LoginServer, PlainServer
from posthouse.protocol.sasl.scram import PLUS, SCRAM, ScramServer

PASSWORDS = frozenset({"PLAIN", "LOGIN"})
"""Mechanisms that send the password itself."""


class Over(NamedTuple):
    """The client has heard why it is refused; now say so."""

    refusal: Any


class NotYourself(SaslError):
    """One user wants to act as another, which nobody may."""


Next: TypeAlias = bytes | KeysWanted | Shown | Over


def offered(configured: Iterable[str], channel: Channel) -> tuple[str, ...]:
    """The mechanisms to offer on a connection, in the same order.

    None where somebody can listen; -PLUS where the connection binds; EXTERNAL to whom has shown a certificate
    that names an address.
    """
    if not channel.private:
        return ()
    return tuple([name for name in configured if _usable(name, channel)])


def _usable(mechanism: str, channel: Channel) -> bool:
    if mechanism.endswith(PLUS):
        return channel.binds
    return mechanism != "EXTERNAL" or bool(channel.addresses)


def with_binding(mechanisms: Sequence[str]) -> tuple[str, ...]:
    """The mechanisms, and before them the -PLUS variants of those that have one."""
    return (*[name + PLUS for name in mechanisms if name in SCRAM], *mechanisms)


def takes_passwords(configured: Iterable[str]) -> bool:
    """Whether a password may be said: by SASL, and by IMAP's LOGIN and POP3's USER and PASS alike."""
    return not PASSWORDS.isdisjoint(configured)


class Exchange:
    """One exchange, from the choice of a mechanism to what the client has shown. Lines come without CRLF."""

    __slots__ = ("_refusal", "_steps", "mechanism")

    def __init__(self, mechanism: str, channel: Channel, offered: Sequence[str]) -> None:
        """`mechanism` is one of those that were `offered` on this `channel`."""
        self.mechanism = mechanism
        self._steps = _begin(mechanism, channel, offered)
        self._refusal: Over | None = None

    def begin(self, initial: bytes | None) -> Next:
        """Go on from the initial response; None: there was none, `=`: it is empty (RFC 4954 §4, RFC 4959 §3).

        Raises SaslError, also where one user wants to act as another (NotYourself).
        """
        if initial is None:
            return self._went_on(None)
        return self._went_on(b"" if initial == b"=" else decode(initial))

    def respond(self, line: bytes) -> Next:
        """Go on from the client's line. Raises SaslError as `begin`."""
        if self._refusal is not None:
            return self._refusal  # whatever the line says: ^A, `*`, or nothing
        if line == b"*":
            raise SaslError("you have cancelled it")
        return self._went_on(decode(line))

    def challenge(self, keys: Keys) -> bytes:
        """The challenge that follows `KeysWanted`."""
        assert isinstance(self._steps, ScramServer)
        return encode(self._steps.challenge(keys))

    def refuse(self, refused: Refused) -> bytes:
        """The challenge that says why; once the client has answered it, the exchange is `Over`."""
        self._refusal = Over(refused.then)
        return encode(refused.challenge)

    def _went_on(self, response: bytes | None) -> Next:
        step = self._steps.step(response)
        if isinstance(step, bytes):
            return encode(step)
        if isinstance(step, Credentials | Proof) and step.authorization not in ("", step.identity):
            raise NotYourself("acting as somebody else is not allowed")
        return step


def _begin(mechanism: str, channel: Channel, offered: Sequence[str]) -> ServerMechanism:
    if mechanism == "PLAIN":
        return PlainServer()
    if mechanism == "LOGIN":
        return LoginServer()
    if mechanism == "EXTERNAL":
        return ExternalServer(channel)
    if mechanism in BEARER:
        return BearerServer(mechanism)
    return ScramServer(mechanism, channel, could_bind=mechanism + PLUS in offered)
