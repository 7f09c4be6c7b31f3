"""What an exchange may know of the connection under it: who can listen, and what TLS says of its ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def _unbound(type: str) -> bytes | None:
    return None


class Channel(NamedTuple):
    """One connection."""

    private: bool = False
    """Encrypted, or nobody can listen in between."""
    binding: Callable[[str], bytes | None] = _unbound
    """Type of channel binding → its data (RFC 5056 §2.1, RFC 5929); None: not to be had on this connection.

    tls-exporter (RFC 9266), which clients take on TLS 1.3, is not to be had: `ssl` has nothing for it.
    """
    binds: bool = False
    """Whether to offer that: a client that has no type in common with us fails where it is offered."""
    addresses: tuple[str, ...] = ()
    """Those that the client's certificate names, once TLS has verified it."""


IN_CLEAR = Channel()
PRIVATE = Channel(private=True)
