"""Certificates in a running server: one that vanishes or has expired while it serves, and at its start."""

from __future__ import annotations

import shutil
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from posthouse.pocket.ca import PocketCa
from tests.servers import HOSTNAME, PATIENCE, ServeProcess, until


def shown(server: ServeProcess) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(server.address("imaps"), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=HOSTNAME) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_a_certificate_that_vanishes_hurts_nobody(tmp_path: Path) -> None:
    # Given a server with a certificate that was renewed once
    ca = PocketCa(tmp_path / "ca")
    file = tmp_path / "certificate.pem"
    shutil.copy(ca.issue(HOSTNAME).certificate, file)
    settings = {"listen": {"imaps": ["127.0.0.1:0"]}, "tls": {"certificate": str(file)}, "workers": 1}
    with ServeProcess(tmp_path / "s", settings) as server:
        first = shown(server)
        shutil.copy(ca.issue(HOSTNAME).certificate, file)
        server.reload()
        renewed = until(lambda: (now := shown(server)) != first and now, what="the new certificate")

        # when it is gone, and a worker has to start anew
        file.unlink()
        server.kill_worker()

        # then that one shows it all the same
        assert shown(server) == renewed


def test_an_expired_certificate_takes_no_ones_place_but_keeps_no_server_down(tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def write(ends: timedelta) -> None:
        issued = trustme.CA().issue_cert(HOSTNAME, not_before=now - timedelta(days=90), not_after=now + ends)
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))

    file = tmp_path / "certificate.pem"
    settings = {"listen": {"imaps": ["127.0.0.1:0"]}, "tls": {"certificate": str(file)}, "workers": 1}
    write(timedelta(days=30))
    server = ServeProcess(tmp_path / "s", settings)
    with server:
        good = shown(server)
        write(timedelta(days=-1))
        server.reload()
        until(lambda: "cannot reload" in server.log, what="a word about it")
        assert shown(server) == good
    # At the start there is no other, and strangers' servers do not care: mail goes on, and the log says so.
    with server:
        assert shown(server) != good
        assert "mail programs will refuse the certificate" in server.log
