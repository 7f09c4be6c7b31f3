"""How a connection out is protected: the level, the TLS context, and what the handshake has shown.

`may` (RFC 7435): TLS where it is offered, plain text where it is not or the handshake fails; the
certificate is looked at, not judged. `encrypt`: TLS or nothing. `secure`: TLS with a certificate that is
valid for the host (RFC 6125), or nothing.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import NamedTuple, Protocol

from posthouse.net.encryption import Encryption
from posthouse.protocol.smtp.client import SecurityLevel

IMPLICIT_TLS_PORT = 465
"""Submission with TLS from the first octet (RFC 8314 §3.3)."""


class Contexts(Protocol):
    """The client's TLS contexts (net.tls.ClientTls)."""

    def opportunistic(self) -> ssl.SSLContext: ...
    def verifying(self) -> ssl.SSLContext: ...


class Protection(NamedTuple):
    """What the handshake has shown."""

    tls: str
    """`TLSv1.3 TLS_AES_256_GCM_SHA384`."""
    verified: bool
    """The certificate is valid for the host; False: nobody has asked."""
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""


def context_for(level: SecurityLevel, contexts: Contexts) -> ssl.SSLContext:
    """The context for a handshake at this level."""
    return contexts.verifying() if level == "secure" else contexts.opportunistic()


def protection_of(encryption: Encryption, level: SecurityLevel) -> Protection:
    """After the handshake."""
    certificate = encryption.peer_certificate
    fingerprint = hashlib.sha256(certificate).hexdigest() if certificate is not None else ""
    return Protection(encryption.info, level == "secure", fingerprint)
