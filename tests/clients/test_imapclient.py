"""IMAPClient, a Python library with an interface of its own, which goes by CAPABILITY."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from tests.clients.person import Person
from tests.servers import PATIENCE, ServeProcess

DATE = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def letter(number: int, references: str = "") -> bytes:
    return (
        "From: =?utf-8?q?J=C3=BCrgen?= <jurgen@south.test>\r\n"
        "To: user@north.test\r\n"
        f"Subject: {'Re: ' if references else ''}=?utf-8?b?6amb56uZ?=\r\n"
        f"Date: Sat, 14 Mar 2026 15:09:{10 + number} +0000\r\n"
        f"Message-ID: <{number}@south.test>\r\n"
        + (f"References: {references}\r\n" if references else "")
        + f"\r\nLetter {number}.\r\n"
    ).encode()


@pytest.fixture
def client(server: ServeProcess, trusting: ssl.SSLContext, alice: Person) -> Iterator[IMAPClient]:
    _, port = server.address("imaps")
    with IMAPClient("localhost", port, ssl_context=trusting, timeout=PATIENCE) as opened:
        opened.login(alice.address, alice.password)
        yield opened


def test_starttls_comes_before_the_password(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person
) -> None:
    _, port = server.address("imap")
    with IMAPClient("localhost", port, ssl=False, timeout=PATIENCE) as client:
        client.starttls(trusting)
        with pytest.raises(LoginError):
            client.login(alice.address, "a wrong password")
        client.plain_login(alice.address, alice.password)
        assert client.select_folder("INBOX")[b"EXISTS"] == 0


def test_a_letter_is_read_with_all_that_belongs_to_it(client: IMAPClient) -> None:
    client.normalise_times = False
    client.append("INBOX", letter(1), (b"\\Seen", b"$Work"), DATE)

    client.select_folder("INBOX", readonly=True)
    (uid,) = client.search(["SUBJECT", "驛站"], charset="UTF-8")
    message = client.fetch(
        [uid], ["ENVELOPE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY[]", "BODYSTRUCTURE"]
    )[uid]

    envelope = message[b"ENVELOPE"]
    assert (envelope.message_id, envelope.from_[0].mailbox) == (b"<1@south.test>", b"jurgen")
    assert set(message[b"FLAGS"]) - {b"\\Recent"} == {b"\\Seen", b"$Work"}
    assert message[b"INTERNALDATE"] == DATE
    assert message[b"BODY[]"] == letter(1)
    assert message[b"RFC822.SIZE"] == len(letter(1))
    assert message[b"BODYSTRUCTURE"][:2] == (b"text", b"plain")


def test_folders_are_made_renamed_subscribed_and_removed(client: IMAPClient) -> None:
    client.create_folder("Entwürfe/驛站")
    client.rename_folder("Entwürfe/驛站", "Entwürfe/Neu & alt")
    client.subscribe_folder("Entwürfe/Neu & alt")

    names = {name for _, _, name in client.list_folders()}
    assert "Entwürfe/Neu & alt" in names
    assert "Entwürfe/驛站" not in names
    assert "Entwürfe/Neu & alt" in {name for _, _, name in client.list_sub_folders()}
    assert client.find_special_folder(b"\\Sent") == "Sent"
    assert client.namespace().personal[0] == ("", "/")

    client.delete_folder("Entwürfe/Neu & alt")
    assert not client.folder_exists("Entwürfe/Neu & alt")


def test_letters_are_sorted_threaded_moved_and_expunged(client: IMAPClient) -> None:
    for number, references in ((3, "<1@south.test>"), (1, ""), (2, "<1@south.test>")):
        client.append("INBOX", letter(number, references))
    client.select_folder("INBOX")

    assert client.sort("DATE") == [2, 3, 1]
    (thread,) = client.thread("REFERENCES")
    assert thread == (2, (3,), (1,))

    client.move([3], "Archive")
    client.delete_messages([1])
    client.uid_expunge([1])
    assert client.search() == [2]
    assert client.folder_status("Archive", ["MESSAGES"]) == {b"MESSAGES": 1}


def test_what_arrives_is_told_while_it_idles(client: IMAPClient, alice: Person) -> None:
    client.select_folder("INBOX")
    client.idle()

    alice.given(["news"])
    told = client.idle_check(timeout=PATIENCE)
    client.idle_done()

    assert (1, b"EXISTS") in told


def test_what_changed_is_asked_for_by_modseq(client: IMAPClient, alice: Person) -> None:
    """RFC 7162."""
    alice.given(["one", "two", "three"])
    before = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]

    with alice.imap() as other:
        other.store("2", "+FLAGS", "\\Flagged")

    changed = client.fetch([1, 2, 3], ["FLAGS"], [f"CHANGEDSINCE {before}"])
    assert set(changed) == {2}
    assert b"\\Flagged" in changed[2][b"FLAGS"]


def test_quota_is_told(server: ServeProcess, client: IMAPClient, alice: Person) -> None:
    """RFC 9208: in units of 1024 octets."""
    assert server.run("account", "set", alice.address, "--quota", "2048000").returncode == 0
    client.append("INBOX", letter(1) + b"x" * 10_000)

    root, (quota,) = client.get_quota_root("INBOX")

    assert root.quota_roots == [""]
    assert (quota.resource, quota.usage, quota.limit) == ("STORAGE", 10, 2000)
