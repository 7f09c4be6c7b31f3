"""What a client has turned on in its session, with ENABLE (RFC 5161) or otherwise.

The session turns on, grammar and driver ask. Nothing is ever turned off again. Extensions that need no
turning on are not here.
"""

from __future__ import annotations

from posthouse.mail.collation import DEFAULT

_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONDSTORE": ("CONDSTORE", ("condstore",)),
    "IMAP4REV2": ("IMAP4rev2", ("rev2", "utf8")),  # RFC 9051 Appendix A
    "UTF8=ACCEPT": ("UTF8=ACCEPT", ("utf8_accept", "utf8")),  # RFC 6855 §3
    "UIDONLY": ("UIDONLY", ("uidonly",)),  # RFC 9586 §3
    "QRESYNC": ("QRESYNC", ("qresync", "condstore")),  # RFC 7162 §3.2.3
}
"""Capability in capitals → as it is usually written, and what it turns on."""


class Enabled:
    """The extensions turned on; at first none."""

    __slots__ = ("comparator", "condstore", "qresync", "rev2", "uidonly", "utf8", "utf8_accept")

    def __init__(self) -> None:
        self.condstore = False
        """MODSEQ in every untagged FETCH (RFC 7162 §3.1)."""
        self.qresync = False
        """VANISHED in place of EXPUNGE (RFC 7162 §3.2)."""
        self.rev2 = False
        """IMAP4rev2: ESEARCH in place of SEARCH, nothing is recent (RFC 9051 Appendix E)."""
        self.uidonly = False
        """UIDs alone name messages: no sequence number is said on either side (RFC 9586)."""
        self.utf8 = False
        """Names of mailboxes in UTF-8, not in modified UTF-7, and UTF-8 in quoted strings."""
        self.utf8_accept = False
        """UTF8=ACCEPT: messages with UTF-8 in their header may be appended; no CHARSET in SEARCH."""
        self.comparator = DEFAULT
        """By which strings are compared in searches and sorts (RFC 5255 §4.7). It may change again."""

    def enable(self, name: str) -> str:
        """Turn on the extension with this capability name; its usual spelling, empty where there is none."""
        spelling, attributes = _NAMES.get(name, ("", ()))
        for attribute in attributes:
            setattr(self, attribute, True)
        return spelling
