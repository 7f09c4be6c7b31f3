"""Users of the machine submit by the Unix socket: who they are, the kernel says."""

from __future__ import annotations

import email
import json
import os
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ServeProcess, until

NOBODY = 65534


class UnixSmtp(smtplib.SMTP):
    """smtplib over a Unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        super().__init__("localhost", local_hostname="localhost")

    def _get_socket(self, host, port, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(self._path)
        return connection


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServeProcess]:
    directory = tmp_path / "s"
    with ServeProcess(
        directory, {"listen": {"submission": ["127.0.0.1:0", "unix:run/submission"]}}
    ) as server:
        yield server


def path_of(server: ServeProcess) -> str:
    listeners = json.loads((server.config.data_directory / "run" / "listeners.json").read_text())["listeners"]
    return next(place.removeprefix("unix:") for place in listeners["submission"] if place.startswith("unix:"))


def received(server: ServeProcess, subject: str) -> email.message.Message:
    with server.imap() as imap:
        imap.select("INBOX")
        until(lambda: imap.search(None, "SUBJECT", subject)[1][0], what="the letter")
        number = imap.search(None, "SUBJECT", subject)[1][0].split()[-1].decode()
        return email.message_from_bytes(imap.fetch(number, "(RFC822)")[1][0][1])


def run(server: ServeProcess, *command: str, input: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POSTHOUSE_CONFIG": str(server.config_path)}
    return subprocess.run(
        command, input=input, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_sendmail_needs_no_password(server: ServeProcess) -> None:
    letter = "To: alice@north.test\nSubject: by-sendmail\nBcc: bob@north.test\n\nhi\n"

    done = run(server, sys.executable, "-m", "posthouse", "sendmail", "-t", input=letter)

    assert done.returncode == 0, done.stderr
    arrived = received(server, "by-sendmail")
    assert arrived["Bcc"] is None
    assert arrived["Date"]
    assert arrived["Message-ID"]
    assert "127.0.0.1" not in arrived["Received"]


def test_a_link_by_the_name_of_sendmail_is_sendmail(server: ServeProcess, tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom posthouse.cli.main import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)

    done = run(
        server, str(program), "-f", "root@north.test", "alice@north.test", input="Subject: by-link\n\nhi\n"
    )

    assert done.returncode == 0, done.stderr
    assert received(server, "by-link")["Return-Path"] == "<root@north.test>"


def test_the_journey_names_the_uid(server: ServeProcess) -> None:
    with UnixSmtp(path_of(server)) as client:
        client.sendmail("x@north.test", ["alice@north.test"], "Subject: by-hand\n\nhi\n")

    told = server.run("journey", "x@north.test").stdout
    assert f"uid:{os.getuid()}" in told


def test_the_kernels_word_survives_starttls(server: ServeProcess) -> None:
    with UnixSmtp(path_of(server)) as client:
        client.starttls()
        client.sendmail("x@north.test", ["alice@north.test"], "Subject: encrypted\n\nhi\n")

    assert received(server, "encrypted")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_any_user_of_the_machine_may_submit(server: ServeProcess) -> None:
    path = path_of(server)
    for parent in (Path(path), *Path(path).parents):
        if parent.stat().st_mode & 0o011 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with UnixSmtp(path) as client:
                client.sendmail("cron@north.test", ["alice@north.test"], "Subject: from-nobody\n\nhi\n")
            status = 0
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert f"uid:{NOBODY}" in server.run("journey", "cron@north.test").stdout
    assert received(server, "from-nobody")
