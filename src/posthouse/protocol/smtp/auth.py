"""The server's side of AUTH (RFC 4954 §4): from the command to the credentials, in SMTP's base64."""

from __future__ import annotations

from typing import TypeAlias

from posthouse.mail.reply import AUTH_NEEDS_TLS, BAD_SEQUENCE, PARAMETER_NOT_IMPLEMENTED, Reply
from posthouse.protocol import sasl
from posthouse.protocol.smtp.events import Auth
from posthouse.protocol.smtp.grammar import AuthCommand
from posthouse.protocol.smtp.verbs import Capabilities

Outcome: TypeAlias = "bytes | sasl.KeysWanted | Auth | Reply"
"""What follows from a line: a 334 line, a question or the end for the driver, or a refusal."""


def objection(
    command: AuthCommand, capabilities: Capabilities, *, secure: bool, authenticated: bool
) -> Reply | None:
    """Why no exchange may begin now, or None."""
    if authenticated:
        return BAD_SEQUENCE.saying("You are authenticated already")
    if not (secure or capabilities.auth_without_tls):
        return AUTH_NEEDS_TLS
    if command.mechanism not in capabilities.auth_mechanisms:
        return PARAMETER_NOT_IMPLEMENTED.saying("Authentication mechanism not offered")
    return None


class AuthExchange:
    """One exchange, from AUTH to the credentials."""

    __slots__ = ("_mechanism", "_steps")

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._steps = sasl.SERVER_MECHANISMS[mechanism]()

    def begin(self, initial: bytes | None) -> Outcome:
        """What follows from the initial response in base64 (`=` when empty, None when absent)."""
        if initial is None:
            return self._step(None)
        return self._step(b"") if initial == b"=" else self.respond(initial)

    def respond(self, line: bytes) -> Outcome:
        """What follows from the client's line."""
        if line == b"*":
            return _cannot("you have cancelled it")
        try:
            response = sasl.decode(line)
        except sasl.SaslError as error:
            return _cannot(error)
        return self._step(response)

    def challenge(self, keys: sasl.Keys) -> bytes:
        """The 334 line that follows `KeysWanted`."""
        assert isinstance(self._steps, sasl.ScramServer)
        return _line(self._steps.challenge(keys))

    def _step(self, response: bytes | None) -> Outcome:
        try:
            result = self._steps.step(response)
        except sasl.SaslError as error:
            return _cannot(error)
        if isinstance(result, sasl.Credentials):
            return Auth(self._mechanism, result)
        return _line(result) if isinstance(result, bytes) else result


def _line(challenge: bytes) -> bytes:
    return b"334 " + sasl.encode(challenge) + b"\r\n"


def _cannot(reason: object) -> Reply:
    return Reply(501, "5.5.2", f"Cannot authenticate: {reason}")
