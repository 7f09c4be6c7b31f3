"""How much one session with an SMTP server may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one session may ask for. The message size limit is a capability: EHLO tells it."""

    recipients: int = 1000
    """Recipients of one letter; RFC 5321 §4.5.3.1.8 wants at least 100."""
    errors: int = 20
    """Refused commands after which the next is answered 421 (Postfix: smtpd_hard_error_limit)."""
    idle_commands: int = 100
    """NOOP, RSET, VRFY … between two letters, after which each is an error (smtpd_junk_command_limit)."""
    timeout: float = 300.0
    """Seconds to wait for the client (RFC 5321 §4.5.3.2.7)."""
