"""Real mail programs against `posthouse serve`: one server for all, new accounts for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import ssl
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from posthouse.accounts.tally import Tally
from posthouse.accounts.throttle import CAPACITY
from posthouse.protocol.sasl import SCRAM
from tests import issuer as issuer_
from tests.clients.person import Person
from tests.issuer import Issuer
from tests.servers import HOSTNAME, LISTENERS, ServeProcess

ACCOUNTS = 300
_numbers = itertools.count()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Who signs tokens that the server takes."""
    return Issuer()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Path:
    """The folder with authority.pem, which clients trust, the server's chain.pem and key.pem, and keys.json.

    The same authority issues certificates to users; keys.json are those of `issuer`.
    """
    folder = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    (folder / "keys.json").write_text(issuer.key_set)
    (folder / "private.pem").write_bytes(ca.private_key_pem.bytes())
    certificate = ca.issue_cert("localhost", "127.0.0.1", HOSTNAME, common_name="localhost")
    ca.cert_pem.write_to_path(folder / "authority.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / "chain.pem", append=True)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[ServeProcess]:
    """All services, two workers; nobody is in mynetworks, so that everyone has to log in to relay."""
    settings = {
        "listen": {name: ["127.0.0.1:0"] for name in LISTENERS},
        "accounts": {
            "auth_mechanisms": [*SCRAM, "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"],
            "auth_channel_binding": "always",
        },
        "oauth": {
            "issuer": issuer_.NAME,
            "audience": [issuer_.AUDIENCE],
            "keys_file": str(authority / "keys.json"),
            "scope": "mail",
        },
        "smtp": {"mynetworks": [], "message_size_limit": "5MB"},
        "tls": {
            "certificate": str(authority / "chain.pem"),
            "key": str(authority / "key.pem"),
            "client_ca_file": str(authority / "authority.pem"),
        },
    }
    accounts = {f"user{number}": None for number in range(ACCOUNTS)}
    with ServeProcess(tmp_path_factory.mktemp("clients"), settings, accounts=accounts) as running:
        yield running


@pytest.fixture(scope="session")
def ca(authority: Path) -> Path:
    """The certificate that clients trust."""
    return authority / "authority.pem"


@pytest.fixture(scope="session")
def trusting(ca: Path) -> ssl.SSLContext:
    """What a careful client uses: chain and name are verified."""
    return ssl.create_default_context(cafile=ca)


@pytest.fixture(autouse=True)
def forgiven(request: pytest.FixtureRequest) -> None:
    """All tests are one client to the server, whose wrong passwords are held against it for an hour."""
    if "server" in request.fixturenames:
        server: ServeProcess = request.getfixturevalue("server")
        failures = Tally(CAPACITY, server.config.data_directory / "run" / "logins.failed")
        failures.change(("client", "127.0.0.1"), lambda failed: None)
        failures.close()


@pytest.fixture
def alice(server: ServeProcess) -> Person:
    """A user with empty mailboxes, of whom no other test knows."""
    return somebody(server)


@pytest.fixture
def bob(server: ServeProcess) -> Person:
    """Another."""
    return somebody(server)


def somebody(server: ServeProcess) -> Person:
    number = next(_numbers)
    assert number < ACCOUNTS, "more users are needed"
    return Person(server, f"user{number}")


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of who runs the program."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    """Run a program at home, with the text of its standard input; it has 60 s."""

    def run_(*command: object, given: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(part) for part in command],
            input=given.encode(),
            capture_output=True,
            timeout=60,
            check=False,
            cwd=home,
            env=environment(home),
        )
        texts = (octets.decode("utf-8", "replace") for octets in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, *texts)

    return run_


@pytest.fixture
def run_on_terminal(home: Path) -> Run:
    """Run a program that wants a terminal and needs no keys; the text is what it showed."""

    def run_(*command: object) -> subprocess.CompletedProcess[str]:
        ours, theirs = pty.openpty()
        shown = bytearray()

        def watch() -> None:
            # EIO: the program has ended
            with contextlib.suppress(OSError):
                while octets := os.read(ours, 65536):
                    shown.extend(octets)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            termios.tcsetwinsize(theirs, (40, 120))
            done = subprocess.run(
                [str(part) for part in command],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                timeout=60,
                check=False,
                cwd=home,
                env=environment(home),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
            watching.join()
            os.close(ours)
        return subprocess.CompletedProcess(done.args, done.returncode, shown.decode("utf-8", "replace"), "")

    return run_


def environment(home: Path) -> dict[str, str]:
    """What a user has; nothing of ours."""
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "USER": "tester",
    }
