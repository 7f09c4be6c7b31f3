"""TLS on a blocking connection, and what the other side's certificate says, in words."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from typing import NamedTuple

from posthouse.cli.dialogue import HandshakeFailed, Secured, reason
from posthouse.net.tls import ClientTls


class Wish(NamedTuple):
    """How to shake hands."""

    contexts: ClientTls
    verify: bool
    """Demand a certificate that is valid for the host."""
    timeout: float
    """Seconds for the whole handshake, more or less: for each wait in it."""


class Handshake(NamedTuple):
    """What a handshake has shown."""

    secured: Secured
    certificate: str
    """In words; empty where the server showed none."""
    seconds: float


def shake_hands(connection: socket.socket, host: str, wish: Wish) -> Handshake:
    """Begin TLS with `host` (a name or an address, for SNI and the check). Raises HandshakeFailed.

    Raises TlsProblem where the authorities cannot be read. A connection that fails is closed.
    """
    context = wish.contexts.verifying() if wish.verify else wish.contexts.opportunistic()
    began = time.monotonic()
    connection.settimeout(wish.timeout)
    try:
        encrypted = context.wrap_socket(connection, server_hostname=host.rstrip(".") or None)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise HandshakeFailed(f"certificate not valid: {error.verify_message}") from None
    except ssl.SSLError as error:
        connection.close()
        raise HandshakeFailed((error.reason or str(error)).replace("_", " ").lower()) from None
    except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot say
        connection.close()
        raise HandshakeFailed(reason(error) if isinstance(error, OSError) else str(error)) from None
    cipher = encrypted.cipher()
    info = f"{encrypted.version()} {cipher[0] if cipher else 'unknown'}"
    der = encrypted.getpeercert(binary_form=True)
    told = _in_words(der, host, verified=wish.verify) if der else ""
    return Handshake(Secured(encrypted, info), told, time.monotonic() - began)


def _in_words(der: bytes, host: str, *, verified: bool) -> str:
    """`for mail.test, issued by Example CA, valid until 2027-01-31; not checked`."""
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _names(certificate)
        issuer = _short(certificate.issuer)
        self_signed = certificate.issuer == certificate.subject
    except ValueError as error:
        return f"cannot be read ({error})"
    subject = ", ".join(names) or _short(certificate.subject)
    until = certificate.not_valid_after_utc
    told = [f"for {subject}", "signed by itself" if self_signed else f"issued by {issuer}"]
    told.append(f"valid until {until:%Y-%m-%d}")
    if verified:
        return ", ".join(told) + "; checked, and valid for this host"
    flaws = []
    if until.timestamp() < time.time():
        flaws.append("it has expired")
    if host and not _fits(host, names):
        flaws.append(f"it is not for {host}")
    return ", ".join(told) + "; not checked" + (f" ({', '.join(flaws)})" if flaws else "")


def _names(certificate: object) -> list[str]:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *found.get_values_for_type(x509.DNSName),
        *map(str, found.get_values_for_type(x509.IPAddress)),
    ]


def _short(name: object) -> str:
    """The common name, else the organization, else all of it."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    assert isinstance(name, x509.Name)
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return str(attribute.value)
    return name.rfc4514_string()


def _fits(host: str, names: list[str]) -> bool:
    """Whether one of the names is the host's, wildcards included (RFC 6125 §6.4.3)."""
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        host = host.rstrip(".").lower()
    wildcard = "*." + host.partition(".")[2]
    return any(name.lower() in (host, wildcard) for name in names)
