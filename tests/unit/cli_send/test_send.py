"""`posthouse send` takes a letter to the recipient's own server, and shows every step."""

from __future__ import annotations

import base64
import os
import re
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import trustme

from posthouse.mail.reply import AUTH_INVALID, NO_SUCH_USER, Reply
from posthouse.pocket.dns import Fault, PocketDns
from posthouse.protocol.smtp import events

FROM = ("--from", "Alice <alice@north.test>")
BOB = ("--to", "bob@south.test")


@pytest.fixture
def south(dns: PocketDns, server: Any) -> Any:
    """south.test, whose mail host is `server`; the arguments that lead there."""
    dns.add("south.test", "MX", "10 mx.south.test")
    dns.add("mx.south.test", "A", "127.0.0.1")
    return ("--nameserver", dns.endpoint, "--port", str(server.port))


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def test_a_letter_goes_to_the_mail_host_of_the_recipient(posthouse: Any, server: Any, south: Any) -> None:
    told = posthouse("send", *BOB, *FROM, "--subject", "Grüße", "--body", "Wie geht's?", *south)

    (letter,) = server.scene.letters
    assert str(letter.sender.address) == "alice@north.test"
    assert [str(recipient.address) for recipient in letter.recipients] == ["bob@south.test"]
    message = message_from_bytes(letter.content, policy=policy.default)
    assert (message["From"], message["To"]) == ("Alice <alice@north.test>", "bob@south.test")
    assert (message["Subject"], message.get_content()) == ("Grüße", "Wie geht's?\r\n")
    assert message["Date"]
    assert message["Message-ID"]
    assert told.stdout == (
        f"bob@south.test: accepted by mx.south.test[127.0.0.1]:{server.port}: "
        "250 2.0.0 Ok: queued as 0000000000000\n"
    )


def test_copies_files_and_a_text_from_standard_input(posthouse: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.pdf").write_bytes(b"%PDF-1.4\0")
    (tmp_path / "notes.txt").write_text("x\n")

    posthouse(
        "send", *BOB, "--cc", "carol@south.test", "--bcc", "dave@south.test", *FROM, "--via", server.place,
        "--body", "-", "--attach", str(tmp_path / "plan.pdf"), str(tmp_path / "notes.txt"),
        stdin=b"by pipe\n",
    )  # fmt: skip

    (letter,) = server.scene.letters
    assert len(letter.recipients) == 3
    assert b"dave" not in letter.content
    message = message_from_bytes(letter.content, policy=policy.default)
    assert message["Cc"] == "carol@south.test"
    text, plan, notes = message.iter_parts()
    assert text.get_content() == "by pipe\r\n"
    assert (plan.get_content_type(), plan.get_filename()) == ("application/pdf", "plan.pdf")
    assert plan.get_content() == b"%PDF-1.4\0"
    assert notes.get_content_type() == "text/plain"


def test_trace_shows_and_explains_every_step(posthouse: Any, server: Any, south: Any, serve: Any) -> None:
    told = posthouse("send", *BOB, *FROM, "--subject", "hello", *south, "--trace").stdout

    steps = re.findall(r"^ *\d+ ms  (.*)$", told, re.MULTILINE)
    expected = [
        "DNS: asking 127.0.0.1 port ",
        "DNS: south.test MX: 10 mx.south.test",
        "DNS: mx.south.test: 127.0.0.1",
        f"TCP: connected to mx.south.test[127.0.0.1]:{server.port} from 127.0.0.1 port ",
        "S: 220 mail.test ESMTP",
        "C: EHLO ",
        "S: 250-mail.test",
        "S: 250-PIPELINING",
        "C: MAIL FROM:<alice@north.test> SIZE=",
        "C: RCPT TO:<bob@south.test>",
        "S: 250 2.1.5 Ok",
        "S: 250 2.0.0 Ok: queued as ",
        "C: QUIT",
        "S: 221 2.0.0 Bye",
    ]
    for step in expected:
        while steps and not steps[0].startswith(step):
            steps.pop(0)
        assert steps, f"{step!r} is not there, or not in its place:\n{told}"
    assert "We ask whether the server takes the letter for bob@south.test." in told
    assert "Several commands may be sent at once" in told
    assert "The recipient's address is good." in told
    assert "| Subject: hello" in told


def test_without_trace_there_is_one_line(posthouse: Any, server: Any) -> None:
    assert posthouse("send", *BOB, *FROM, "--via", server.place).stdout.count("\n") == 1


def test_each_domain_gets_its_own_connection(posthouse: Any, server: Any, south: Any, dns: PocketDns) -> None:
    dns.add("west.test", "A", "127.0.0.1")

    told = posthouse("send", *BOB, "--to", "erin@west.test, carol@south.test", *FROM, *south)

    assert [len(letter.recipients) for letter in server.scene.letters] == [2, 1]
    assert told.stdout.count("accepted by") == 3


def test_configuration_gives_the_defaults(posthouse: Any, server: Any, south: Any, tmp_path: Path) -> None:
    _, endpoint, _, port = south
    (tmp_path / "posthouse.toml").write_text(
        f'hostname = "mail.north.test"\n[dns]\nnameservers = ["{endpoint}"]\n[outbound]\nport = {port}\n'
    )

    told = posthouse("send", *BOB, "--trace")

    assert "C: EHLO mail.north.test" in told.stdout
    assert str(server.scene.letters[0].sender.address).endswith("@mail.north.test")


def test_a_host_that_does_not_answer_is_followed_by_the_next(
    posthouse: Any, server: Any, dns: PocketDns, south: Any
) -> None:
    dns.add("south.test", "MX", "5 away.south.test")
    dns.add("away.south.test", "A", "127.0.0.77")

    told = posthouse("send", *BOB, *FROM, *south, "--trace").stdout

    assert "TCP: cannot connect to away.south.test[127.0.0.77]" in told
    assert len(server.scene.letters) == 1


# TLS


def test_the_handshake_is_shown(posthouse: Any, serve: Any, trusted: str) -> None:
    server = serve(starttls=True)

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--trace", "--ca-file", trusted).stdout

    assert "C: STARTTLS" in told
    assert re.search(r"TLS: TLSv1\.[23] \S+, in \d+ ms", told)
    assert re.search(r"TLS: certificate for mail\.test, 127\.0\.0\.1, issued by .*; checked, and valid", told)
    assert told.count("C: EHLO") == 2
    assert len(server.scene.letters) == 1


def test_tls_from_the_start(posthouse: Any, serve: Any) -> None:
    server = serve(implicit_tls=True)

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--tls", "implicit", "--trace").stdout

    assert told.index("TLS: TLSv1.") < told.index("S: 220")
    assert "; not checked" in told
    assert len(server.scene.letters) == 1


def test_a_certificate_of_nobody_we_trust_is_refused_where_it_must_be_valid(
    posthouse: Any, serve: Any
) -> None:
    server = serve(starttls=True)

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--verify", "--trace", code=os.EX_TEMPFAIL)

    assert "certificate not valid" in told.stderr
    assert server.scene.letters == []


@pytest.mark.parametrize("options", [["--tls", "starttls"], ["--verify"]])
def test_a_letter_that_must_be_encrypted_does_not_go_in_clear(
    posthouse: Any, server: Any, options: list[str]
) -> None:
    told = posthouse("send", *BOB, *FROM, "--via", server.place, *options, code=os.EX_TEMPFAIL)

    assert "does not offer STARTTLS" in told.stderr
    assert server.scene.letters == []


def test_a_failed_handshake_is_followed_by_plain_text_where_tls_is_only_welcome(
    posthouse: Any, serve: Any
) -> None:
    server = serve(starttls=True)
    server.refuse_tls()

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--trace").stdout

    assert "TLS: the handshake failed" in told
    assert "TLS: once more without" in told
    assert len(server.scene.letters) == 1


# Logging in

SECRET = "a very long road to Samarkand"


@pytest.fixture
def submission(serve: Any) -> Any:
    return serve(starttls=True, auth_mechanisms=("PLAIN",), auth_required=True)


def test_one_can_log_in_and_the_password_is_never_shown(
    posthouse: Any, submission: Any, trusted: str
) -> None:
    told = posthouse(
        "send", *BOB, *FROM, "--via", submission.place, "--user", "alice@north.test", "--password-stdin",
        "--body", "-", "--trace", "--ca-file", trusted, stdin=f"{SECRET}\nthe text\n".encode(),
    )  # fmt: skip

    assert submission.scene.logins == [("alice@north.test", SECRET)]
    assert submission.scene.letters[0].content.endswith(b"\r\n\r\nthe text\r\n")
    encoded = base64.b64encode(f"\0alice@north.test\0{SECRET}".encode()).decode()
    assert "C: AUTH PLAIN [secret]" in told.stdout
    assert SECRET not in told.stdout + told.stderr
    assert encoded not in told.stdout + told.stderr


def test_a_password_does_not_go_to_a_server_that_cannot_prove_its_name(
    posthouse: Any, submission: Any
) -> None:
    posthouse(
        "send", *BOB, *FROM, "--via", submission.place, "--user", "alice", "--password-stdin",
        stdin=b"x\n", code=os.EX_TEMPFAIL,
    )  # fmt: skip

    assert submission.scene.logins == []


def test_a_wrong_password_is_a_lack_of_permission(posthouse: Any, submission: Any, trusted: str) -> None:
    submission.scene.replies["AUTH"] = AUTH_INVALID

    told = posthouse(
        "send", *BOB, *FROM, "--via", submission.place, "--user", "alice", "--password-stdin",
        "--ca-file", trusted, stdin=b"x\n", code=os.EX_NOPERM,
    )  # fmt: skip

    assert "535 5.7.8" in told.stderr
    assert "name or the password is wrong" in told.stderr


# Faults


@pytest.mark.parametrize(
    ("at", "reply", "code"),
    [
        ("CONNECT", Reply(554, "5.7.1", "no"), os.EX_UNAVAILABLE),
        ("CONNECT", Reply(421, "4.3.2", "busy"), os.EX_TEMPFAIL),
        ("MAIL", Reply(451, "4.7.1", "greylisted"), os.EX_TEMPFAIL),
        ("bob@south.test", NO_SUCH_USER, os.EX_NOUSER),
        ("END", Reply(554, "5.7.1", "spam"), os.EX_UNAVAILABLE),
    ],
)
def test_a_refusal_is_told_and_explained(
    posthouse: Any, server: Any, at: str, reply: Reply, code: int
) -> None:
    server.scene.replies[at] = reply

    told = posthouse("send", *BOB, *FROM, "--via", server.place, code=code)

    first, second = told.stderr.splitlines()
    assert str(reply) in first
    assert second.strip()
    assert server.scene.letters == []


@pytest.mark.parametrize("event", [events.Connected, events.Helo, events.Rcpt, events.Data, events.EndOfData])
def test_a_dropped_connection_is_a_temporary_failure(posthouse: Any, server: Any, event: type) -> None:
    server.scene.drop_at = event

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--trace", code=os.EX_TEMPFAIL)

    assert "421 4.4.2 Connection lost" in told.stderr
    assert ("It may have arrived" in told.stdout) == (event in (events.Data, events.EndOfData, events.Rcpt))


def test_a_server_that_is_silent_is_waited_for_only_so_long(posthouse: Any, silent: str) -> None:
    told = posthouse("send", *BOB, *FROM, "--via", silent, "--timeout", "0.2", code=os.EX_TEMPFAIL)

    assert "Timed out while waiting for the greeting" in told.stderr


def test_without_a_server_it_is_a_temporary_failure(posthouse: Any, free_port: int) -> None:
    told = posthouse("send", *BOB, *FROM, "--via", f"127.0.0.1:{free_port}", code=os.EX_TEMPFAIL)

    assert "Connection refused" in told.stderr


def test_dns_decides_between_never_and_not_now(
    posthouse: Any, server: Any, south: Any, dns: PocketDns
) -> None:
    dns.add("null.test", "MX", "0 .")
    dns.fail("broken.test", Fault.SERVFAIL)

    for domain, code in (
        ("none.test", os.EX_NOHOST),
        ("null.test", os.EX_NOHOST),
        ("broken.test", os.EX_TEMPFAIL),
    ):
        posthouse("send", "--to", f"bob@{domain}", *FROM, *south, code=code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--to", "bob@@south.test"], os.EX_USAGE),
        (["--to", ""], os.EX_USAGE),
        ([*BOB, "--from", "nobody"], os.EX_USAGE),
        ([*BOB, "--via", "[::1"], os.EX_USAGE),
        ([*BOB, "--nameserver", "ns.example"], os.EX_USAGE),
        ([*BOB, "--user", "alice"], os.EX_USAGE),
        ([*BOB, "--via", "x", "--timeout", "0"], os.EX_USAGE),
        ([*BOB, "--attach", "/nonexistent"], os.EX_NOINPUT),
        ([], os.EX_USAGE),
    ],
)
def test_a_wrong_command_line_is_told(posthouse: Any, arguments: list[str], code: int) -> None:
    posthouse("send", *arguments, code=code)


def test_what_a_server_says_cannot_steer_the_terminal(posthouse: Any, server: Any) -> None:
    server.scene.replies["bob@south.test"] = Reply(550, "5.1.1", "\x1b[2Jgone \u202e\x9b")

    told = posthouse("send", *BOB, *FROM, "--via", server.place, "--trace", code=os.EX_NOUSER)

    assert not set("\x1b\x9b\u202e") & set(told.stdout + told.stderr)
