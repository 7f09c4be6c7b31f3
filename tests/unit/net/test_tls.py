"""Certificates: ours, those of others, and how they change under a running server."""

from __future__ import annotations

import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from posthouse.net.encryption import Encryption
from posthouse.net.tls import (
    CertificateFiles,
    ClientTls,
    ServerTls,
    TlsProblem,
    certificate_names,
    self_signed,
)


def issue(authority: trustme.CA, directory: Path, *names: str) -> CertificateFiles:
    certificate = authority.issue_cert(*names)
    path = directory / f"{names[0].replace('*', 'any')}.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    return CertificateFiles(path)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None) -> Encryption:
    """Joins two ends in memory; the client's, after the handshake."""
    ours = Encryption(server, server_side=True)
    theirs = Encryption(client, server_side=False, server_name=name)
    theirs.start()
    while theirs.handshaking or ours.handshaking:
        ours.receive(theirs.take())
        theirs.receive(ours.take())
    return theirs


def shown_to(name: str | None, server: ServerTls) -> bytes:
    context = ClientTls().opportunistic()
    certificate = shake_hands(context, server(), name).peer_certificate
    assert certificate is not None
    return certificate


def der(files: CertificateFiles) -> bytes:
    text = files.certificate.read_text()
    begin = text.index("-----BEGIN CERTIFICATE")
    return ssl.PEM_cert_to_DER_cert(text[begin : text.index("-----END CERTIFICATE", begin) + 25])


def test_a_self_signed_certificate_is_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: self_signed(tmp_path / "tls", "mail.example.org"), range(4)))
    files = made[0]
    assert set(made) == {files}
    octets = files.certificate.read_bytes()
    assert self_signed(tmp_path / "tls", "mail.example.org") == files
    assert files.certificate.read_bytes() == octets
    assert stat.S_IMODE(files.certificate.stat().st_mode) == 0o600
    assert certificate_names(files.certificate) == ("mail.example.org",)
    assert [path.name for path in (tmp_path / "tls").iterdir()] == [files.certificate.name]
    client = shake_hands(ClientTls().opportunistic(), ServerTls(lambda: [files])(), "mail.example.org")
    assert client.info == "TLSv1.3 TLS_AES_256_GCM_SHA384"


def test_a_reload_shows_the_new_certificate_to_the_next_handshake(
    authority: trustme.CA, tmp_path: Path
) -> None:
    files = issue(authority, tmp_path, "mail.test")
    server = ServerTls(lambda: [files])
    before = shown_to("mail.test", server)
    issue(authority, tmp_path, "mail.test")
    assert shown_to("mail.test", server) == before
    server.reload()
    assert shown_to("mail.test", server) == der(files) != before


def test_a_reload_of_broken_files_changes_nothing(authority: trustme.CA, tmp_path: Path) -> None:
    files = issue(authority, tmp_path, "mail.test")
    server = ServerTls(lambda: [files])
    before = shown_to("mail.test", server)
    files.certificate.write_text("not a certificate")
    with pytest.raises(TlsProblem, match=r"mail\.test\.pem"):
        server.reload()
    assert shown_to("mail.test", server) == before


def test_the_name_asked_for_chooses_among_several_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    first = issue(authority, tmp_path, "mail.test")
    second = issue(authority, tmp_path, "mx.south.test", "*.wild.test")
    server = ServerTls(lambda: [first, second])
    assert shown_to("mx.SOUTH.test", server) == der(second)
    assert shown_to("a.wild.test", server) == der(second)
    for other in ("mail.test", "unknown.test", "a.b.wild.test", None):
        assert shown_to(other, server) == der(first)


@pytest.mark.parametrize("broken", ["missing", "mismatch", "encrypted"])
def test_unusable_files_are_named(authority: trustme.CA, tmp_path: Path, broken: str) -> None:
    good, other = issue(authority, tmp_path, "a.test"), issue(authority, tmp_path, "b.test")
    if broken == "missing":
        files, text = CertificateFiles(tmp_path / "none.pem"), "none.pem"
    elif broken == "mismatch":
        files, text = CertificateFiles(good.certificate, other.certificate), "is not the key of"
    else:
        from cryptography.hazmat.primitives import serialization as s

        key = s.load_pem_private_key(good.certificate.read_bytes(), None)
        secret = tmp_path / "secret.pem"
        secret.write_bytes(
            key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))
        )
        files, text = CertificateFiles(good.certificate, secret), "passphrase"
    with pytest.raises(TlsProblem, match=text):
        ServerTls(lambda: [files])


def test_a_verifying_client_refuses_strangers_and_wrong_names(authority: trustme.CA, tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(authorities))
    client = ClientTls(authorities)
    assert client.verifying() is client.verifying()
    good = ServerTls(lambda: [issue(authority, tmp_path, "mail.test")])
    stranger = ServerTls(lambda: [self_signed(tmp_path, "mail.test")])
    assert not shake_hands(client.verifying(), good(), "mail.test").handshaking
    for server, name in ((stranger, "mail.test"), (good, "other.test")):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client.verifying(), server(), name)
        assert not shake_hands(client.opportunistic(), server(), name).handshaking


def test_nothing_older_than_tls_1_2_is_spoken(authority: trustme.CA, tmp_path: Path) -> None:
    server = ServerTls(lambda: [issue(authority, tmp_path, "mail.test")])
    strict = ServerTls(lambda: [issue(authority, tmp_path, "mail.test")], "TLSv1.3")
    assert server().minimum_version == ssl.TLSVersion.TLSv1_2
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(old, server(), None).info.startswith("TLSv1.2 ")
    with pytest.raises(ssl.SSLError):
        shake_hands(old, strict(), None)
