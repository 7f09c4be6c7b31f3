"""What `posthouse sendmail` promises to the programs that call it."""

from __future__ import annotations

import io
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.cli import sendmail as module
from posthouse.cli.sendmail import sendmail
from posthouse.cli.stdinletter import LetterProblem, read_letter
from posthouse.config import Config
from posthouse.mail.envelope import BodyType, Notify, Return
from posthouse.mail.reply import NO_SUCH_USER, SHUTTING_DOWN, Reply
from posthouse.protocol.smtp import events

LETTER = b"From: alice@north.test\nTo: bob@south.test\nSubject: hello\n\nHow are you?\n"
WIRE = LETTER.replace(b"\n", b"\r\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "submission"


@pytest.fixture
def submission(serve: Any, place: Path) -> Any:
    return serve(place)


@pytest.fixture
def run(posthouse: Any, place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, stdin: bytes = LETTER, code: int = os.EX_OK) -> Any:
        return posthouse("sendmail", *arguments, stdin=stdin, code=code, POSTHOUSE_SUBMISSION=str(place))

    return run


def addresses(letter: Any) -> list[str]:
    return [str(recipient.address) for recipient in letter.recipients]


def test_a_letter_reaches_the_recipients_that_are_named(submission: Any, run: Any) -> None:
    run("-f", "alice@north.test", "carol@south.test", "Bob <bob@south.test>, carol@SOUTH.test")

    (letter,) = submission.scene.letters
    assert letter.content == WIRE
    assert str(letter.sender.address) == "alice@north.test"
    assert addresses(letter) == ["carol@south.test", "bob@south.test"]


def test_the_server_learns_the_uid_of_the_caller(submission: Any, run: Any) -> None:
    run("bob@south.test")

    assert submission.scene.uids == [os.getuid()]


def test_t_takes_the_recipients_of_the_header_too(submission: Any, run: Any) -> None:
    letter = (
        b"To: Bob <bob@south.test>,\n\tcarol@south.test\nCc: team: dave@south.test, erin@south.test;\n"
        b"Bcc: frank@south.test\nReply-To: nobody@south.test\n\nx\n"
    )

    run("-t", "-oi", "grace@south.test", stdin=letter)

    names = ("grace", "bob", "carol", "dave", "erin", "frank")
    assert addresses(submission.scene.letters[0]) == [f"{name}@south.test" for name in names]


def test_t_of_a_resent_letter_takes_those_it_is_resent_to(submission: Any, run: Any) -> None:
    run("-t", stdin=b"Resent-To: dave@south.test\n" + LETTER)

    assert addresses(submission.scene.letters[0]) == ["dave@south.test"]


def test_a_dot_alone_ends_the_letter_unless_i_is_given(submission: Any, run: Any) -> None:
    text = b"Subject: x\n\none\n.\ntwo\n..three\n"

    run("bob@south.test", stdin=text)
    run("-i", "bob@south.test", stdin=text)

    short, whole = (letter.content.partition(b"\r\n\r\n")[2] for letter in submission.scene.letters)
    assert short == b"one\r\n"
    assert whole == b"one\r\n.\r\ntwo\r\n..three\r\n"


def test_a_large_letter_with_dots_arrives_as_it_was(submission: Any, run: Any) -> None:
    body = b"".join(b".%d %s\n" % (number, b"x" * 60) for number in range(40_000))

    run("-i", "bob@south.test", stdin=LETTER + body)

    assert submission.scene.letters[0].content == WIRE + body.replace(b"\n", b"\r\n")


def test_what_the_sender_wants_to_be_told_goes_into_the_envelope(submission: Any, run: Any) -> None:
    run("-N", "success,delay", "-R", "hdrs", "-V", "order 7+1", "-B8BITMIME", "-f", "<>", "bob@south.test")

    letter = submission.scene.letters[0]
    assert letter.sender.address is None
    assert (letter.sender.ret, letter.sender.envid) == (Return.HEADERS, "order 7+1")
    assert letter.sender.body is BodyType.EIGHT_BIT_MIME
    assert letter.recipients[0].notify == Notify.SUCCESS | Notify.DELAY
    assert letter.sender.size == len(letter.content)


def test_octets_beyond_ascii_are_announced(submission: Any, run: Any) -> None:
    run("bob@south.test", stdin=LETTER + "Grüße\n".encode())
    run("jürgen@süd.test", '"a b"@south.test')

    eight_bit, internationalized = submission.scene.letters
    assert eight_bit.sender.body is BodyType.EIGHT_BIT_MIME
    assert not eight_bit.sender.smtputf8
    assert internationalized.sender.smtputf8
    assert addresses(internationalized) == ["jürgen@süd.test", '"a b"@south.test']


def test_text_without_a_header_gets_one(submission: Any, run: Any) -> None:
    run("-f", "cron@north.test", "-F", "Cron, the daemon", "root@south.test", stdin=b"disk: is\nfull\n")
    run("-f", "cron@north.test", "root@south.test", stdin=b"no header here\n")

    first, second = (letter.content for letter in submission.scene.letters)
    assert first == b'From: "Cron, the daemon" <cron@north.test>\r\ndisk: is\r\n\r\nfull\r\n'
    assert second == b"From: cron@north.test\r\n\r\nno header here\r\n"


def test_names_without_a_domain_get_the_servers(submission: Any, run: Any) -> None:
    if module.MAILNAME.exists():
        pytest.skip("this machine has an /etc/mailname")
    run("root", stdin=b"Subject: x\n\n")

    letter = submission.scene.letters[0]
    login = pwd.getpwuid(os.getuid()).pw_name
    assert addresses(letter) == ["root@mail.test"]
    assert str(letter.sender.address) == f"{login}@mail.test"
    assert f"<{login}@mail.test>" in letter.content.decode() or f"From: {login}@" in letter.content.decode()


@pytest.fixture
def mailname(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Path) -> Path:
    file = tmp_path / "mailname"
    monkeypatch.setattr(module, "MAILNAME", file)
    monkeypatch.setenv("POSTHOUSE_SUBMISSION", str(place))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LETTER)))
    return file


def test_or_that_of_the_machine(submission: Any, mailname: Path) -> None:
    mailname.write_text("machine.test\n")

    assert sendmail(["root"]) == os.EX_OK

    assert addresses(submission.scene.letters[0]) == ["root@machine.test"]


def test_v_shows_the_dialogue(submission: Any, run: Any) -> None:
    told = run("-v", "-f", "a@north.test", "bob@south.test").stdout

    assert "S: 220 mail.test ESMTP" in told
    assert "C: RCPT TO:<bob@south.test>" in told
    assert "S: 250 2.0.0 Ok: queued as 0000000000000" in told


@pytest.mark.parametrize(
    "arguments",
    [["-oem", "-odb"], ["-G", "-U", "-n", "-m"], ["-O", "DeliveryMode=b"], ["-Am"], ["-bm", "-L", "x"]],
)
def test_what_other_sendmails_know_and_is_harmless_is_accepted(
    submission: Any, run: Any, arguments: list[str]
) -> None:
    run(*arguments, "bob@south.test")

    assert len(submission.scene.letters) == 1


@pytest.mark.parametrize("arguments", [["-bi"], ["-I"], ["-q"], ["-q30m"]])
def test_what_there_is_nothing_to_do_for_is_done_without_a_server(run: Any, arguments: list[str]) -> None:
    assert run(*arguments).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["-Z"], "-Z"),
        (["-f"], "-f"),
        (["-bd"], "-bd"),
        (["-N", "never,success", "bob@south.test"], "-N"),
        (["-R", "half", "bob@south.test"], "-R"),
        (["-V", "a\nb", "bob@south.test"], "-V"),
        (["-B", "9BIT", "bob@south.test"], "-B"),
        ([], "no recipients"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    submission: Any, run: Any, arguments: list[str], about: str
) -> None:
    assert about in run(*arguments, code=os.EX_USAGE).stderr
    assert submission.scene.letters == []


def test_a_header_without_recipients_is_a_data_error(submission: Any, run: Any) -> None:
    assert "no recipients" in run("-t", stdin=b"Subject: x\n\n", code=os.EX_DATAERR).stderr


@pytest.mark.parametrize("address", ["bob@@south.test", "bob@-south.test", "a" * 65 + "@south.test"])
def test_a_wrong_address_is_a_data_error(submission: Any, run: Any, address: str) -> None:
    run(address, code=os.EX_DATAERR)

    assert submission.scene.letters == []


# Faults


def test_without_a_server_it_is_a_temporary_failure(run: Any) -> None:
    assert "no mail server at" in run("bob@south.test", code=os.EX_TEMPFAIL).stderr


def test_a_socket_that_nobody_listens_on_is_a_temporary_failure(run: Any, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))

    assert "refused" in run("bob@south.test", code=os.EX_TEMPFAIL).stderr


@pytest.mark.parametrize(
    ("at", "reply", "code"),
    [
        ("CONNECT", SHUTTING_DOWN, os.EX_TEMPFAIL),
        ("MAIL", Reply(451, "4.3.0", "later"), os.EX_TEMPFAIL),
        ("bob@south.test", NO_SUCH_USER, os.EX_NOUSER),
        ("bob@south.test", Reply(550, "5.1.2", "no such domain"), os.EX_NOHOST),
        ("bob@south.test", Reply(552, "5.2.2", "full"), os.EX_UNAVAILABLE),
        ("DATA", Reply(452, "4.3.1", "disk full"), os.EX_TEMPFAIL),
        ("END", Reply(554, "5.6.0", "not like this"), os.EX_DATAERR),
        ("END", Reply(451, "4.3.0", "later"), os.EX_TEMPFAIL),
    ],
)
def test_a_refusal_becomes_the_exit_code_and_is_told(
    submission: Any, run: Any, at: str, reply: Reply, code: int
) -> None:
    submission.scene.replies[at] = reply

    assert str(reply) in run("bob@south.test", code=code).stderr
    assert submission.scene.letters == []


def test_one_refused_recipient_does_not_hinder_the_others(submission: Any, run: Any) -> None:
    submission.scene.replies["bob@south.test"] = NO_SUCH_USER

    told = run("bob@south.test", "carol@south.test", code=os.EX_NOUSER)

    assert addresses(submission.scene.letters[0]) == ["carol@south.test"]
    assert told.stderr == "sendmail: bob@south.test: 550 5.1.1 No such user here\n"


@pytest.mark.parametrize("event", [events.Connected, events.Helo, events.Mail, events.Rcpt, events.EndOfData])
def test_a_dropped_connection_is_a_temporary_failure(submission: Any, run: Any, event: type) -> None:
    submission.scene.drop_at = event

    assert "421 4.4.2 Connection lost" in run("bob@south.test", code=os.EX_TEMPFAIL).stderr


# Other ways to be called


def test_bs_speaks_smtp_on_standard_input_and_output(submission: Any, run: Any) -> None:
    dialogue = (
        b"EHLO me\nMAIL FROM:<a@north.test>\nRCPT TO:<bob@south.test>\nDATA\nSubject: x\n\nhi\n.\nQUIT\n"
    )

    told = run("-bs", stdin=dialogue).stdout

    assert told.startswith("220 mail.test ESMTP")
    assert told.splitlines()[-1].startswith("221 ")
    assert submission.scene.letters[0].content == b"Subject: x\r\n\r\nhi\r\n"


def test_bv_asks_and_sends_nothing(submission: Any, run: Any) -> None:
    assert "bob@south.test: 252 " in run("-bv", "bob@south.test").stdout
    assert submission.scene.letters == []


# Where the socket is


def write_config(directory: Path, text: str) -> Path:
    file = directory / "posthouse.toml"
    file.write_text(text)
    return file


@pytest.fixture
def configured(serve: Any, tmp_path: Path) -> Any:
    (tmp_path / "data" / "run").mkdir(parents=True)
    return serve(tmp_path / "data" / "run" / "submission")


def test_the_socket_is_the_one_of_the_configuration(configured: Any, posthouse: Any, tmp_path: Path) -> None:
    file = write_config(tmp_path, 'hostname = "mail.test"\n')

    posthouse("sendmail", "bob@south.test", stdin=LETTER)
    posthouse("sendmail", "bob@south.test", stdin=LETTER, POSTHOUSE_CONFIG=str(file))
    posthouse("sendmail", "-C", str(file), "bob@south.test", stdin=LETTER)

    assert len(configured.scene.letters) == 3


def test_its_default_is_the_one_that_the_server_listens_on() -> None:
    (path,) = [endpoint.path for endpoint in Config().listen.submission if endpoint.path]

    assert path == module.DEFAULT_SOCKET


def test_a_configuration_without_a_submission_socket_is_told(posthouse: Any, tmp_path: Path) -> None:
    file = write_config(tmp_path, '[listen]\nsubmission = ["127.0.0.1:587"]\n')

    told = posthouse("sendmail", "-C", str(file), "bob@south.test", stdin=LETTER, code=os.EX_CONFIG)

    assert "names no Unix socket" in told.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_strangers_configuration_is_not_believed(configured: Any, posthouse: Any, tmp_path: Path) -> None:
    os.chown(write_config(tmp_path, ""), 12345, 12345)

    posthouse("sendmail", "bob@south.test", stdin=LETTER, code=os.EX_TEMPFAIL)

    assert configured.scene.letters == []


def test_little_is_imported() -> None:
    heavy = ("pydantic", "cyclopts", "asyncio", "ssl", "cryptography", "structlog", "apsw")
    program = (
        f"import sys, posthouse.cli.main, posthouse.cli.sendmail\nprint(set({heavy!r}) & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


# Standard input


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (b"A: b\n\nx\n", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\r\n\r\nx\r\n", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\r\r\n\r\r\nx\r\r\n", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\n\nx\ry\n", b"A: b\r\n\r\nx\r\ny\r\n"),
        (b"A: b\n\nno end", b"A: b\r\n\r\nno end"),
        (b"From bob Sat Jan  3 01:05:34 1996\nA: b\n\nx\n", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\n continued\nno field\nB: c\n", b"A: b\r\n continued\r\n\r\nno field\r\nB: c\r\n"),
        (b" starts with space\n", b"\r\n starts with space\r\n"),
        (b"\nbody\n", b"\r\nbody\r\n"),
        (b"", b"\r\n"),
        (b"A: b", b"A: b\r\n\r\n"),
    ],
)
def test_every_kind_of_line_end_becomes_crlf(given: bytes, read: bytes) -> None:
    with read_letter(io.BytesIO(given), dot_ends=True) as letter:
        assert letter.read() == read
        assert letter.size == len(read)


@pytest.mark.parametrize("length", range(65_530, 65_540))
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r\r\n"])
def test_lines_longer_than_a_piece_stay_whole(length: int, ending: bytes) -> None:
    line = b"x" * length

    with read_letter(io.BytesIO(b"A: b\n\n" + line + ending + b".\nz"), dot_ends=False) as letter:
        assert letter.read() == b"A: b\r\n\r\n" + line + b"\r\n.\r\nz"


def test_a_dot_in_the_middle_of_a_long_line_ends_nothing() -> None:
    line = b"x" * 65_536 + b".\n"

    with read_letter(io.BytesIO(b"\n" + line + b"more\n"), dot_ends=True) as letter:
        assert letter.read() == b"\r\n" + line[:-1] + b"\r\nmore\r\n"


def test_a_header_without_end_is_refused() -> None:
    with pytest.raises(LetterProblem):
        read_letter(io.BytesIO(b"A: b\n" * 200_000), dot_ends=True)
