"""mbsync keeps a Maildir and the account alike, in both directions."""

from __future__ import annotations

import mailbox
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("mbsync")

CONFIGURATION = """
IMAPAccount server
Host localhost
Port {port}
User {address}
Pass "{password}"
{tls}
CertificateFile {ca}
AuthMechs {mechanism}

IMAPStore far
Account server

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
"""


@pytest.fixture
def synchronise(run: Run, server: ServeProcess, ca: Path, home: Path, alice: Person) -> Callable[..., str]:
    """Run mbsync once; what it said at the end of how much it did."""
    (home / "mail").mkdir()

    def synchronise_(listener: str = "imaps", mechanism: str = "PLAIN") -> str:
        tls = "SSLType IMAPS" if listener == "imaps" else "SSLType STARTTLS"
        text = CONFIGURATION.format(
            port=server.address(listener)[1], address=alice.address, password=alice.password,
            tls=tls, ca=ca, home=home, mechanism=mechanism,
        )  # fmt: skip
        (home / "mbsyncrc").write_text(text)
        done = run("mbsync", "-c", home / "mbsyncrc", "-V", "-a")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return done.stdout

    return synchronise_


def maildir(home: Path, name: str = "INBOX") -> mailbox.Maildir:
    return mailbox.Maildir(home / "mail" / name, create=False)


def subjects(home: Path, name: str = "INBOX") -> list[str]:
    return sorted(str(letter["Subject"]) for letter in maildir(home, name))


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("imaps", "PLAIN"), ("imap", "LOGIN"), ("imaps", "SCRAM-SHA-256"), ("imap", "SCRAM-SHA-1")],
)
def test_everything_is_fetched_octet_for_octet(
    synchronise, home: Path, alice: Person, listener: str, mechanism: str
) -> None:
    alice.given(["one", "two"])
    alice.given(["old"], "Archive")

    synchronise(listener, mechanism)

    assert subjects(home) == ["one", "two"]
    assert subjects(home, "Archive") == ["old"]
    files = [file.read_bytes().replace(b"\n", b"\r\n") for file in (home / "mail/INBOX").glob("*/*")]
    # mbsync adds a field of its own to what it writes
    assert sorted(re.sub(rb"X-TUID: .*\r\n", b"", file) for file in files) == sorted(alice.raw())


def test_flags_go_both_ways(synchronise, home: Path, alice: Person) -> None:
    alice.given(["one", "two"])
    synchronise()

    here = maildir(home)
    for key, letter in here.items():
        if letter["Subject"] == "one":
            letter.set_flags("FS")
            letter.set_subdir("cur")
            here[key] = letter
    with alice.imap() as client:
        client.store("2", "+FLAGS", r"\Answered")
    synchronise()

    assert alice.flags() == [{"\\Flagged", "\\Seen"}, {"\\Answered"}]
    assert {str(letter["Subject"]): letter.get_flags() for letter in maildir(home)} == {
        "one": "FS",
        "two": "R",
    }


def test_deletions_go_both_ways(synchronise, home: Path, alice: Person) -> None:
    alice.given(["one", "two", "three"])
    synchronise()

    here = maildir(home)
    here.remove(next(key for key, letter in here.items() if letter["Subject"] == "one"))
    with alice.imap() as client:
        client.store("3", "+FLAGS", r"\Deleted")
        client.expunge()
    synchronise()

    assert alice.subjects() == ["two"]
    assert subjects(home) == ["two"]


def test_new_letters_and_new_folders_go_both_ways(synchronise, home: Path, alice: Person) -> None:
    synchronise()

    made = mailbox.Maildir(home / "mail" / "Ideas for 2026")
    made.add(b"From: carol@south.test\nSubject: from here\n\nx\n")
    with alice.imap() as client:
        client.create('"Reise/2026"')
    alice.given(["from there"], '"Reise/2026"')
    synchronise()

    assert alice.subjects('"Ideas for 2026"') == ["from here"]
    assert subjects(home, "Reise/2026") == ["from there"]


def test_a_conflict_loses_no_letter_and_no_flag(synchronise, home: Path, alice: Person) -> None:
    """What one side deletes and the other changes; both are offline meanwhile."""
    alice.given(["one", "two", "three"])
    synchronise()

    here = maildir(home)
    for key, letter in list(here.items()):
        if letter["Subject"] == "one":
            here.remove(key)
        elif letter["Subject"] == "two":
            letter.set_flags("F")
            letter.set_subdir("cur")
            here[key] = letter
    with alice.imap() as client:
        client.store("1", "+FLAGS", r"\Flagged")
        client.store("2", "+FLAGS", r"\Answered")
        client.store("3", "+FLAGS", r"\Deleted")
        client.expunge()
    alice.given(["four"])
    here.add(b"From: carol@south.test\nSubject: five\n\nx\n")
    synchronise()
    synchronise()

    assert sorted(alice.subjects()) == subjects(home) == ["five", "four", "two"]
    flags = dict(zip(alice.subjects(), alice.flags(), strict=True))
    assert flags["two"] == {"\\Flagged", "\\Answered"}
    assert {letter.get_flags() for letter in maildir(home) if letter["Subject"] == "two"} == {"FR"}


def test_5000_messages_both_ways_and_then_nothing_more_to_do(synchronise, home: Path, alice: Person) -> None:
    # given 4,000 messages there, appended without waiting for each answer, and 1,000 here
    with alice.imap() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, 4000, 500):
            letters = [f"Subject: {number}\r\n\r\n{'x' * 60}\r\n" for number in range(start, start + 500)]
            text = "".join(f" {{{len(letter)}+}}\r\n{letter}" for letter in letters)
            client.send(f"{client._new_tag().decode()} APPEND INBOX{text}\r\n".encode())
        client.noop()
    (home / "mail/INBOX").mkdir()
    for name in ("cur", "new", "tmp"):
        (home / "mail/INBOX" / name).mkdir()
    for number in range(4000, 5000):
        (home / f"mail/INBOX/new/{number}.here").write_text(f"Subject: {number}\n\n{'x' * 60}\n")

    synchronise()
    before = files(home)
    synchronise()

    assert len(before) == len(alice.flags()) == 5000
    assert {str(letter["Subject"]) for letter in maildir(home)} == {str(number) for number in range(5000)}
    assert files(home) == before


def files(home: Path) -> set[tuple[str, int]]:
    """All messages here, and when they were last written."""
    found = (file for file in (home / "mail").rglob("*") if file.parent.name in ("cur", "new"))
    return {(str(file), file.stat().st_mtime_ns) for file in found}
