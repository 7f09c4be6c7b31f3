"""smtplib, imaplib and poplib of Python, with STARTTLS or TLS from the start."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import ssl
from email.message import EmailMessage

import pytest

from tests.clients.person import Person
from tests.servers import ServeProcess, until


def compose(sender: Person, *recipients: Person, subject: str = "by smtplib") -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = sender.address
    letter["To"] = ", ".join(recipient.address for recipient in recipients)
    letter["Subject"] = subject
    letter.set_content("Grüße.\n.\n..\n")
    letter.add_attachment(
        bytes(range(256)) * 100, maintype="application", subtype="octet-stream", filename="ü.bin"
    )
    return letter


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_a_letter_with_an_attachment_arrives(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person, bob: Person, listener: str
) -> None:
    _, port = server.address(listener)
    if listener == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port, context=trusting, timeout=30)
    else:
        client = smtplib.SMTP("localhost", port, timeout=30)
    with client:
        if listener == "submission":
            client.starttls(context=trusting)
        client.login(alice.address, alice.password)

        assert client.send_message(compose(alice, alice, bob)) == {}

    for reader in alice, bob:
        (got,) = reader.letters()
        text, attachment = got.iter_parts()
        assert text.get_content() == "Grüße.\n.\n..\n"
        assert attachment.get_filename() == "ü.bin"
        assert attachment.get_content() == bytes(range(256)) * 100


def test_a_large_letter_comes_back_octet_for_octet_by_imap_and_pop3(
    server: ServeProcess, alice: Person, bob: Person
) -> None:
    line = b"0123456789abcdef" * 4 + b"\r\n"
    letter = b"From: carol@south.test\r\nSubject: large\r\n\r\n" + line * 40_000
    with server.smtp() as client:
        client.sendmail("carol@south.test", [alice.address, bob.address], letter)

    assert [octets[-len(letter) :] for octets in alice.raw()] == [letter]
    reader = poplib.POP3(*server.address("pop3"), timeout=30)
    reader.user(bob.address)
    reader.pass_(bob.password)
    lines = reader.retr(1)[1]
    reader.quit()
    assert b"\r\n".join([*lines, b""])[-len(letter) :] == letter
    with alice.imap() as session:
        _, found = session.fetch("1", "(BODY.PEEK[TEXT]<1000000.132>)")
    assert found[0][1] == (line * 3)[1_000_000 % 66 :][:132]  # type: ignore[index]


def test_one_refused_recipient_does_not_hold_up_the_others(server: ServeProcess, alice: Person) -> None:
    with server.smtp() as client:
        refused = client.sendmail(
            "carol@south.test", ["nobody@north.test", alice.address], b"Subject: mixed\r\n\r\nHello.\r\n"
        )

    assert refused["nobody@north.test"][0] == 550
    assert alice.subjects() == ["mixed"]


def test_a_session_sends_many_letters_and_goes_on_after_a_refusal(
    server: ServeProcess, alice: Person
) -> None:
    with server.smtp() as client:
        client.sendmail("carol@south.test", [alice.address], b"Subject: 1\r\n\r\n1\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("carol@south.test", ["dave@west.test"], b"Subject: 2\r\n\r\n2\r\n")
        client.sendmail("carol@south.test", [alice.address], b"Subject: 3\r\n\r\n3\r\n")
        assert client.noop()[0] == 250

    assert alice.subjects() == ["1", "3"]


def test_an_address_in_utf8_is_kept(server: ServeProcess, alice: Person) -> None:
    letter = EmailMessage()
    letter["From"] = "jörg@süd.test"
    letter["To"] = alice.address
    letter["Subject"] = "SMTPUTF8"
    letter.set_content("Hello.")

    with server.smtp() as client:
        client.send_message(letter)

    (got,) = alice.letters()
    assert got["Return-Path"] == "<jörg@süd.test>"
    assert "UTF8SMTP" in got["Received"]


def test_imap_over_tls_works_on_folders_flags_and_messages(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person
) -> None:
    alice.given(["one", "two", "three"])

    _, port = server.address("imaps")
    with imaplib.IMAP4_SSL("localhost", port, ssl_context=trusting, timeout=30) as client:
        client.login(alice.address, alice.password)
        assert client.create('"Ablage/Rechnungen"')[0] == "OK"
        assert client.select()[1] == [b"3"]
        assert client.store("2", "+FLAGS", r"(\Flagged $Label1)")[0] == "OK"
        assert client.search(None, "KEYWORD", "$Label1")[1] == [b"2"]
        assert client.copy("1:2", '"Ablage/Rechnungen"')[0] == "OK"
        assert client.store("1", "+FLAGS", r"\Deleted")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.uid("SEARCH", "ALL")[1] == [b"2 3"]

    assert alice.subjects() == ["two", "three"]
    assert alice.subjects("Ablage/Rechnungen") == ["one", "two"]
    assert alice.flags("Ablage/Rechnungen")[1] == {"\\Flagged", "$Label1"}


def test_imap_with_starttls_offers_login_and_more_afterwards(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person
) -> None:
    _, port = server.address("imap")
    with imaplib.IMAP4("localhost", port, timeout=30) as client:
        assert client.starttls(ssl_context=trusting)[0] == "OK"
        assert "STARTTLS" not in client.capabilities
        credentials = f"\0{alice.address}\0{alice.password}".encode()
        assert client.authenticate("PLAIN", lambda _: credentials)[0] == "OK"
        assert {"IDLE", "UIDPLUS", "MOVE"} <= set(client.capabilities)


def test_idle_tells_of_a_letter_while_it_arrives(server: ServeProcess, alice: Person) -> None:
    with alice.imap() as watching:
        watching.send(b"i IDLE\r\n")
        assert watching.readline().startswith(b"+")

        with server.smtp() as client:
            client.sendmail("carol@south.test", [alice.address], b"Subject: now\r\n\r\nHello.\r\n")

        until(lambda: watching.readline() == b"* 1 EXISTS\r\n", what="EXISTS")
        watching.send(b"DONE\r\n")
        until(lambda: watching.readline().startswith(b"i OK"), what="the end of IDLE")


@pytest.mark.parametrize("listener", ["pop3", "pop3s"])
def test_pop3_reads_and_deletes(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person, listener: str
) -> None:
    alice.given(["one", "two", "three"])
    _, port = server.address(listener)
    if listener == "pop3s":
        client: poplib.POP3 = poplib.POP3_SSL("localhost", port, context=trusting, timeout=30)
    else:
        client = poplib.POP3("localhost", port, timeout=30)
        client.stls(context=trusting)
    client.user(alice.address)
    client.pass_(alice.password)

    count, octets = client.stat()
    assert (count, octets) == (3, sum(map(len, alice.raw())))
    assert len({line.split()[1] for line in client.uidl()[1]}) == 3
    assert b"\r\n".join(client.retr(2)[1]) + b"\r\n" == alice.raw()[1]
    client.dele(2)
    client.quit()

    assert alice.subjects() == ["one", "three"]


def test_pop3_forgets_deletions_without_quit(server: ServeProcess, alice: Person) -> None:
    alice.given(["one"])
    client = poplib.POP3(*server.address("pop3"), timeout=30)
    client.user(alice.address)
    client.pass_(alice.password)

    client.dele(1)
    client.close()

    assert alice.subjects() == ["one"]


def test_a_message_appended_by_imap_keeps_its_date_and_flags(alice: Person) -> None:
    with alice.imap() as client:
        client.append("Sent", r"(\Seen)", '"14-Mar-2026 15:09:26 +0100"', b"Subject: x\r\n\r\nx\r\n")  # type: ignore[arg-type]
        client.select("Sent")

        _, found = client.fetch("1", "(FLAGS INTERNALDATE)")

    assert b"\\Seen" in found[0]  # type: ignore[operator]
    assert (
        imaplib.Internaldate2tuple(found[0])[:6]
        == imaplib.Internaldate2tuple(  # type: ignore[arg-type,index]
            b'1 (INTERNALDATE "14-Mar-2026 14:09:26 +0000")'
        )[:6]
    )  # type: ignore[index]
