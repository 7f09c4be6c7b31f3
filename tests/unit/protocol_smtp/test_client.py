"""The client's session against scripted servers, and joined to our own server with no socket between."""

from __future__ import annotations

import pytest

from posthouse.mail.address import Address
from posthouse.mail.content import CHUNK
from posthouse.mail.envelope import BodyType, Notify, Recipient, Return, Sender
from posthouse.mail.reply import Reply
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.client import ClientSession, Lost, Ready, WantsContent
from posthouse.protocol.smtp.events import Mail, Rcpt
from posthouse.protocol.smtp.outgoing import INLINE_CHUNK, Finished, Transaction
from tests.transcripts import smtp

ALICE = Sender(Address("alice", "example.net"))
BOB = Recipient(Address("bob", "example.org"))
EVE = Recipient(Address("eve", "example.org"))
TEXT = b"Subject: x\r\n\r\n.hidden dot\r\n"


def still() -> float:
    return 0.0


def to(
    *recipients: Recipient, text: bytes | None = TEXT, sender: Sender = ALICE, **more: object
) -> Transaction:
    return Transaction(sender, recipients, len(text or b""), text, **more)  # type: ignore[arg-type]


def introduced(*extensions: str, **options: object) -> ClientSession:
    session = ClientSession("client.example", still, **options)  # type: ignore[arg-type]
    session.receive(b"220 mx\r\n")
    assert session.take_output() == b"EHLO client.example\r\n"
    lines = ["mx.example.org", *extensions]
    session.receive(Reply(250, "", "\n".join(lines)).encode())
    return session


def ready(*extensions: str, **options: object) -> ClientSession:
    session = introduced(*extensions, **options)
    assert session.next_event() == Ready()
    assert session.take_output() == b""
    session.take_dialogue()
    return session


def converse(session: ClientSession, *turns: tuple[str, str]) -> None:
    """Each turn: what the client must say now, and what it is answered; both without the last CRLF."""
    for said, answer in turns:
        assert session.take_output().decode() == said.replace("\n", "\r\n") + "\r\n"
        session.receive(answer.replace("\n", "\r\n").encode() + b"\r\n")


def result(session: ClientSession) -> Finished:
    event = session.next_event()
    assert isinstance(event, Finished)
    return event


# ── introductions ────────────────────────────────────────────────────────────────────────────────────


def test_helo_where_ehlo_is_unknown() -> None:
    session = ClientSession("client.example", still)
    session.receive(b"220 old.example\r\n")
    converse(session, ("EHLO client.example", "500 what?"), ("HELO client.example", "250 old.example"))
    assert session.next_event() == Ready()
    assert session.extensions == {}


def test_lmtp_says_lhlo_and_never_helo() -> None:
    session = ClientSession("client.example", still, lmtp=True)
    session.receive(b"220 mx\r\n")
    converse(session, ("LHLO client.example", "500 what?"))
    assert session.next_event() == Lost(Reply(500, "", "what?"), "hello")


@pytest.mark.parametrize(
    ("answers", "phase"),
    [
        (["554 go away"], "greeting"),
        (["450 4.7.1 later"], "greeting"),
        (["220 hi", "421 4.3.2 closing"], "hello"),
        (["220 hi", "450 later"], "hello"),
        (["220 hi", "550 no", "550 5.7.1 no"], "hello"),
    ],
)
def test_a_server_that_does_not_let_us_in(answers: list[str], phase: str) -> None:
    session = ClientSession("client.example", still)
    for answer in answers:
        session.receive(answer.encode() + b"\r\n")
    lost = session.next_event()
    assert isinstance(lost, Lost)
    assert (str(lost.reply), lost.phase) == (answers[-1], phase)
    assert session.closing


def test_starttls_and_a_new_ehlo() -> None:
    session = introduced("STARTTLS", "AUTH PLAIN")
    converse(session, ("STARTTLS", "220 go ahead"))
    assert session.wants_tls
    session.tls_started("TLSv1.3 X")
    converse(session, ("EHLO client.example", "250-mx\n250 SIZE"))
    assert session.next_event() == Ready()
    assert session.extensions == {"SIZE": ""}


def test_plain_text_behind_the_reply_to_starttls_ends_the_session() -> None:
    session = introduced("STARTTLS")
    session.receive(b"220 go ahead\r\n250 injected\r\n")
    lost = session.next_event()
    assert isinstance(lost, Lost)
    assert lost.reply.transient
    assert not session.wants_tls


def test_a_refused_starttls_is_overlooked_where_tls_may_be() -> None:
    session = introduced("STARTTLS")
    converse(session, ("STARTTLS", "454 4.7.0 not now"))
    assert session.next_event() == Ready()


@pytest.mark.parametrize("level", ["encrypt", "secure"])
def test_no_tls_no_mail_where_tls_must_be(level: str) -> None:
    refused = introduced("STARTTLS", level=level)
    converse(refused, ("STARTTLS", "454 4.7.0 not now"))
    assert refused.next_event() == Lost(Reply(454, "4.7.0", "not now"), "starttls")
    lost = introduced("SIZE", level=level).next_event()
    assert isinstance(lost, Lost)
    assert lost.reply.enhanced == "4.7.4"


def test_authentication_is_recorded_without_its_secrets() -> None:
    session = introduced("AUTH LOGIN PLAIN", level="none", credentials=Credentials("alice", "secret"))
    converse(session, ("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235 2.7.0 welcome"))
    assert session.next_event() == Ready()
    assert session.authenticated
    said = [line.text for line in session.take_dialogue() if line.direction == "C"]
    assert said == ["EHLO client.example", "AUTH PLAIN [secret]"]


def test_login_where_plain_is_not_offered() -> None:
    session = introduced("AUTH=LOGIN", level="none", credentials=Credentials("alice", "secret"))
    converse(
        session,
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        ("YWxpY2U=", "334 UGFzc3dvcmQ6"),
        ("c2VjcmV0", "535 5.7.8 no"),
    )
    assert session.next_event() == Lost(Reply(535, "5.7.8", "no"), "auth")
    assert not any("c2VjcmV0" in line.text for line in session.take_dialogue())


def test_no_password_goes_in_clear_where_tls_was_wanted() -> None:
    session = introduced("AUTH PLAIN", level="may", credentials=Credentials("alice", "secret"))
    assert session.take_output() == b""
    assert isinstance(session.next_event(), Lost)


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────


def test_without_pipelining_each_command_waits() -> None:
    session = ready()
    session.send(to(BOB, EVE))
    converse(
        session,
        ("MAIL FROM:<alice@example.net>", "250 ok"),
        ("RCPT TO:<bob@example.org>", "250 ok"),
        ("RCPT TO:<eve@example.org>", "452 4.5.3 too many"),
        ("DATA", "354 go"),
        ("Subject: x\n\n..hidden dot\n.", "250 2.0.0 taken"),
    )
    assert result(session).replies == (Reply(250, "2.0.0", "taken"), Reply(452, "4.5.3", "too many"))
    assert session.idle


def test_with_pipelining_the_envelope_is_one_group() -> None:
    session = ready("PIPELINING", "SIZE 1000")
    session.send(to(BOB, EVE))
    converse(
        session,
        (
            f"MAIL FROM:<alice@example.net> SIZE={len(TEXT)}\n"
            "RCPT TO:<bob@example.org>\nRCPT TO:<eve@example.org>\nDATA",
            "250 ok\n550 5.1.1 no bob\n250 ok\n354 go",
        ),
        ("Subject: x\n\n..hidden dot\n.", "451 4.3.0 later"),
    )
    assert [reply.code for reply in result(session).replies] == [550, 451]


def test_a_small_letter_goes_in_one_round_trip_by_bdat() -> None:
    session = ready("PIPELINING", "CHUNKING")
    session.send(to(BOB))
    converse(
        session,
        (
            f"MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\nBDAT {len(TEXT)} LAST\n"
            "Subject: x\n\n.hidden dot",
            "250 ok\n250 ok\n250 2.0.0 taken",
        ),
    )
    assert result(session).replies == (Reply(250, "2.0.0", "taken"),)
    assert [line.text for line in session.take_dialogue() if line.direction == "C"][-2:] == [
        f"BDAT {len(TEXT)} LAST",
        f"[{len(TEXT)} octets]",
    ]


def test_a_large_letter_waits_for_its_recipients_before_bdat() -> None:
    session = ready("PIPELINING", "CHUNKING")
    text = b"x" * INLINE_CHUNK + b"\r\n"
    session.send(to(BOB, EVE, text=text))
    converse(
        session,
        (
            "MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\nRCPT TO:<eve@example.org>",
            "250 ok\n550 no\n550 no",
        ),
    )
    assert [reply.code for reply in result(session).replies] == [550, 550]
    assert session.take_output() == b""


def test_content_piece_by_piece() -> None:
    session = ready("PIPELINING", "CHUNKING")
    session.send(to(BOB, text=None))
    converse(
        session,
        ("MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\nDATA", "250 ok\n250 ok\n354 go"),
    )
    assert session.next_event() == WantsContent()
    assert session.timeout == 180
    for piece in (b"one\r", b"\n", b".", b"two"):
        session.write(piece)
    session.finish()
    converse(session, ("one\n..two\n.", "250 2.0.0 taken"))
    assert result(session).replies[0].positive


def test_nobody_left_means_nothing_sent() -> None:
    session = ready("PIPELINING")
    session.send(to(BOB))
    converse(
        session,
        ("MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\nDATA", "250 ok\n550 no\n354 go"),
        (".", "554 no valid recipients"),
    )
    assert result(session).replies == (Reply(550, "", "no"),)
    session.send(to(BOB))
    assert session.take_output().startswith(b"MAIL")


def test_a_broken_off_transaction_is_reset_before_the_next() -> None:
    session = ready("PIPELINING")
    session.send(to(BOB))
    converse(
        session,
        (
            "MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\nDATA",
            "250 ok\n250 ok\n451 4.3.0 not now",
        ),
    )
    assert result(session).replies == (Reply(451, "4.3.0", "not now"),)
    session.send(to(EVE))
    converse(
        session,
        (
            "RSET\nMAIL FROM:<alice@example.net>\nRCPT TO:<eve@example.org>\nDATA",
            "250 ok\n550 5.1.8 not you\n503 ?\n503 ?",
        ),
    )
    assert result(session).replies == (Reply(550, "5.1.8", "not you"),)


def test_lmtp_answers_for_each_recipient() -> None:
    session = ClientSession("client.example", still, lmtp=True)
    session.receive(b"220 mx\r\n")
    converse(session, ("LHLO client.example", "250-mx\n250-CHUNKING\n250 PIPELINING"))
    session.next_event()
    session.send(to(BOB, EVE, BOB))
    converse(
        session,
        (
            "MAIL FROM:<alice@example.net>\nRCPT TO:<bob@example.org>\n"
            "RCPT TO:<eve@example.org>\nRCPT TO:<bob@example.org>",
            "250 ok\n250 ok\n550 no\n250 ok",
        ),
        ("DATA", "354 go"),
        ("Subject: x\n\n..hidden dot\n.", "250 one\n452 4.2.2 full"),
    )
    assert [reply.code for reply in result(session).replies] == [250, 550, 452]


def test_parameters_go_where_they_are_understood() -> None:
    sender = Sender(
        Address("zoë", "bücher.example"),
        body=BodyType.EIGHT_BIT_MIME,
        ret=Return.HEADERS,
        envid="a+b",
        auth="<>",
    )
    recipient = Recipient(
        Address("bob", "example.org"), Notify.SUCCESS | Notify.DELAY, "rfc822;b+c@example.org"
    )
    plain = to(recipient, sender=sender._replace(address=Address("alice", "bücher.example")))
    session = ready("PIPELINING")
    session.send(plain)
    assert session.take_output() == (
        b"MAIL FROM:<alice@xn--bcher-kva.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )
    session = ready("PIPELINING", "DSN", "8BITMIME", "SMTPUTF8", "AUTH PLAIN")
    session.authenticated = True
    session.send(to(recipient, sender=sender, internationalized=True))
    assert session.take_output().decode() == (
        "MAIL FROM:<zoë@bücher.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>\r\n"
        "RCPT TO:<bob@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@example.org\r\nDATA\r\n"
    )


def test_what_the_server_cannot_take_is_not_sent() -> None:
    session = ready("SIZE 10")
    session.send(to(BOB))
    assert result(session).replies[0].enhanced == "5.3.4"
    session.send(to(BOB, text=b"x", internationalized=True))
    assert result(session).replies[0].enhanced == "5.6.7"
    assert session.take_output() == b""
    assert session.idle


def test_an_attempt_that_is_no_longer_ours_ends_before_the_final_dot() -> None:
    for extensions in (("PIPELINING",), ("PIPELINING", "CHUNKING"), ()):
        session = ready(*extensions)
        session.send(to(BOB, may_finish=lambda: False))
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            session.take_output()
            session.receive(answer)
        finished = result(session)
        assert finished.replies[0].transient
        assert not finished.in_doubt
        assert session.closing
        assert b".\r\n" not in session.take_output()


# ── accidents ────────────────────────────────────────────────────────────────────────────────────────

ENVELOPE = ["250 ok", "250 ok", "250 ok", "354 go"]


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
@pytest.mark.parametrize("replies", range(5))
@pytest.mark.parametrize("accident", ["lost", "silence", "421", "nonsense", "odd code"])
def test_every_recipient_gets_a_reply_whatever_happens(
    extensions: tuple[str, ...], replies: int, accident: str
) -> None:
    # given: so many replies have come
    session = ready(*extensions)
    session.send(to(BOB, EVE))
    for reply in ENVELOPE[:replies]:
        session.receive(reply.encode() + b"\r\n")
    # when
    {
        "lost": session.connection_lost,
        "silence": session.time_out,
        "421": lambda: session.receive(b"421 4.3.2 going down\r\n"),
        "nonsense": lambda: session.receive(b"\0\0\0\r\n"),
        "odd code": lambda: session.receive(b"399 what\r\n" * 9),
    }[accident]()
    # then
    finished = result(session)
    assert len(finished.replies) == 2
    assert all(reply.transient for reply in finished.replies)
    assert finished.in_doubt == (replies == 4 and accident in ("lost", "silence"))


def test_a_yes_to_data_is_not_taken_for_delivery() -> None:
    session = ready("PIPELINING")
    session.send(to(BOB))
    session.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    assert result(session).replies[0].transient
    assert session.closing


def test_an_idle_session_that_the_server_closes_is_not_used() -> None:
    session = ready()
    session.receive(b"421 4.4.2 idle too long\r\n")
    assert session.closing
    assert not session.idle
    assert session.next_event() is None


def test_a_session_that_was_lost_before_its_letter_began_gives_the_reason_to_every_recipient() -> None:
    # The nonsense came with the last answer of the introductions, before anybody could send.
    session = ready()
    session.receive(b"no reply\r\n")
    session.send(to(BOB, EVE))
    finished = result(session)
    assert [reply.code for reply in finished.replies] == [451, 451]
    assert "no reply" in finished.replies[0].text
    assert not finished.in_doubt
    assert session.take_output() == b""


def test_quit() -> None:
    session = ready()
    session.quit()
    assert session.timeout == 5
    converse(session, ("QUIT", "221 bye"))
    assert session.closing
    assert session.next_event() is None


def test_timeouts_are_those_of_rfc_5321() -> None:
    session = ClientSession("client.example", still)
    assert session.timeout == 300
    session = ready()
    assert session.timeout == float("inf")
    session.send(to(BOB, text=None))
    seen = [session.timeout]
    for answer in (b"250 ok\r\n", b"250 ok\r\n"):
        session.receive(answer)
        seen.append(session.timeout)
    session.receive(b"354 go\r\n")
    seen.append(session.timeout)
    session.finish()
    seen.append(session.timeout)
    assert seen == [300, 300, 120, 180, 600]


# ── joined to our own server ─────────────────────────────────────────────────────────────────────────


def join(session: ClientSession, desk: smtp.Desk, cut: int = 1 << 20) -> None:
    """Carry octets to and fro until both are silent."""
    while True:
        output = desk.answer()
        for start in range(0, len(output), cut):
            session.receive(output[start : start + cut])
        said = session.take_output()
        for start in range(0, len(said), cut):
            desk.session.receive(said[start : start + cut])
        if desk.session.wants_tls and session.wants_tls:
            desk.session.tls_started("TLSv1.3 X")
            session.tls_started("TLSv1.3 X")
        elif not said and not output:
            return


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("forget", [(), ("CHUNKING",), ("CHUNKING", "PIPELINING")])
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_client_and_server_understand_each_other(lmtp: bool, forget: tuple[str, ...], cut: int) -> None:
    # given
    options = {"starttls", "submission"} | ({"lmtp"} if lmtp else set())
    desk = smtp.open_desk(frozenset(options))
    session = ClientSession("client.example", still, lmtp=lmtp, credentials=Credentials("alice", "secret"))
    join(session, desk, cut)
    assert session.next_event() == Ready()
    assert session.authenticated
    for keyword in forget:
        del session.extensions[keyword]
    sender = ALICE._replace(envid="x y+z", ret=Return.FULL, body=BodyType.EIGHT_BIT_MIME)
    odd = Recipient(Address('od"d', "example.org"), Notify.NEVER, "utf-8;é@example.org")
    # when
    for _ in range(2):
        session.send(to(Recipient(Address("gone", "example.org")), odd, sender=sender))
        join(session, desk, cut)
        # then
        assert [reply.code for reply in result(session).replies] == [550, 250]
    assert desk.letters == [TEXT, TEXT]
    mails = [event.sender for event in desk.events if isinstance(event, Mail)]
    assert mails == [sender._replace(size=len(TEXT))] * 2
    assert [event.recipient for event in desk.events if isinstance(event, Rcpt)][1] == odd
    session.quit()
    join(session, desk, cut)
    assert session.closing
    assert desk.session.closing


def test_the_piece_size_of_content_is_no_larger_than_the_inline_chunk() -> None:
    assert CHUNK <= INLINE_CHUNK
