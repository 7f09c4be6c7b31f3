"""curl: smtp, smtps, imap, imaps, pop3 and pop3s, each with the certificate verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("curl")

CURL_LOGIN_DENIED, CURL_MAIL_REFUSED = 67, 55


@pytest.fixture
def curl(run: Run, server: ServeProcess, ca: Path):
    """curl to a path of a listener, by the scheme of its name; what it printed."""
    schemes = {"submission": "smtp", "submissions": "smtps"}

    def curl_(listener: str, path: str, *options: object, who: Person | None = None, code: int = 0) -> str:
        _, port = server.address(listener)
        url = f"{schemes.get(listener, listener)}://localhost:{port}/{path}"
        login = ["--user", f"{who.address}:{who.password}"] if who else []
        done = run("curl", "-sS", "-4", "--max-time", 30, "--ssl-reqd", "--cacert", ca, *login, *options, url)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return curl_


@pytest.fixture
def letter(tmp_path: Path, alice: Person, bob: Person) -> Path:
    """From alice to bob, as a file."""
    file = tmp_path / "letter.eml"
    file.write_bytes(
        f"From: {alice.address}\r\nTo: {bob.address}\r\nSubject: by curl\r\n\r\nHello, bob.\r\n".encode()
    )
    return file


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_it_sends(curl, letter: Path, alice: Person, bob: Person, listener: str) -> None:
    curl(
        listener,
        "client.test",
        "--mail-from",
        alice.address,
        "--mail-rcpt",
        bob.address,
        "-T",
        letter,
        who=alice,
    )

    (got,) = bob.letters()
    assert got["Subject"] == "by curl"
    assert got["Date"]
    assert got["Message-ID"]
    assert got.get_content().strip() == "Hello, bob."


def test_it_cannot_send_without_logging_in(curl, letter: Path, alice: Person, bob: Person) -> None:
    options = ["--mail-from", alice.address, "--mail-rcpt", bob.address, "-T", letter]

    curl("submission", "client.test", *options, code=CURL_MAIL_REFUSED)

    assert bob.letters() == []


@pytest.mark.parametrize("listener", ["imap", "imaps"])
def test_it_lists_reads_searches_and_deletes_by_imap(curl, bob: Person, listener: str) -> None:
    bob.given(["one", "two", "three"])

    assert '"/" "INBOX"' in curl(listener, "", who=bob)
    assert curl(listener, "INBOX?SUBJECT%20two", who=bob) == "* SEARCH 2\r\n"
    whole = curl(listener, "INBOX;UID=2", who=bob)
    assert whole.endswith("\r\n\r\nText of two.\r\n")
    assert curl(listener, "INBOX;UID=2;SECTION=TEXT", who=bob) == "Text of two.\r\n"

    curl(listener, "INBOX", "-X", "UID STORE 2 +FLAGS.SILENT (\\Deleted)", who=bob)
    assert curl(listener, "INBOX", "-X", "UID EXPUNGE 2", who=bob) == "* 2 EXPUNGE\r\n"
    assert bob.subjects() == ["one", "three"]


def test_it_puts_a_letter_into_a_mailbox_by_imap(curl, letter: Path, bob: Person) -> None:
    curl("imaps", "Drafts", "-T", letter, who=bob)

    assert bob.raw("Drafts") == [letter.read_bytes()]


@pytest.mark.parametrize("listener", ["pop3", "pop3s"])
def test_it_lists_reads_and_deletes_by_pop3(curl, bob: Person, listener: str) -> None:
    bob.given(["one", "two"])

    sizes = [int(line.split()[1]) for line in curl(listener, "", who=bob).splitlines()]
    assert sizes == [len(octets) for octets in bob.raw()]
    assert curl(listener, "2", who=bob).encode() == bob.raw()[1]
    top = curl(listener, "", "-X", "TOP 1 0", who=bob)
    assert "Subject: one\r\n" in top
    assert "Text of" not in top

    curl(listener, "1", "--list-only", "-X", "DELE", who=bob)
    assert bob.subjects() == ["two"]


@pytest.mark.parametrize("listener", ["imaps", "pop3s"])
def test_a_wrong_password_is_refused(curl, bob: Person, listener: str) -> None:
    curl(listener, "", "--user", f"{bob.address}:wrong", code=CURL_LOGIN_DENIED)
