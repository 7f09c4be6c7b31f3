"""A letter is written on the IMAP server, and submitted there without coming to the client (RFC 4468)."""

from __future__ import annotations

import email
import imaplib
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import HOSTNAME, PASSWORD, ServeProcess, until

REPORT = "\r\n".join(["0123456789abcdef" * 4] * 4000) + "\r\n"
"""More than is kept in a row: it lies among the blobs."""
ALICE = "alice@north.test"
BOB = "bob@north.test"
SERVER = f"imap://alice%40north.test@{HOSTNAME}"
HEAD = (
    f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: forwarded\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee below\r\n--b\r\n"
    "Content-Type: message/rfc822\r\n\r\n"
)
TAIL = "\r\n--b--\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path / "s", {"listen": {"submission": ["127.0.0.1:0"]}}) as server:
        yield server


def text(octets: str) -> str:
    return f"TEXT {{{len(octets)}+}}\r\n{octets}"


def validity(imap: imaplib.IMAP4, mailbox: str) -> str:
    said = imap.status(mailbox, "(UIDVALIDITY)")[1][0]
    return said.decode().split()[-1].rstrip(")")


def signed_draft(server: ServeProcess) -> str:
    """Alice puts what she got into a letter in Sent, and signs its URL for submission."""
    with server.imap() as imap:
        imap.append("INBOX", "", "", f"Subject: report\r\n\r\n{REPORT}".encode())
        original = f"/INBOX;UIDVALIDITY={validity(imap, 'INBOX')}/;UID=1"
        parts = f'CATENATE ({text(HEAD)} URL "{original}" {text(TAIL)})'
        assert imap.xatom("APPEND", "Sent", "(\\Seen)", parts)[0] == "OK"
        sent = f"{SERVER}/Sent;UIDVALIDITY={validity(imap, 'Sent')}/;UID=1;URLAUTH=submit+alice%40north.test"
        assert imap.xatom("GENURLAUTH", f'"{sent}"', "INTERNAL")[0] == "OK"
        return imap.untagged_responses["GENURLAUTH"][0].decode().strip('"')


def submission(server: ServeProcess, user: str) -> smtplib.SMTP:
    client = server.smtp("submission")
    client.starttls()
    client.login(user, PASSWORD)
    client.ehlo()
    return client


def test_a_letter_goes_from_sent_to_its_recipient_once(server: ServeProcess) -> None:
    # given
    url = signed_draft(server)
    with submission(server, ALICE) as client:
        assert client.esmtp_features["burl"] == f"imap imap://{HOSTNAME}"
        # when
        client.mail(ALICE)
        client.rcpt(BOB)
        code, said = client.docmd(f"BURL {url} LAST")
        # then
        assert (code, said[:5]) == (250, b"2.0.0"), said
    with server.imap("bob") as imap:
        until(lambda: imap.select("INBOX")[1] != [b"0"], what="the letter")
        assert imap.select("INBOX")[1] == [b"1"]
        letter = email.message_from_bytes(imap.fetch("1", "(RFC822)")[1][0][1])
    assert letter["Subject"] == "forwarded"
    assert letter["Message-ID"]
    assert letter["Date"]
    [said, forwarded] = letter.get_payload()
    assert said.get_payload() == "see below"
    assert forwarded.get_payload()[0].get_payload().replace("\r\n", "\n") == REPORT.replace("\r\n", "\n")
    # nobody can find the key in what is kept of it
    token = url.rpartition(":")[2]
    assert token not in server.log + server.run("journey", ALICE).stdout


def test_a_url_that_is_not_for_him_brings_a_user_nothing(server: ServeProcess) -> None:
    url = signed_draft(server)
    with submission(server, BOB) as client:
        for tried, expected in (
            (url, (554, b"5.7.0")),
            (re.sub(";URLAUTH=.*", "", url), (554, b"5.7.0")),
            (url.replace("UID=1", "UID=2"), (554, b"5.7.0")),
            (url.replace(HOSTNAME, "other.test"), (554, b"5.7.14")),
            (f"imap://bob%40north.test@{HOSTNAME}/INBOX/;UID=1", (554, b"5.6.6")),
        ):
            client.mail(BOB)
            client.rcpt(BOB)
            code, said = client.docmd(f"BURL {tried} LAST")
            assert (code, said.split()[0]) == expected, tried
        # the session goes on, and a letter with a piece of his own arrives
        client.sendmail(BOB, [BOB], "Subject: own\r\n\r\nline\r\n")
        with server.imap("bob") as imap:
            until(lambda: imap.select("INBOX")[1] != [b"0"], what="the letter")
            assert imap.select("INBOX")[1] == [b"1"]
        client.mail(BOB)
        client.rcpt(BOB)
        client.send(b"BDAT 18\r\nSubject: again\r\n\r\n")
        assert client.getreply()[0] == 250
        assert client.docmd(f"BURL imap://{HOSTNAME}/INBOX/;UID=1/;SECTION=TEXT LAST")[0] == 250
        with server.imap("bob") as imap:
            until(lambda: imap.select("INBOX")[1] != [b"1"], what="the second letter")
            body = imap.fetch("2", "(RFC822.TEXT)")[1][0][1]
    assert body == b"line\r\n"


def test_strangers_are_not_told_of_it(server: ServeProcess) -> None:
    with server.smtp() as client:
        client.ehlo()
        assert "burl" not in client.esmtp_features
        client.mail(ALICE)
        client.rcpt(BOB)
        assert client.docmd(f"BURL {SERVER}/INBOX/;UID=1 LAST")[0] == 502
