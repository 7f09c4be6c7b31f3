"""TLS: the certificates that we show, and what we ask of others.

A server context is rebuilt by `reload`, so new handshakes see new files while connections live on. With
no certificate configured, a self-signed one (ECDSA P-256) is made once and kept in data_directory/tls.

TLS 1.2 is the least (RFC 8996 retires what came before). Opportunistic client contexts verify nothing,
for the alternative is no encryption at all (RFC 7435); verifying ones check chain and name (RFC 6125).
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from posthouse.net.certificates import end_point, shown_by

if TYPE_CHECKING:
    from cryptography import x509

SELF_SIGNED_DAYS = 3650
_RENEW_BEFORE_DAYS = 90
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class TlsProblem(Exception):
    """A certificate or key cannot be used; the text names the file and the reason."""


class CertificateFiles(NamedTuple):
    """PEM files: the chain, our own certificate first, and its private key (None: in the same file)."""

    certificate: Path
    key: Path | None = None


class ClientAuthorities(NamedTuple):
    """PEM files: who issues certificates for users, and which of these have been revoked."""

    certificates: Path
    revoked: Path | None = None


class ServerContext(ssl.SSLContext):
    """A context of ours, which knows what it shows."""

    binds_by_certificate = False
    """Clients are to be offered channel binding also where tls-server-end-point is all that there is."""
    _asked = False
    _end_point: bytes | None = None

    @property
    def end_point(self) -> bytes | None:
        """Its tls-server-end-point channel binding (RFC 5929 §4), worked out when it is first wanted."""
        if not self._asked:
            shown = shown_by(self)
            self._end_point = end_point(shown) if shown else None
            self._asked = True
        return self._end_point


class ServerTls:
    """The context for the next handshake of a server: call it. `files` is asked again at each `reload`.

    The first certificate is the default; others are chosen by the name that the client asks for (SNI,
    RFC 6066 §3), wildcards included. With `authorities` clients are asked for a certificate, which they need
    not have, but which has to be valid; `binds_by_certificate` is for their contexts. Raises TlsProblem.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[CertificateFiles]],
        minimum_protocol: str = "TLSv1.2",
        authorities: Callable[[], ClientAuthorities | None] = lambda: None,
        binds_by_certificate: Callable[[], bool] = lambda: False,
    ) -> None:
        self._files = files
        self._authorities = authorities
        self._binds_by_certificate = binds_by_certificate
        self.minimum_protocol = minimum_protocol
        """What is spoken at least; another one holds from the next `reload` on."""
        self._context = self._build()

    def __call__(self) -> ssl.SSLContext:
        return self._context

    def reload(self) -> None:
        """Read all files again. Raises TlsProblem and goes on with the old ones where that fails."""
        self._context = self._build()

    def _build(self) -> ssl.SSLContext:
        all_files = list(self._files())
        authorities = self._authorities()
        contexts = [_server_context(files, _VERSIONS[self.minimum_protocol]) for files in all_files]
        for context in contexts:
            context.binds_by_certificate = self._binds_by_certificate()
            if authorities is not None:
                _ask_for_certificates(context, authorities)
        if not contexts:
            raise TlsProblem("no certificate is configured")
        default = contexts[0]
        if len(contexts) > 1:
            by_name: dict[str, ssl.SSLContext] = {}
            for files, context in zip(all_files, contexts, strict=True):
                for name in certificate_names(files.certificate):
                    by_name.setdefault(name, context)

            def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                if name:
                    name = name.lower()
                    chosen = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
                    if chosen is not None:
                        connection.context = chosen

            default.sni_callback = choose
        return default


def _server_context(files: CertificateFiles, minimum: ssl.TLSVersion) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 1
    key = files.key or files.certificate
    for path in (files.certificate, key):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise TlsProblem(f"{path}: {error.strerror}") from None
    try:
        context.load_cert_chain(files.certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsProblem(f"{key} is not the key of {files.certificate}") from None
        raise TlsProblem(
            f"{files.certificate}, {key}: not a PEM certificate chain and key ({error})"
        ) from None
    return context


def _ask_for_certificates(context: ServerContext, authorities: ClientAuthorities) -> None:
    for path in filter(None, authorities):
        try:
            context.load_verify_locations(path)
        except OSError as error:  # ssl.SSLError among them
            reason = "not certificates or revocation lists in PEM" if isinstance(error, ssl.SSLError) else ""
            raise TlsProblem(f"{path}: {reason or error.strerror}") from None
    if authorities.revoked is not None:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = ssl.CERT_OPTIONAL


class Validity(NamedTuple):
    """From when to when a certificate holds, in seconds since 1970."""

    since: float
    until: float


def valid(certificate: Path) -> Validity:
    """When the first certificate in a PEM file is valid. Raises TlsProblem."""
    parsed = _parsed(certificate)
    return Validity(parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp())


def _parsed(certificate: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        raise TlsProblem(f"{certificate}: {error.strerror}") from None
    except ValueError as error:
        raise TlsProblem(f"{certificate}: {error}") from None


def _no_password() -> str:
    raise TlsProblem("the private key is encrypted; remove its passphrase (openssl pkey -in … -out …)")


def certificate_names(certificate: Path) -> tuple[str, ...]:
    """The DNS names of the first certificate in a PEM file, lower case. Raises TlsProblem."""
    from cryptography import x509

    try:
        extension = _parsed(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def self_signed(directory: Path, hostname: str) -> CertificateFiles:
    """The self-signed certificate for `hostname` in `directory`, made when there is none, or it is about
    to expire. Several processes may call this at once. Raises OSError.
    """
    path = directory / f"self-signed-{hostname}.pem"
    try:
        if time.time() - path.stat().st_mtime < (SELF_SIGNED_DAYS - _RENEW_BEFORE_DAYS) * 86_400:
            return CertificateFiles(path)
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=directory)  # readable by nobody else
    with os.fdopen(descriptor, "wb") as file:
        file.write(_make_self_signed(hostname))
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # another process was quicker: its certificate counts
            os.link(draft, path)
    finally:
        os.unlink(draft)
    return CertificateFiles(path)


def _make_self_signed(hostname: str) -> bytes:
    """Key and certificate in PEM."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


class ClientTls:
    """Contexts for connections out, made once each (reading the system's authorities takes milliseconds)."""

    def __init__(self, authorities: Path | None = None, minimum_protocol: str = "TLSv1.2") -> None:
        self._authorities = authorities
        self._minimum = _VERSIONS[minimum_protocol]
        self._verifying: ssl.SSLContext | None = None
        self._opportunistic: ssl.SSLContext | None = None

    def verifying(self) -> ssl.SSLContext:
        """Demands a certificate of a known authority, for the name. Raises TlsProblem."""
        if self._verifying is None:
            try:
                context = ssl.create_default_context(cafile=self._authorities)
            except OSError as error:
                raise TlsProblem(f"{self._authorities}: {error.strerror or error}") from None
            context.minimum_version = self._minimum
            self._verifying = context
        return self._verifying

    def opportunistic(self) -> ssl.SSLContext:
        """Encrypts, whoever the other end is (RFC 7435)."""
        if self._opportunistic is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = self._minimum
            self._opportunistic = context
        return self._opportunistic
