"""What an exchange may know of the connection under it: who can listen, and what TLS says of its ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

BINDINGS = ("tls-server-end-point", "tls-unique")
"""Types of channel binding (RFC 5929). Not tls-exporter (RFC 9266), for which `ssl` has nothing."""


def _unbound(type: str) -> bytes | None:
    return None


class Channel(NamedTuple):
    """One connection."""

    private: bool = False
    """Encrypted, or nobody can listen in between."""
    binding: Callable[[str], bytes | None] = _unbound
    """Type of channel binding → its data (RFC 5056 §2.1); None: not to be had on this connection."""
    addresses: tuple[str, ...] = ()
    """Those that the client's certificate names, once TLS has verified it."""

    @property
    def binds(self) -> bool:
        """Whether an exchange can be bound to this connection."""
        return any(self.binding(type) is not None for type in BINDINGS)


IN_CLEAR = Channel()
PRIVATE = Channel(private=True)
