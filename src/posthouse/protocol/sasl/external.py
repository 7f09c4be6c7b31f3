"""EXTERNAL (RFC 4422 Appendix A): TLS has verified the client's certificate, which says who he is."""

from __future__ import annotations

from posthouse.protocol.sasl.channel import Channel
from posthouse.protocol.sasl.exchange import Certificate, SaslError

_IDENTITY_LIMIT = 1024
"""Octets of an authorization identity."""


class ExternalServer:
    """The client says whom it wants to be, or nothing; the rest is in its certificate."""

    __slots__ = ("_addresses",)

    def __init__(self, channel: Channel) -> None:
        self._addresses = channel.addresses

    def step(self, response: bytes | None) -> bytes | Certificate:
        if response is None:
            return b""
        if len(response) > _IDENTITY_LIMIT:
            raise SaslError(f"an identity has more than {_IDENTITY_LIMIT} octets")
        try:
            identity = response.decode()
        except UnicodeDecodeError:
            raise SaslError("identities are UTF-8") from None
        if "\0" in identity:
            raise SaslError("NUL has no place in an identity")
        return Certificate(identity, self._addresses)
