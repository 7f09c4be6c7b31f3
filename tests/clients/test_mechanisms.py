"""Logging in without a password: tokens, certificates and channel binding, by programs that are not ours."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import imaplib
import json
import smtplib
import ssl
from pathlib import Path

import pytest
import trustme

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.issuer import Issuer
from tests.scramclient import ScramClient
from tests.servers import ServeProcess

CURL_LOGIN_DENIED = 67
SCHEMES = {"submission": "smtp", "submissions": "smtps"}
LISTENERS = ("imap", "imaps", "pop3", "pop3s", "submission", "submissions")


@pytest.fixture
def letter(tmp_path: Path, alice: Person, bob: Person) -> list[object]:
    """What curl needs to send a letter from alice to bob."""
    file = tmp_path / "letter.eml"
    file.write_bytes(f"From: {alice.address}\r\nTo: {bob.address}\r\nSubject: hello\r\n\r\nHi.\r\n".encode())
    return ["--mail-from", alice.address, "--mail-rcpt", bob.address, "-T", file]


@pytest.fixture
def curl(run: Run, server: ServeProcess, ca: Path, letter: list[object]):
    """curl as alice: lists her mail, or sends a letter; what was said."""

    def curl_(listener: str, *options: object, code: int = 0) -> str:
        _, port = server.address(listener)
        sends = listener in SCHEMES
        url = f"{SCHEMES.get(listener, listener)}://localhost:{port}/{'client.test' if sends else ''}"
        command = ["curl", "-sSv", "-4", "--max-time", 30, "--ssl-reqd", "--cacert", ca]
        done = run(*command, *(letter if sends else []), *options, url)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return curl_


@pytest.fixture
def certificate(tmp_path: Path, authority: Path, alice: Person) -> Path:
    """Alice's, with its key."""
    ca = trustme.CA.from_pem(
        (authority / "authority.pem").read_bytes(), (authority / "private.pem").read_bytes()
    )
    path = tmp_path / "alice.pem"
    ca.issue_cert(alice.address).private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.mark.debian("curl")
@pytest.mark.parametrize("listener", LISTENERS)
def test_curl_logs_in_with_a_token(curl, issuer: Issuer, alice: Person, bob: Person, listener: str) -> None:
    alice.given(["one"])

    said = curl(listener, "--user", alice.address, "--oauth2-bearer", issuer.token(alice.address))

    assert "OAUTHBEARER" in said
    if listener in SCHEMES:
        assert bob.subjects() == ["hello"]


@pytest.mark.debian("curl")
@pytest.mark.parametrize("listener", ["imaps", "pop3s", "submissions"])
def test_curl_is_told_why_a_token_is_refused(curl, issuer: Issuer, alice: Person, listener: str) -> None:
    token = issuer.token(alice.address, exp=1)

    said = curl(listener, "--user", alice.address, "--oauth2-bearer", token, code=CURL_LOGIN_DENIED)

    challenge = next(line for line in said.splitlines() if line.startswith(("< + ey", "< 334 ey")))
    why = json.loads(base64.b64decode(challenge.split()[-1]))
    assert why["status"] in ("invalid_token", "401")
    assert why["scope"] == "mail"


@pytest.mark.debian("curl")
@pytest.mark.parametrize("listener", LISTENERS)
def test_curl_logs_in_with_a_certificate(
    curl, certificate: Path, alice: Person, bob: Person, listener: str
) -> None:
    alice.given(["one"])

    said = curl(
        listener, "--cert", certificate, "--user", f"{alice.address}:", "--login-options", "AUTH=EXTERNAL"
    )

    assert "EXTERNAL" in said
    if listener in SCHEMES:
        assert bob.subjects() == ["hello"]


@pytest.mark.debian("curl")
def test_a_certificate_opens_no_other_mailbox(curl, certificate: Path, bob: Person) -> None:
    curl("imaps", "--cert", certificate, "--user", f"{bob.address}:", "--login-options", "AUTH=EXTERNAL",
         code=CURL_LOGIN_DENIED)  # fmt: skip


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_python_logs_in_with_a_token(
    server: ServeProcess, trusting: ssl.SSLContext, issuer: Issuer, alice: Person, mechanism: str
) -> None:
    said = {
        "OAUTHBEARER": f"n,a={alice.address},\x01auth=Bearer {issuer.token(alice.address)}\x01\x01",
        "XOAUTH2": f"user={alice.address}\x01auth=Bearer {issuer.token(alice.address)}\x01\x01",
    }[mechanism]

    with imaplib.IMAP4_SSL(*server.address("imaps"), ssl_context=trusting) as imap:
        imap.authenticate(mechanism, lambda _: said.encode())
        assert imap.select()[0] == "OK"
    with smtplib.SMTP_SSL(*server.address("submissions"), context=trusting) as smtp:
        smtp.ehlo()
        smtp.auth(mechanism, lambda challenge=None: said)
        assert smtp.mail(alice.address)[0] == 250


@pytest.mark.debian("mutt")
@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_mutt_sends_and_reads_with_a_token(
    run: Run, run_on_terminal: Run, home: Path, server: ServeProcess, ca: Path, issuer: Issuer, alice: Person,
    bob: Person, mechanism: str,
) -> None:  # fmt: skip
    _, port = server.address("submission")
    (home / "token").write_text(issuer.token(alice.address))
    (home / "Mail").mkdir()
    (home / "muttrc").write_text(
        f"""
        set certificate_file="{ca}" ssl_force_tls=yes ssl_starttls=yes from="{alice.address}" use_from=yes
        set imap_user="{alice.address}" smtp_url="smtp://{alice.address}@localhost:{port}/"
        set imap_authenticators={mechanism} smtp_authenticators={mechanism}
        set copy=no delete=yes quit=yes move=no
        set imap_oauth_refresh_command="cat {home}/token" smtp_oauth_refresh_command="cat {home}/token"
        set confirmappend=no wait_key=no mail_check=0
        """
    )
    alice.given(["one", "two"])

    sent = run("mutt", "-n", "-F", home / "muttrc", "-s", "by mutt", "--", bob.address, given="Hello.\n")
    url = f"imap://localhost:{server.address('imap')[1]}/INBOX"
    read = run_on_terminal(
        "mutt", "-n", "-F", home / "muttrc", "-f", url, "-e", "push <delete-message><quit>"
    )

    assert sent.returncode == read.returncode == 0, sent.stderr + read.stdout[-1000:]
    assert bob.subjects() == ["by mutt"]
    assert alice.subjects() == ["two"]


@pytest.mark.debian("gsasl")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
@pytest.mark.parametrize("listener", ["imap", "submission"])
def test_gsasl_binds_its_login_to_the_connection(
    run: Run, server: ServeProcess, ca: Path, alice: Person, listener: str, mechanism: str
) -> None:
    protocol = "--imap" if listener == "imap" else "--smtp"
    _, port = server.address(listener)

    done = run("gsasl", protocol, "--connect", f"localhost:{port}", "--hostname", "localhost",
               "--service", "x", "--priority", "NORMAL:-VERS-TLS1.3", "--x509-ca-file", ca,
               "--mechanism", mechanism, "--authentication-id", alice.address,
               "--password", alice.password, given="\n")  # fmt: skip

    assert "server trusted" in done.stderr, done.stdout + done.stderr
    assert "tls-unique" in base64.b64decode(next(line for line in done.stdout.splitlines()
                                                 if line.startswith("cD10"))).decode()  # fmt: skip


@pytest.mark.debian("msmtp")
@pytest.mark.parametrize("how", ["scram-sha-256", "oauthbearer", "xoauth2"])
def test_msmtp_sends(
    run: Run, home: Path, server: ServeProcess, ca: Path, issuer: Issuer, alice: Person, bob: Person, how: str
) -> None:
    secret = alice.password if how.startswith("scram") else issuer.token(alice.address)
    settings = home / "msmtprc"
    settings.touch(0o600)
    settings.write_text(
        f"account default\nhost localhost\nport {server.address('submission')[1]}\ntls on\n"
        f"tls_trust_file {ca}\nfrom {alice.address}\nauth {how}\nuser {alice.address}\npassword {secret}\n"
    )

    done = run("msmtp", "-C", settings, bob.address, given="Subject: by msmtp\n\nHello.\n")

    assert done.returncode == 0, done.stderr
    assert bob.subjects() == ["by msmtp"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_a_login_is_bound_to_the_certificate_on_tls_1_3(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person, mechanism: str
) -> None:
    """tls-server-end-point (RFC 5929 §4.1): here the SHA-256 of the certificate that the client sees."""

    with imaplib.IMAP4_SSL(*server.address("imaps"), ssl_context=trusting) as imap:
        assert imap.sock.version() == "TLSv1.3"
        binding = ("tls-server-end-point", hashlib.sha256(imap.sock.getpeercert(binary_form=True)).digest())
        client = ScramClient(mechanism, alice.address, alice.password, binding=binding)
        steps = iter([lambda _: client.initial, client.final, client.confirmed])
        imap.authenticate(mechanism, lambda challenge: next(steps)(challenge))
        assert imap.select()[0] == "OK"


def test_the_log_says_who_came_in_by_what_and_holds_no_token(
    server: ServeProcess, trusting: ssl.SSLContext, issuer: Issuer, alice: Person
) -> None:
    for token in (issuer.token(alice.address), issuer.token(alice.address, exp=1)):
        said = f"user={alice.address}\x01auth=Bearer {token}\x01\x01".encode()
        with imaplib.IMAP4_SSL(*server.address("imaps"), ssl_context=trusting) as imap:
            answers = iter([said, b"\x01"])
            with contextlib.suppress(imaplib.IMAP4.error):
                imap.authenticate("XOAUTH2", lambda _, answers=answers: next(answers))

    about = [line for line in server.log.splitlines() if alice.address in line]
    assert any("logged in" in line and "XOAUTH2" in line for line in about)
    assert any("login refused" in line and "XOAUTH2" in line for line in about)
    assert "eyJ" not in server.log
