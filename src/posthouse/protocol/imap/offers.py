"""What an administrator has set of what a session offers, as CAPABILITY tells it."""

from __future__ import annotations

from typing import NamedTuple


class Offers(NamedTuple):
    """Numbers are 0 where there is no such limit."""

    append_limit: int = 0
    """Octets of a message at most (RFC 7889)."""
    message_limit: int = 0
    """Messages that one command deals with at most (RFC 9738)."""
    save_limit: int = 0
    """Messages that one COPY or APPEND takes at most, where there is no `message_limit` (RFC 9738)."""
    unauthenticate: bool = True
    """UNAUTHENTICATE may be said (RFC 8437 §8)."""

    def names(self) -> list[str]:
        """Capabilities that hold in every state."""
        names = []
        if self.append_limit:
            names.append(f"APPENDLIMIT={self.append_limit}")  # RFC 7889 §2
        if self.message_limit:
            names.append(f"MESSAGELIMIT={self.message_limit}")  # RFC 9738 §3
        elif self.save_limit:
            names.append(f"SAVELIMIT={self.save_limit}")
        return names


NO_LIMITS = Offers()
