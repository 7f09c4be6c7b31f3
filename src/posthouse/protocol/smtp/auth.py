"""The server's side of AUTH (RFC 4954 §4): from the command to what the client has shown, in SMTP's lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from posthouse.mail.reply import AUTH_INVALID, AUTH_NEEDS_TLS, BAD_SEQUENCE, PARAMETER_NOT_IMPLEMENTED, Reply
from posthouse.protocol import sasl
from posthouse.protocol.smtp.events import Auth
from posthouse.protocol.smtp.grammar import AuthCommand

Outcome: TypeAlias = "bytes | sasl.KeysWanted | Auth | Reply"
"""What follows from a line: a 334 line, a question or the end for the driver, or a refusal."""

T = TypeVar("T")


def objection(
    command: AuthCommand, offered: tuple[str, ...], channel: sasl.Channel, *, authenticated: bool
) -> Reply | None:
    """Why no exchange may begin now, or None."""
    if authenticated:
        return BAD_SEQUENCE.saying("You are authenticated already")
    if not channel.private:
        return AUTH_NEEDS_TLS
    if command.mechanism not in offered:
        return PARAMETER_NOT_IMPLEMENTED.saying("Authentication mechanism not offered")
    return None


class AuthExchange:
    """One exchange, from AUTH to what the client has shown."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: sasl.Exchange) -> None:
        self._exchange = exchange

    def begin(self, initial: bytes | None) -> Outcome:
        """What follows from the initial response in base64 (`=` when empty, None when absent)."""
        return self._step(self._exchange.begin, initial)

    def respond(self, line: bytes) -> Outcome:
        """What follows from the client's line."""
        return self._step(self._exchange.respond, line)

    def challenge(self, keys: sasl.Keys) -> bytes:
        """The 334 line that follows `KeysWanted`."""
        return _line(self._exchange.challenge(keys))

    def refuse(self, refused: sasl.Refused) -> bytes:
        """The 334 line that says why; a refusal follows it."""
        return _line(self._exchange.refuse(refused))

    def _step(self, step: Callable[[T], sasl.Next], line: T) -> Outcome:
        try:
            result = step(line)
        except sasl.NotYourself as error:
            return AUTH_INVALID.saying(f"Cannot authenticate: {error}")
        except sasl.SaslError as error:
            return Reply(501, "5.5.2", f"Cannot authenticate: {error}")
        if isinstance(result, bytes):
            return _line(result)
        if isinstance(result, sasl.Over):
            refusal: Reply = result.refusal
            return refusal
        return result if isinstance(result, sasl.KeysWanted) else Auth(self._exchange.mechanism, result)


def _line(challenge: bytes) -> bytes:
    return b"334 " + challenge + b"\r\n"
