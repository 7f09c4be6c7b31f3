"""The server's side of AUTH (RFC 4954 §4): a SASL mechanism in SMTP's base64."""

from __future__ import annotations

from typing import TypeAlias

from posthouse.protocol import sasl

Step: TypeAlias = "bytes | sasl.KeysWanted | sasl.Credentials"


class AuthExchange:
    """One exchange, from AUTH to the credentials."""

    __slots__ = ("_steps", "mechanism")

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism
        self._steps = sasl.SERVER_MECHANISMS[mechanism]()

    def begin(self, initial: bytes | None) -> Step:
        """The initial response in base64 (`=` when empty, None when absent) → challenge line or credentials.

        Raises SaslError.
        """
        if initial is None:
            return self._challenge(self._steps.step(None))
        return self.respond(b"" if initial == b"=" else initial)

    def respond(self, text: bytes) -> Step:
        """The client's line → the 334 line, or the credentials. Raises SaslError."""
        if text == b"*":
            raise sasl.SaslError("you have cancelled it")
        return self._challenge(self._steps.step(sasl.decode(text)))

    def challenge(self, keys: sasl.Keys) -> bytes:
        """The 334 line that follows `KeysWanted`."""
        assert isinstance(self._steps, sasl.ScramServer)
        return b"334 " + sasl.encode(self._steps.challenge(keys)) + b"\r\n"

    @staticmethod
    def _challenge(result: Step) -> Step:
        return b"334 " + sasl.encode(result) + b"\r\n" if isinstance(result, bytes) else result
