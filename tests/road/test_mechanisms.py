"""How users may log in changes with a reload, and never keeps the rest from being served."""

from __future__ import annotations

import imaplib
from pathlib import Path

import trustme

from tests.issuer import AUDIENCE, NAME, Issuer
from tests.servers import DOMAIN, PASSWORD, ServeProcess, until

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
