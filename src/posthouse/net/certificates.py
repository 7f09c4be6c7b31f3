"""What can be read in certificates: what a TLS session is bound to, and the mail addresses they name."""

from __future__ import annotations

import hashlib
import ssl
import time

_ROUNDS = 4
"""Flights of a handshake at most, for each side."""
_UTF8_MAILBOX = "1.3.6.1.5.5.7.8.9"  # id-on-SmtpUTF8Mailbox, RFC 8398 §3
_UTF8_STRING = 0x0C
_SHORT = 0x80


def end_point(certificate: bytes) -> bytes | None:
    """The tls-server-end-point channel binding of a certificate in DER (RFC 5929 §4.1).

    None where its signature has no hash of its own (Ed25519), for which the RFC defines nothing.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name.replace("-", "_")
    try:
        return hashlib.new(name, certificate).digest()
    except ValueError:
        return None


def shown_by(context: ssl.SSLContext) -> bytes | None:
    """The certificate that a server context shows, in DER: asked by a handshake in memory.

    So it is that of the sessions, whatever has become of the file meanwhile.
    """
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(there, back, server_side=True)
    client = asking.wrap_bio(back, there)
    for _ in range(_ROUNDS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    try:
        return client.getpeercert(binary_form=True)
    except ValueError:  # the handshake did not come to its end
        return None


def mail_addresses(certificate: bytes) -> tuple[str, ...]:
    """The mail addresses that a certificate in DER is for; none once it has expired.

    Those of its subject alternative name: rfc822Name (RFC 5280 §4.2.1.6), and SmtpUTF8Mailbox (RFC 8398).
    Expiry is looked at again, because a resumed session goes by the handshake it began with.
    """
    from cryptography import x509

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if parsed.not_valid_after_utc.timestamp() < time.time():
            return ()
    except (ValueError, x509.ExtensionNotFound):
        return ()
    found = names.get_values_for_type(x509.RFC822Name)
    for other in names.get_values_for_type(x509.OtherName):
        if other.type_id.dotted_string == _UTF8_MAILBOX and (text := _utf8_string(other.value)):
            found.append(text)
    return tuple(dict.fromkeys(found))


def _utf8_string(der: bytes) -> str:
    """A UTF8String of less than 128 octets, or of one or two octets of length; empty where it is none."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        return ""
    extra = der[1] - _SHORT if der[1] >= _SHORT else 0
    length = int.from_bytes(der[2 : 2 + extra]) if extra else der[1]
    if extra > 2 or len(der) != 2 + extra + length:
        return ""
    try:
        return der[2 + extra :].decode()
    except UnicodeDecodeError:
        return ""
