"""How users may log in changes with a reload, and never keeps the rest from being served."""

from __future__ import annotations

import hashlib
import imaplib
import ssl
from pathlib import Path

import pytest
import trustme

from tests.issuer import AUDIENCE, NAME, Issuer
from tests.scramclient import ScramClient
from tests.servers import DOMAIN, PASSWORD, ServeProcess, until

pytestmark = pytest.mark.parametrize("engine", ["sqlite"])  # nothing here depends on the database

ALICE = f"alice@{DOMAIN}"


def offered(server: ServeProcess) -> set[str]:
    with imaplib.IMAP4(*server.address("imap")) as client:
        return {name.removeprefix("AUTH=") for name in client.capabilities if name.startswith("AUTH=")}


def logs_in(server: ServeProcess, issuer: Issuer) -> bool:
    said = f"user={ALICE}\x01auth=Bearer {issuer.token(ALICE)}\x01\x01".encode()
    with imaplib.IMAP4(*server.address("imap")) as client:
        answers = iter([said, b"\x01"])
        try:
            return client.authenticate("XOAUTH2", lambda _: next(answers))[0] == "OK"
        except imaplib.IMAP4.error:
            return False


def bound_login(server: ServeProcess, data: bytes) -> str:
    """A login with the right password over STARTTLS, bound to `data`."""
    client = ScramClient("SCRAM-SHA-256-PLUS", ALICE, PASSWORD, binding=("tls-server-end-point", data))
    steps = iter([lambda _: client.initial, client.final, client.confirmed])
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with imaplib.IMAP4(*server.address("imap")) as imap:
        imap.starttls(trusting)
        return imap.authenticate("SCRAM-SHA-256-PLUS", lambda challenge: next(steps)(challenge))[0]


def settings(directory: Path) -> dict[str, object]:
    return {
        "workers": 1,
        "accounts": {"auth_mechanisms": ["EXTERNAL", "XOAUTH2", "PLAIN"]},
        "oauth": {"issuer": NAME, "audience": [AUDIENCE], "keys_file": str(directory / "keys.json")},
        "tls": {"client_ca_file": str(directory / "ca.pem")},
    }


def test_the_issuers_keys_change_with_a_reload_and_not_for_broken_ones(tmp_path: Path) -> None:
    old, new = Issuer(), Issuer()
    (tmp_path / "keys.json").write_text(old.key_set)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with ServeProcess(tmp_path / "server", settings(tmp_path)) as server:
        assert logs_in(server, old)
        assert not logs_in(server, new)

        (tmp_path / "keys.json").write_text("{}")
        server.reload()
        until(lambda: "cannot reload" in server.log, what="the complaint")
        assert logs_in(server, old)

        (tmp_path / "keys.json").write_text(new.key_set)
        server.reload()
        until(lambda: logs_in(server, new), what="the new keys")
        assert not logs_in(server, old)


def test_mail_is_served_without_the_files_that_tokens_and_certificates_need(tmp_path: Path) -> None:
    # Given a server that starts without them
    with ServeProcess(tmp_path / "server", settings(tmp_path)) as server:
        # Then passwords are taken, the rest is not offered, and the log says why
        assert offered(server) == {"PLAIN"}
        with imaplib.IMAP4(*server.address("imap")) as client:
            assert client.login(ALICE, PASSWORD)[0] == "OK"
        assert "keys.json" in server.log
        assert "ca.pem" in server.log

        # When they have come
        issuer = Issuer()
        (tmp_path / "keys.json").write_text(issuer.key_set)
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        server.reload()

        # Then tokens are taken
        until(lambda: offered(server) == {"XOAUTH2", "PLAIN"}, what="the offer")
        assert logs_in(server, issuer)


def test_who_stands_in_between_cannot_pass_a_bound_login_on(tmp_path: Path) -> None:
    accounts = {"auth_mechanisms": ["SCRAM-SHA-256"], "auth_channel_binding": "always"}
    ca = trustme.CA()
    shown = ca.issue_cert("mail.north.test")
    shown.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    tls = {"certificate": str(tmp_path / "server.pem")}
    with ServeProcess(tmp_path / "server", {"accounts": accounts, "tls": tls}) as server:
        ours = ssl.PEM_cert_to_DER_cert(shown.cert_chain_pems[0].bytes().decode())
        assert bound_login(server, hashlib.sha256(ours).digest()) == "OK"

        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            bound_login(server, hashlib.sha256(b"another certificate").digest())
        assert "somebody may stand between a client and us" in server.log
