"""swaks: a letter from a stranger, a letter from a user, and what must be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import DOMAIN, ServeProcess

pytestmark = pytest.mark.debian("swaks", "libnet-ssleay-perl")

# swaks' exit codes
CONNECTION_REFUSED, SENDER, RECIPIENT, DATA, AUTHENTICATION, TLS = 2, 23, 24, 26, 28, 29


@pytest.fixture
def swaks(run: Run, server: ServeProcess, ca: Path):
    """swaks to a listener; TLS, where the options ask for it, verifies our certificate."""

    def swaks_(listener: str, *options: object, code: int = 0) -> str:
        host, port = server.address(listener)
        command = ["swaks", "--server", host, "--port", port, "--helo", "client.test", "--timeout", "30"]
        done = run(*command, "--tls-verify", "--tls-ca-path", ca, *options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return swaks_


def login(person: Person, password: str = "") -> list[str]:
    return ["--auth-user", person.address, "--auth-password", password or person.password]


@pytest.mark.parametrize("options", [[], ["--pipeline"], ["-tls"], ["-tls", "--pipeline"]])
def test_a_strangers_letter_is_in_the_mailbox_once_it_is_accepted(swaks, alice: Person, options) -> None:
    dialogue = swaks(
        "smtp", "--from", "carol@south.test", "--to", alice.address, "--body", "Hello.", *options
    )

    (letter,) = alice.letters()
    assert letter["Return-Path"] == "<carol@south.test>"
    assert letter["Delivered-To"] == alice.address
    assert letter.get_content().strip() == "Hello."
    queued = dialogue.split("queued as ")[1].split()[0]
    assert queued in letter["Received"]
    assert ("ESMTPS" in letter["Received"]) == ("-tls" in options)


def test_one_letter_to_several_users_is_one_acceptance(swaks, alice: Person, bob: Person) -> None:
    swaks(
        "smtp", "--from", "carol@south.test", "--to", f"{alice.address},{bob.address}", "--h-Subject", "both"
    )

    assert alice.subjects() == bob.subjects() == ["both"]
    assert alice.letters()[0]["Delivered-To"] == alice.address
    assert bob.letters()[0]["Delivered-To"] == bob.address


def test_lmtp_answers_for_each_recipient(swaks, alice: Person, bob: Person) -> None:
    both = f"{alice.address},{bob.address}"

    dialogue = swaks("lmtp", "--protocol", "LMTP", "--from", "carol@south.test", "--to", both)

    assert dialogue.count("<-  250 2.0.0 Ok: queued as") == 2
    assert len(alice.letters()) == len(bob.letters()) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(
    ("listener", "tls", "protocol"), [("submission", "-tls", "ESMTPSA"), ("submissions", "-tlsc", "ESMTPSA")]
)
def test_a_user_submits(swaks, alice: Person, bob: Person, mechanism, listener, tls, protocol) -> None:
    options = [tls, "--auth", mechanism, *login(alice)]

    swaks(listener, "--from", alice.address, "--to", bob.address, "--h-Subject", "submitted", *options)

    (letter,) = bob.letters()
    assert letter["Subject"] == "submitted"
    assert f"with {protocol}" in letter["Received"]
    assert "client.test" not in letter["Received"]


def test_pipelined_submission_to_someone_elsewhere_is_queued(
    swaks, server: ServeProcess, alice: Person
) -> None:
    options = ["-tls", "--auth", "PLAIN", "--pipeline", *login(alice)]

    dialogue = swaks("submission", "--from", alice.address, "--to", "carol@south.test", *options)

    queued = dialogue.split("queued as ")[1].split()[0]
    assert queued in server.run("queue", "list").stdout


def test_a_wrong_password_is_refused(swaks, alice: Person, bob: Person) -> None:
    options = ["-tls", "--auth", "PLAIN", *login(alice, "wrong")]

    dialogue = swaks(
        "submission", "--from", alice.address, "--to", bob.address, *options, code=AUTHENTICATION
    )

    assert "535 5.7.8" in dialogue
    assert bob.letters() == []


def test_who_does_not_log_in_cannot_submit(swaks, alice: Person, bob: Person) -> None:
    dialogue = swaks("submission", "-tls", "--from", alice.address, "--to", bob.address, code=SENDER)

    assert "530 5.7.0" in dialogue


def test_a_user_cannot_write_in_anothers_name(swaks, alice: Person, bob: Person) -> None:
    options = ["-tls", "--auth", "PLAIN", *login(alice)]

    dialogue = swaks("submission", "--from", bob.address, "--to", bob.address, *options, code=SENDER)

    assert "553 5.7.1" in dialogue
    assert bob.letters() == []


@pytest.mark.parametrize("options", [[], ["--pipeline"]])
def test_a_stranger_cannot_relay(swaks, options) -> None:
    dialogue = swaks("smtp", "--from", "carol@south.test", "--to", "dave@west.test", *options, code=RECIPIENT)

    assert "554 5.7.1 Relay access denied" in dialogue


def test_an_unknown_user_is_refused_at_rcpt(swaks) -> None:
    dialogue = swaks("smtp", "--from", "carol@south.test", "--to", f"nobody@{DOMAIN}", code=RECIPIENT)

    assert "550 5.1.1" in dialogue


def test_a_letter_beyond_the_limit_is_refused(swaks, tmp_path: Path, alice: Person) -> None:
    large = tmp_path / "large.eml"
    large.write_text("Subject: large\n\n" + ("x" * 76 + "\n") * 70_000)

    dialogue = swaks(
        "smtp", "--from", "carol@south.test", "--to", alice.address, "--data", f"@{large}",
        "--suppress-data", code=DATA,
    )  # fmt: skip

    assert "250-SIZE 5000000" in dialogue
    assert "552 5.3.4" in dialogue
    assert alice.letters() == []


def test_eight_bit_text_and_lines_that_begin_with_dots_arrive_octet_for_octet(
    swaks, tmp_path: Path, alice: Person
) -> None:
    text = "From: Ünï <carol@south.test>\nSubject: Grüße, 你好\n\n.\n..two\n.one\nZeile mit Ümläuten\n"
    file = tmp_path / "utf8.eml"
    file.write_text(text, "utf-8")

    swaks("smtp", "--from", "carol@south.test", "--to", alice.address, "--data", f"@{file}")

    (octets,) = alice.raw()
    # swaks ends what it sends with one more empty line
    assert octets.endswith(text.replace("\n", "\r\n").encode() + b"\r\n")
