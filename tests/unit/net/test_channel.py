"""What SASL is told of a TLS session: what it can be bound to, and who the client's certificate is for."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from posthouse.net.certificates import end_point, mail_addresses
from posthouse.net.encryption import Encryption
from posthouse.net.tls import CertificateFiles, ClientAuthorities, ServerTls, TlsProblem
from posthouse.protocol.sasl import Channel

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SHA256 = hashes.SHA256()
OLD = base64.b64decode(
    b"MIIBbzCCARagAwIBAgIUDA1A2KhDqF+BHgq6sPMB4eN+WLUwCQYHKoZIzj0EATAOMQwwCgYDVQQDDANvbGQwHhcNMjYxMTIy"
    b"MDc0MjU0WhcNMzYxMTE5MDc0MjU0WjAOMQwwCgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASc69DEM7zn"
    b"ogY7ljFQHhlIrDb+UOG/7pDh5HvKJMXwv27zYPYbs5vvUKrWM5z9lXcL/el6tWRrlNmBW9jUTEf+o1MwUTAdBgNVHQ4EFgQU"
    b"UXxzNafW+NiHx3YExh0xUEnYzz0wHwYDVR0jBBgwFoAUUXxzNafW+NiHx3YExh0xUEnYzz0wDwYDVR0TAQH/BAUwAwEB/zAJ"
    b"BgcqhkjOPQQBA0gAMEUCIQDa2VWGnMPPVG6JowiCgEGGqmkJEma283rGSo0bC/iRGAIgfaks2NtmPpkCLFOyrKSIflCMXEBP"
    b"AKyo1KjLP1k5LR0="
)
"""A certificate that was signed with SHA-1."""


def joined(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    name: str = "mail.test",
    session: ssl.SSLSession | None = None,
) -> tuple[Channel, ssl.SSLObject]:
    """A server's end and a client's after their handshake, and an answer of the server."""
    ours = Encryption(server, server_side=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    shaken = False
    while not shaken or ours.handshaking:
        try:
            theirs.do_handshake()
            shaken = True
        except ssl.SSLWantReadError:
            pass
        ours.receive(outgoing.read())
        incoming.write(ours.take())
    incoming.write(ours.send(b"hello"))
    assert theirs.read() == b"hello"
    return ours.channel, theirs


def trusting(authority: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


def issue(authority: trustme.CA, directory: Path, *names: str) -> CertificateFiles:
    path = directory / f"{names[0]}.pem"
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
    return CertificateFiles(path)


def certificate(
    *names: x509.GeneralName,
    hash: hashes.HashAlgorithm | None = SHA256,
    until: datetime.datetime = NOW + DAY,
) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()) if hash else ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - DAY - DAY).not_valid_after(until)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hash).public_bytes(serialization.Encoding.DER)


# ── channel binding ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hash", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_certificate_is_bound_to_by_the_hash_that_signed_it(hash: hashes.HashAlgorithm) -> None:
    der = certificate(hash=hash)
    assert end_point(der) == hashlib.new(hash.name, der).digest()


def test_old_hashes_become_sha_256_and_what_has_none_cannot_be_bound_to() -> None:
    """RFC 5929 §4.1."""
    assert end_point(OLD) == hashlib.sha256(OLD).digest()
    assert end_point(certificate(hash=None)) is None
    assert end_point(b"no certificate") is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_each_session_is_bound_to_the_certificate_that_it_has_shown(
    authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    files = [issue(authority, tmp_path, name) for name in ("mail.test", "imap.test")]
    server, client = ServerTls(lambda: files), trusting(authority, version)
    sessions = [joined(server(), client, name) for name in ("mail.test", "imap.test")]
    issue(authority, tmp_path, "mail.test")  # renewed, but not read yet
    sessions.append(joined(server(), client))
    server.reload()
    sessions.append(joined(server(), client))

    shown = [theirs.getpeercert(binary_form=True) or b"" for _, theirs in sessions]
    assert len(set(shown)) == 3
    for (channel, _), der in zip(sessions, shown, strict=True):
        assert channel.binding("tls-server-end-point") == hashlib.sha256(der).digest()


def test_tls_unique_is_the_clients_too_on_tls_1_2_alone(authority: trustme.CA, tmp_path: Path) -> None:
    server = ServerTls(lambda: [issue(authority, tmp_path, "mail.test")])
    channel, client = joined(server(), trusting(authority, ssl.TLSVersion.TLSv1_2))
    assert channel.binding("tls-unique") == client.get_channel_binding("tls-unique") is not None
    channel, _ = joined(server(), trusting(authority))
    assert channel.binding("tls-unique") is None
    assert channel.binding("tls-exporter") is None


def test_a_resumed_session_has_no_tls_unique(authority: trustme.CA, tmp_path: Path) -> None:
    """RFC 7627 §1: two sessions may share it then."""
    server, client = (
        ServerTls(lambda: [issue(authority, tmp_path, "mail.test")])(),
        trusting(authority, ssl.TLSVersion.TLSv1_2),
    )
    _, first = joined(server, client)
    channel, second = joined(server, client, session=first.session)
    assert second.session_reused
    assert channel.binding("tls-unique") is None
    assert channel.binding("tls-server-end-point") is not None


@pytest.mark.parametrize("always", [False, True])
def test_binding_is_offered_where_every_client_finds_its_type_unless_asked_for(
    authority: trustme.CA, tmp_path: Path, always: bool
) -> None:
    files = issue(authority, tmp_path, "mail.test")
    server = ServerTls(lambda: [files], binds_by_certificate=lambda: always)
    assert joined(server(), trusting(authority, ssl.TLSVersion.TLSv1_2))[0].binds
    assert joined(server(), trusting(authority))[0].binds == always


# ── clients' certificates ────────────────────────────────────────────────────────────────────────────


def test_a_certificate_names_its_mail_addresses() -> None:
    """RFC 5280 §4.2.1.6, RFC 8398 §3."""
    utf8 = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x0f" + "用户@例.test".encode())
    long = "x" * 200 + "@b.test"
    der = certificate(
        x509.RFC822Name("alice@example.org"),
        x509.DNSName("example.org"),
        x509.RFC822Name("alice@example.org"),
        utf8,
        x509.OtherName(
            x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x81" + bytes([len(long)]) + long.encode()
        ),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x08eve@b.te"),
    )
    assert mail_addresses(der) == ("alice@example.org", "用户@例.test", long)


@pytest.mark.parametrize("value", [b"\x0c\x02\xff\xff", b"\x16\x01a", b"\x0c\x00"])
def test_what_is_no_address_is_passed_over(value: bytes) -> None:
    name = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), value)
    assert mail_addresses(certificate(name, x509.RFC822Name("a@b.test"))) == ("a@b.test",)


def test_a_certificate_that_has_expired_names_nobody() -> None:
    """A resumed session may outlive it."""
    assert mail_addresses(certificate(x509.RFC822Name("a@b.test"), until=NOW - DAY)) == ()
    assert mail_addresses(certificate()) == ()
    assert mail_addresses(b"no certificate") == ()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_may_show_a_certificate_and_need_not(
    authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    files = issue(authority, tmp_path, "mail.test")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ServerTls(lambda: [files], authorities=lambda: ClientAuthorities(tmp_path / "ca.pem"))
    client = trusting(authority, version)
    assert joined(server(), client)[0].addresses == ()
    authority.issue_cert("alice@example.org").configure_cert(client)
    assert joined(server(), client)[0].addresses == ("alice@example.org",)
    assert joined(ServerTls(lambda: [files])(), client)[0].addresses == ()


def test_a_resumed_session_goes_by_the_certificate_that_it_began_with(
    authority: trustme.CA, tmp_path: Path
) -> None:
    files = issue(authority, tmp_path, "mail.test")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ServerTls(lambda: [files], authorities=lambda: ClientAuthorities(tmp_path / "ca.pem"))
    client = trusting(authority, ssl.TLSVersion.TLSv1_2)
    authority.issue_cert("alice@example.org").configure_cert(client)
    _, first = joined(server(), client)
    channel, second = joined(server(), client, session=first.session)
    assert second.session_reused
    assert channel.addresses == ("alice@example.org",)
    server.reload()  # perhaps because somebody has been revoked
    assert not joined(server(), client, session=first.session)[1].session_reused


def test_a_certificate_of_somebody_else_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    files = issue(authority, tmp_path, "mail.test")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ServerTls(lambda: [files], authorities=lambda: ClientAuthorities(tmp_path / "ca.pem"))
    client = trusting(authority, ssl.TLSVersion.TLSv1_2)
    authority.issue_cert("alice@example.org").configure_cert(client)
    with pytest.raises(ssl.SSLError):
        joined(server(), client)


def test_a_certificate_that_was_revoked_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    files = issue(authority, tmp_path, "mail.test")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    alice, eve = authority.issue_cert("alice@example.org"), authority.issue_cert("eve@example.org")
    gone = x509.load_pem_x509_certificate(eve.cert_chain_pems[0].bytes())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    entry = (
        x509.RevokedCertificateBuilder().serial_number(gone.serial_number).revocation_date(NOW - DAY).build()
    )
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(NOW - DAY)
    revoked = builder.next_update(NOW + DAY).add_revoked_certificate(entry).sign(key, hashes.SHA256())
    (tmp_path / "crl.pem").write_bytes(revoked.public_bytes(serialization.Encoding.PEM))
    server = ServerTls(
        lambda: [files], authorities=lambda: ClientAuthorities(tmp_path / "ca.pem", tmp_path / "crl.pem")
    )
    client = trusting(authority, ssl.TLSVersion.TLSv1_2)
    alice.configure_cert(client)
    assert joined(server(), client)[0].addresses == ("alice@example.org",)
    eve.configure_cert(client)
    with pytest.raises(ssl.SSLError):
        joined(server(), client)


def test_authorities_that_cannot_be_read_are_named(authority: trustme.CA, tmp_path: Path) -> None:
    files = issue(authority, tmp_path, "mail.test")
    for path in (tmp_path / "missing.pem", files.certificate.parent / "empty.pem"):
        (tmp_path / "empty.pem").write_text("")
        with pytest.raises(TlsProblem, match=path.name):
            ServerTls(lambda: [files], authorities=lambda path=path: ClientAuthorities(path))
