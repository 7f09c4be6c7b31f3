"""mutt without a terminal: it sends by submission, reads by IMAP and POP3, with SCRAM for all three."""

from __future__ import annotations

import contextlib
import mailbox
from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("mutt")

COMMON = """
set certificate_file="{ca}" ssl_force_tls=yes ssl_starttls=yes
set from="{address}" realname="Somebody" use_from=yes copy=no charset=utf-8 send_charset=utf-8
set confirmappend=no confirmcreate=no delete=yes quit=yes move=no wait_key=no mark_old=no beep=no
set imap_user="{address}" imap_pass="{password}" pop_user="{address}" pop_pass="{password}" pop_delete=yes
set smtp_pass="{password}" smtp_url="{scheme}://{login}@localhost:{port}/"
set smtp_authenticators="scram-sha-256" imap_authenticators="scram-sha-256" pop_authenticators="scram-sha-256"
set mbox_type=mbox tmpdir="{home}" imap_check_subscribed=no mail_check=0
"""


@pytest.fixture
def mutt(run: Run, run_on_terminal: Run, server: ServeProcess, ca: Path, home: Path):
    """mutt as a user: with `given` it sends that text, else it opens a mailbox; by default over STARTTLS."""

    def mutt_(who: Person, *options: object, listener: str = "submission", given: str = "") -> None:
        scheme = "smtps" if listener == "submissions" else "smtp"
        text = COMMON.format(
            ca=ca, address=who.address, password=who.password, scheme=scheme, home=home,
            login=who.address, port=server.address(listener)[1],
        )  # fmt: skip
        (home / "muttrc").write_text(text)
        (home / "Mail").mkdir(exist_ok=True)  # else it asks whether to make it
        command = ["mutt", "-n", "-F", home / "muttrc", *options]
        done = run(*command, given=given) if given else run_on_terminal(*command)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr

    return mutt_


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_it_sends_with_an_attachment(mutt, home: Path, alice: Person, bob: Person, listener: str) -> None:
    (home / "list.csv").write_text("a;b\n1;2\n")

    mutt(alice, "-s", "Grüße aus mutt", "-a", home / "list.csv", "--", bob.address,
         listener=listener, given="Schöne Grüße.\n")  # fmt: skip

    (got,) = bob.letters()
    assert got["Subject"] == "Grüße aus mutt"
    text, attachment = got.iter_parts()
    assert text.get_content() == "Schöne Grüße.\n"
    assert attachment.get_filename() == "list.csv"
    assert "ESMTPSA" in got["Received"]


def test_a_blind_copy_stays_blind(mutt, alice: Person, bob: Person) -> None:
    mutt(alice, "-s", "secret", "-b", bob.address, "--", alice.address, given="x\n")

    assert alice.subjects() == bob.subjects() == ["secret"]
    assert [letter["Bcc"] for letter in alice.letters() + bob.letters()] == [None, None]


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_it_opens_saves_and_deletes_by_imap(mutt, server: ServeProcess, alice: Person, scheme: str) -> None:
    alice.given(["one", "two", "three"])
    url = f"{scheme}://localhost:{server.address(scheme)[1]}"

    # the first is saved to Archive, which deletes it here; the next is flagged; the last deleted
    keys = (
        f"<first-entry><save-message><kill-line>{url}/Archive<enter><first-entry><next-entry><flag-message>"
    )
    mutt(alice, "-f", f"{url}/INBOX", "-e", f"push '{keys}<last-entry><delete-message><quit>'")

    assert alice.subjects("Archive") == ["one"]
    assert alice.subjects() == ["two"]
    assert "\\Flagged" in alice.flags()[0]


def test_it_reads_a_letter_and_it_is_seen(mutt, server: ServeProcess, alice: Person) -> None:
    alice.given(["one", "two"])
    url = f"imaps://localhost:{server.address('imaps')[1]}/INBOX"

    mutt(alice, "-f", url, "-e", "push '<last-entry><display-message><exit><quit>'")

    assert ["\\Seen" in flags for flags in alice.flags()] == [False, True]


def test_it_fetches_by_pop3(mutt, server: ServeProcess, home: Path, alice: Person) -> None:
    alice.given(["one", "two"])
    url = f"pops://localhost:{server.address('pop3s')[1]}"

    save = f"<save-message><kill-line>{home}/got<enter>"
    mutt(alice, "-f", url, "-e", f"push '<first-entry>{save}<last-entry>{save}<quit>'")

    with contextlib.closing(mailbox.mbox(home / "got")) as got:
        assert sorted(str(letter["Subject"]) for letter in got) == ["one", "two"]
    assert alice.subjects() == []
