"""OfflineIMAP keeps a Maildir and the account alike, in both directions."""

from __future__ import annotations

import mailbox
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("offlineimap")

CONFIGURATION = """
[general]
accounts = all
metadata = {home}/metadata
ui = basic

[Account all]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {home}/mail
sep = .

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
ssl = yes
sslcacertfile = {ca}
remoteuser = {address}
remotepass = {password}
maxconnections = 2
"""

Synchronise = Callable[[], str]


@pytest.fixture
def synchronise(run: Run, server: ServeProcess, ca: Path, home: Path, alice: Person) -> Synchronise:
    """Run offlineimap once; what it said."""
    (home / "mail").mkdir()
    (home / "offlineimaprc").write_text(
        CONFIGURATION.format(
            home=home, port=server.address("imaps")[1], ca=ca, address=alice.address, password=alice.password
        )
    )

    def synchronise_() -> str:
        done = run("offlineimap", "-c", home / "offlineimaprc", "-o", "-1")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return done.stdout + done.stderr

    return synchronise_


def subjects(home: Path, name: str = "INBOX") -> list[str]:
    return sorted(str(letter["Subject"]) for letter in mailbox.Maildir(home / "mail" / name, create=False))


def test_letters_flags_and_folders_go_both_ways(synchronise: Synchronise, home: Path, alice: Person) -> None:
    # given letters there
    alice.given(["one", "two"])
    with alice.imap() as client:
        client.create('"Reise/2026"')
    alice.given(["from there"], '"Reise/2026"')
    synchronise()
    assert subjects(home) == ["one", "two"]
    assert subjects(home, "Reise.2026") == ["from there"]

    # when something changes on both sides
    here = mailbox.Maildir(home / "mail/INBOX", create=False)
    for key, letter in here.items():
        if letter["Subject"] == "one":
            letter.set_flags("FS")
            letter.set_subdir("cur")
            here[key] = letter
    here.add(b"From: carol@south.test\nSubject: from here\nMessage-ID: <here@south.test>\n\nx\n")
    with alice.imap() as client:
        client.store("2", "+FLAGS", r"\Answered")
    synchronise()

    # then each side has both
    assert sorted(alice.subjects()) == ["from here", "one", "two"]
    by_subject = dict(zip(alice.subjects(), alice.flags(), strict=True))
    assert by_subject["one"] == {"\\Flagged", "\\Seen"}
    assert by_subject["two"] == {"\\Answered"}
    flags = {str(letter["Subject"]): letter.get_flags() for letter in mailbox.Maildir(home / "mail/INBOX")}
    assert (flags["one"], flags["two"]) == ("FS", "R")


def test_deletions_go_both_ways_and_then_there_is_nothing_to_do(
    synchronise: Synchronise, home: Path, alice: Person
) -> None:
    alice.given(["one", "two", "three"])
    synchronise()

    here = mailbox.Maildir(home / "mail/INBOX", create=False)
    here.remove(next(key for key, letter in here.items() if letter["Subject"] == "one"))
    with alice.imap() as client:
        client.store("3", "+FLAGS", r"\Deleted")
        client.expunge()
    synchronise()

    assert alice.subjects() == ["two"]
    assert subjects(home) == ["two"]
    said = synchronise()
    assert "Copy message" not in said
    assert "Deleting" not in said
