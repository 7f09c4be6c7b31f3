"""`posthouse talk`: the dialogue by hand."""

from __future__ import annotations

import base64
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from posthouse.mail.reply import NO_SUCH_USER
from posthouse.protocol.smtp import events

LETTER = b"EHLO me\nMAIL FROM:<a@north.test>\nRCPT TO:<bob@south.test>\nDATA\nSubject: x\n\n..hi\n.\nQUIT\n"


def test_each_line_is_said_and_each_reply_explained(posthouse: Any, server: Any) -> None:
    told = posthouse("talk", server.place, stdin=LETTER).stdout

    assert server.scene.letters[0].content == b"Subject: x\r\n\r\n.hi\r\n"
    assert "S: 220 mail.test ESMTP Posthouse\n   The server is ready.\n" in told
    assert "S: 250-PIPELINING\n   Several commands may be sent at once" in told
    assert "C: RCPT TO:<bob@south.test>\nS: 250 2.1.5 Ok\n   The recipient's address is good.\n" in told
    assert "C: .\nS: 250 2.0.0 Ok: queued as 0000000000000\n" in told
    assert told.endswith("S: 221 2.0.0 Bye\n   The server closes the connection.\n")


def test_a_refusal_is_explained_with_advice(posthouse: Any, server: Any) -> None:
    server.scene.replies["bob@south.test"] = NO_SUCH_USER

    told = posthouse("talk", server.place, stdin=LETTER.replace(b"DATA\nSubject: x\n\n..hi\n.\n", b"")).stdout

    assert (
        "S: 550 5.1.1 No such user here\n   There is no such mailbox at that domain. Check the address"
        in told
    )


def test_the_end_of_input_says_quit(posthouse: Any, server: Any) -> None:
    assert "C: QUIT\nS: 221 " in posthouse("talk", server.place, stdin=b"NOOP\n").stdout


def test_the_end_of_input_in_a_letter_sends_nothing(posthouse: Any, server: Any) -> None:
    told = posthouse("talk", server.place, stdin=LETTER.partition(b".\nQUIT")[0]).stdout

    assert "QUIT" not in told
    assert server.scene.letters == []


def test_chunks_are_counted(posthouse: Any, server: Any) -> None:
    dialogue = (
        b"EHLO me\nMAIL FROM:<>\nRCPT TO:<b@south.test>\nBDAT 6\nA: b\nBDAT 5 LAST\n\nx\nBDAT 0 LAST\nQUIT\n"
    )

    told = posthouse("talk", server.place, stdin=dialogue).stdout

    assert server.scene.letters[0].content == b"A: b\r\n\r\nx\r\n"
    assert "S: 503 " in told


def test_lmtp_answers_for_each_recipient(posthouse: Any, serve: Any) -> None:
    server = serve(lmtp=True)
    dialogue = LETTER.replace(b"EHLO", b"LHLO").replace(b"DATA", b"RCPT TO:<carol@south.test>\nDATA")

    told = posthouse("talk", server.place, "--lmtp", stdin=dialogue).stdout

    assert told.count("queued as") == 2
    assert told.index("C: QUIT") > told.rindex("queued as")


def test_a_unix_socket_can_be_talked_to(posthouse: Any, serve: Any, tmp_path: Path) -> None:
    serve(tmp_path / "s")

    assert "S: 221" in posthouse("talk", f"unix:{tmp_path / 's'}", stdin=b"QUIT\n").stdout


def test_starttls_begins_tls(posthouse: Any, serve: Any) -> None:
    server = serve(starttls=True)

    told = posthouse("talk", server.place, stdin=b"EHLO me\nSTARTTLS\nEHLO me\nNOOP\nQUIT\n").stdout

    before, _, after = told.partition("TLS: TLSv1.")
    assert "S: 250-STARTTLS" in before
    assert "STARTTLS" not in after
    assert "certificate for mail.test" in after
    assert "S: 221" in after


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_can_be_asked_for(posthouse: Any, serve: Any, tls: str) -> None:
    server = serve(starttls=True, implicit_tls=tls == "implicit")

    told = posthouse("talk", server.place, "--tls", tls, stdin=LETTER).stdout

    assert told.index("TLS: TLSv1.") < told.index("C: EHLO me")
    assert len(server.scene.letters) == 1


def test_a_server_without_starttls_is_told(posthouse: Any, server: Any) -> None:
    posthouse("talk", server.place, "--tls", "starttls", code=os.EX_PROTOCOL)


SECRET = base64.b64encode(b"\0alice\0open sesame")


@pytest.mark.parametrize("dialogue", [b"AUTH PLAIN " + SECRET, b"AUTH PLAIN\n" + SECRET])
def test_secrets_are_not_shown(posthouse: Any, serve: Any, dialogue: bytes) -> None:
    server = serve(implicit_tls=True, auth_mechanisms=("PLAIN",))

    told = posthouse("talk", server.place, "--tls", "implicit", stdin=b"EHLO me\n" + dialogue + b"\nQUIT\n")

    assert server.scene.logins == [("alice", "open sesame")]
    assert "[secret]" in told.stdout
    assert SECRET.decode() not in told.stdout + told.stderr


def test_bare_line_feeds_can_be_tried(posthouse: Any, server: Any) -> None:
    told = posthouse(
        "talk", server.place, "--no-crlf", "--timeout", "1", stdin=b"NOOP\r\nNOOP\n", code=os.EX_TEMPFAIL
    )

    assert "S: 250 2.0.0 Ok" in told.stdout
    assert "S: 500 5.5.2 A line must end with" in told.stdout
    assert "no reply within 1 s" in told.stderr  # QUIT belonged to the line that had no end


# Faults


def test_without_a_server_it_is_a_temporary_failure(posthouse: Any, free_port: int) -> None:
    told = posthouse("talk", f"127.0.0.1:{free_port}", code=os.EX_TEMPFAIL)

    assert "Connection refused" in told.stderr


def test_silence_ends_it(posthouse: Any, silent: str) -> None:
    told = posthouse("talk", silent, "--timeout", "0.2", code=os.EX_TEMPFAIL)

    assert "no reply within 0.2 s" in told.stderr


@pytest.mark.parametrize("event", [events.Connected, events.Mail, events.EndOfData])
def test_a_dropped_connection_is_told(posthouse: Any, server: Any, event: type) -> None:
    server.scene.drop_at = event

    assert "connection lost" in posthouse("talk", server.place, stdin=LETTER, code=os.EX_TEMPFAIL).stderr


@pytest.mark.parametrize("arguments", [["[::1"], ["x:y"], ["127.0.0.1", "--timeout", "0"], []])
def test_a_wrong_command_line_is_told(posthouse: Any, arguments: list[str]) -> None:
    posthouse("talk", *arguments, code=os.EX_USAGE)


# On a terminal


class Terminal:
    """`posthouse talk` on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "posthouse", "talk", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def until(self, text: str) -> None:
        """Wait until `text` is shown after what was waited for before."""
        deadline = time.monotonic() + 20
        while (at := self.shown.find(text, self._seen)) < 0:
            readable, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{text!r} does not come: {self.shown!r}"
            try:
                octets = os.read(self._ours, 4096)
            except OSError:  # the other side is closed
                octets = b""
            assert octets, f"{text!r} did not come: {self.shown!r}"
            self.shown += octets.decode("utf-8", "replace")
        self._seen = at + len(text)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait(self) -> int:
        return self._process.wait(20)

    def close(self) -> None:
        os.close(self._ours)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Any:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_lines_can_be_edited_and_called_back(terminal: Any, server: Any) -> None:
    talk = terminal(server.place)
    talk.until("C: ")

    talk.type("EHXX\x7f\x7fLO me\n")
    talk.until("S: 250 ")
    talk.until("C: ")
    talk.type("\x1b[A\n")  # the line before, once more
    talk.until("S: 250 ")
    talk.until("C: ")
    talk.type("QUIT\n")
    talk.until("S: 221 ")

    assert talk.wait() == os.EX_OK
    assert "S: 5" not in talk.shown


def test_what_is_typed_after_auth_is_not_shown(terminal: Any, serve: Any) -> None:
    server = serve(implicit_tls=True, auth_mechanisms=("PLAIN",))
    talk = terminal(server.place, "--tls", "implicit")
    talk.until("C: ")

    talk.type("EHLO me\n")
    talk.until("S: 250 ")
    talk.until("C: ")
    talk.type("AUTH PLAIN\n")
    talk.until("C (not shown): ")
    talk.type(SECRET.decode() + "\n")
    talk.until("S: 235 ")
    talk.type("\x04")
    talk.until("S: 221 ")

    assert talk.wait() == os.EX_OK
    assert server.scene.logins == [("alice", "open sesame")]
    assert SECRET.decode() not in talk.shown


def test_what_the_server_says_unasked_appears_at_once(terminal: Any, server: Any) -> None:
    talk = terminal(server.place)
    talk.until("C: ")

    server.shut_down()
    talk.until("S: 421 ")

    assert talk.wait() == os.EX_OK
