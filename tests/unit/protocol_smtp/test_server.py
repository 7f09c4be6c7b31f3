"""Promises of the server's session that no dialogue can show."""

from __future__ import annotations

import tracemalloc

import pytest

from posthouse.mail.address import Address
from posthouse.mail.envelope import BodyType, Notify, Return
from posthouse.mail.reply import RELAY_DENIED, SHUTTING_DOWN, Reply, queued_as
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.events import Auth, Chunk, Connected, Data, EndOfData, Mail, Quit, Rcpt, Reset
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities
from tests.transcripts import smtp


@pytest.fixture
def desk() -> smtp.Desk:
    desk = smtp.open_desk(frozenset({"auth", "starttls"}))
    desk.session.receive(b"EHLO client.example\r\n")
    desk.answer()
    return desk


def say(desk: smtp.Desk, octets: bytes) -> str:
    desk.session.receive(octets)
    return desk.answer().decode()


def test_parameters_reach_the_driver(desk: smtp.Desk) -> None:
    say(
        desk,
        "MAIL FROM:<zoë@example.net> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb "
        "AUTH=e+3Df@g.example\r\n"
        "RCPT TO:<bob@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@example.org\r\n"
        "RCPT TO:<eve@example.org> NOTIFY=NEVER ORCPT=utf-8;zo\\x{EB}@example.org\r\n".encode(),
    )
    mail, first, second = [event for event in desk.events if isinstance(event, Mail | Rcpt)]
    assert isinstance(mail, Mail)
    assert mail.sender == (
        Address("zoë", "example.net"), 7, BodyType.EIGHT_BIT_MIME, True, Return.FULL, "a+b", "e=f@g.example"
    )  # fmt: skip
    assert isinstance(first, Rcpt)
    assert first.recipient.notify == Notify.SUCCESS | Notify.DELAY
    assert first.recipient.orcpt == "rfc822;b+c@example.org"
    assert isinstance(second, Rcpt)
    assert (second.recipient.notify, second.recipient.orcpt) == (Notify.NEVER, "utf-8;zoë@example.org")


def test_a_letter_that_came_together_is_one_chunk(desk: smtp.Desk) -> None:
    say(desk, b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
    say(desk, b"Subject: x\r\n\r\n" + b"line\r\n" * 100 + b".\r\n")
    assert [type(event) for event in desk.events[-3:]] == [Data, Chunk, EndOfData]


def test_replies_of_one_turn_leave_together(desk: smtp.Desk) -> None:
    desk.session.receive(b"NOOP\r\nNOOP\r\nNOOP\r\n")
    assert desk.session.next_event() is None
    assert desk.session.take_output().count(b"\r\n") == 3
    assert desk.session.take_output() == b""


def test_nothing_happens_while_an_answer_is_outstanding() -> None:
    session = ServerSession(Capabilities("mx.example.org"))
    session.receive(b"EHLO client.example\r\n")
    assert isinstance(session.next_event(), Connected)
    assert session.next_event() is None
    assert session.take_output() == b""
    session.answer(Reply(220, "", "hello"))
    assert session.take_output() == b"220 hello\r\n"


def test_plain_text_behind_starttls_is_forgotten(desk: smtp.Desk) -> None:
    # given
    assert say(desk, b"STARTTLS\r\nMAIL FROM:<eve@example.net>\r\n") == "220 2.0.0 Ready to start TLS\r\n"
    desk.session.receive(b"RCPT TO:<bob@example.org>\r\n")
    # when
    desk.session.tls_started("TLSv1.3 TLS_AES_256_GCM_SHA384")
    # then
    assert desk.answer() == b""
    assert say(desk, b"MAIL FROM:<alice@example.net>\r\n").startswith("503")
    assert "STARTTLS" not in say(desk, b"EHLO client.example\r\n")
    assert say(desk, b"STARTTLS\r\n").startswith("503")
    assert not any(isinstance(event, Mail) for event in desk.events)


def test_protocol_names_are_those_of_rfc_3848(desk: smtp.Desk) -> None:
    session = desk.session
    assert session.protocol == "ESMTP"
    say(desk, b"STARTTLS\r\n")
    session.tls_started("TLSv1.3 X")
    say(desk, b"EHLO client.example\r\n")
    assert session.protocol == "ESMTPS"
    say(desk, b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    assert session.protocol == "ESMTPSA"
    say(desk, b"MAIL FROM:<> SMTPUTF8\r\n")
    assert session.protocol == "UTF8SMTPSA"
    say(desk, b"HELO client.example\r\n")
    assert session.protocol == "SMTP"


def test_secrets_do_not_show_in_events(desk: smtp.Desk) -> None:
    say(desk, b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    (auth,) = [event for event in desk.events if isinstance(event, Auth)]
    assert isinstance(auth.shown, Credentials)
    assert auth.shown.password == "secret"
    assert "secret" not in repr(auth)
    assert "alice" in repr(auth)


def test_commands_too_early_in_the_pipeline_are_noticed() -> None:
    def decided_at(octets: bytes, kind: type) -> bool:
        desk = smtp.open_desk(frozenset())
        session = desk.session
        session.receive(octets)
        while (event := session.next_event()) is not None:
            if isinstance(event, kind):
                return session.pipelined_too_soon
            session.answer(None)
        raise AssertionError(kind)

    envelope = b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    assert not decided_at(b"EHLO c.example\r\n" + envelope, Mail)
    assert not decided_at(b"EHLO c.example\r\n" + envelope, Data)
    assert decided_at(b"EHLO c.example\r\n" + envelope + b"Subject: impatient\r\n", Data)
    assert decided_at(b"HELO c.example\r\n" + envelope, Mail)


def test_a_refused_bdat_ends_the_transaction(desk: smtp.Desk) -> None:
    # given
    session = desk.session
    say(desk, b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
    session.receive(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n")
    # when
    assert session.next_event() == Data(chunked=True)
    session.answer(RELAY_DENIED)
    # then
    assert session.next_event() == Reset(RELAY_DENIED)
    assert desk.answer().decode().split("\r\n")[:2] == [
        "554 5.7.1 Relay access denied",
        "503 5.5.1 Say MAIL first",
    ]


@pytest.mark.parametrize("opening", [b"DATA\r\n", b"BDAT 60000000 LAST\r\n"])
def test_a_letter_beyond_the_limit_is_swallowed_not_kept(desk: smtp.Desk, opening: bytes) -> None:
    # given
    say(desk, b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n" + opening)
    piece = b"x" * 998 + b"\r\n"
    # when
    tracemalloc.start()
    for _ in range(60_000 if opening[:1] == b"B" else 20_000):
        desk.session.receive(piece)
        desk.answer()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if opening == b"DATA\r\n":
        desk.session.receive(b".\r\n")
    # then
    desk.answer()
    assert isinstance(desk.events[-1], Reset)
    assert desk.events[-1].reply is not None
    assert desk.events[-1].reply.code == 552
    assert peak < 1_000_000
    assert say(desk, b"MAIL FROM:<>\r\n").startswith("250")


def test_shutting_down_waits_for_the_transaction(desk: smtp.Desk) -> None:
    # given
    say(desk, b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
    # when
    desk.session.shut_down()
    # then
    assert desk.answer() == b""
    assert say(desk, b".\r\n").split("\r\n")[:2] == ["250 2.0.0 Ok: queued as id1", str(SHUTTING_DOWN)]
    assert desk.session.closing


def test_shutting_down_an_idle_session_is_immediate(desk: smtp.Desk) -> None:
    desk.session.shut_down()
    assert desk.answer().startswith(b"421 4.3.2")
    assert desk.session.closing


def test_silence_is_answered_with_421(desk: smtp.Desk) -> None:
    assert desk.session.timeout == 300
    desk.session.time_out()
    assert desk.answer().startswith(b"421 4.4.2")
    assert desk.session.closing


def test_what_came_before_the_end_of_input_is_obeyed(desk: smtp.Desk) -> None:
    desk.session.receive(b"NOOP\r\nNOO")
    desk.session.receive_eof()
    assert desk.answer() == b"250 2.0.0 Ok\r\n"
    assert desk.session.closing


def test_after_quit_nothing_is_obeyed(desk: smtp.Desk) -> None:
    assert say(desk, b"QUIT\r\nNOOP\r\n") == "221 2.0.0 Bye\r\n"
    assert isinstance(desk.events[-1], Quit)


def test_any_421_closes(desk: smtp.Desk) -> None:
    session = desk.session
    session.receive(b"MAIL FROM:<>\r\nNOOP\r\n")
    assert isinstance(session.next_event(), Mail)
    session.answer(Reply(421, "4.7.0", "Enough"))
    assert desk.answer() == b"421 4.7.0 Enough\r\n"
    assert session.closing


def test_a_letter_without_a_decision_is_not_accepted(desk: smtp.Desk) -> None:
    session = desk.session
    say(desk, b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
    session.receive(b"DATA\r\n.\r\n")
    assert isinstance(session.next_event(), Data)
    session.answer(None)
    assert isinstance(session.next_event(), EndOfData)
    session.answer(None)
    assert session.take_output().split(b"\r\n")[1].startswith(b"451 ")


def test_an_accepted_letter_forgives_errors() -> None:
    desk = smtp.open_desk(frozenset({"limits"}))
    letter = b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n.\r\n"
    output = say(desk, b"EHLO c.example\r\n" + (b"XYZZY\r\n" * 3 + letter) * 5)
    assert output.count(queued_as("id")[2][:12]) == 5
    assert not desk.session.closing


@pytest.mark.parametrize(
    ("reply", "closes"),
    [(Reply(451, "4.3.0", "Storage is out of reach"), False), (Reply(450, "4.2.0", "Not now"), True)],
)
def test_trouble_of_ours_is_no_error_of_the_client(desk: smtp.Desk, reply: Reply, closes: bool) -> None:
    session = desk.session
    for _ in range(150):
        session.receive(b"MAIL FROM:<>\r\n")
        if session.next_event() is None:
            break
        session.answer(reply)
    assert session.closing is closes
