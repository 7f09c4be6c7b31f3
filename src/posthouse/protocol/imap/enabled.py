"""What a client has turned on in its session, with ENABLE (RFC 5161) or otherwise.

The session turns on, grammar and driver ask. Nothing is ever turned off again. Extensions that need no
turning on are not here.
"""

from __future__ import annotations

_NAMES: dict[str, tuple[str, ...]] = {
    "CONDSTORE": ("condstore",),
    "QRESYNC": ("qresync", "condstore"),  # RFC 7162 §3.2.3
}


class Enabled:
    """The extensions turned on; at first none."""

    __slots__ = ("condstore", "qresync")

    def __init__(self) -> None:
        self.condstore = False
        """MODSEQ in every untagged FETCH (RFC 7162 §3.1)."""
        self.qresync = False
        """VANISHED in place of EXPUNGE (RFC 7162 §3.2)."""

    def enable(self, name: str) -> bool:
        """Turn on the extension with this capability name; False where there is none to turn on."""
        attributes = _NAMES.get(name, ())
        for attribute in attributes:
            setattr(self, attribute, True)
        return bool(attributes)
