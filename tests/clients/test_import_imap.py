"""`posthouse import imap` from real servers: Debian's Dovecot, and another Posthouse."""

from __future__ import annotations

import imaplib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dovecot import Dovecot
from tests.servers import PASSWORD, ServeProcess

LETTER = b"From: a@x.test\r\nSubject: %d\r\n\r\n%s\r\n"


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    server = Dovecot()
    yield server
    server.stop()


def fill(client: imaplib.IMAP4, count: int) -> None:
    """Messages with flags and dates, some of them large, and gaps between the UIDs."""
    client.create("Work.Old" if b"." in client.list('""', '""')[1][0] else "Work/Old")
    for number in range(count):
        body = b"x" * (90_000 if number % 10 == 3 else 50)
        flags = ["", "\\Seen", "\\Flagged $Label1", "\\Answered"][number % 4]
        moment = imaplib.Time2Internaldate(1_500_000_000 + number * 3600)
        client.append("INBOX", f"({flags})", moment, LETTER % (number, body))
    client.select("INBOX")
    client.store("5,9", "+FLAGS", "(\\Deleted)")
    client.expunge()


def view(client: imaplib.IMAP4, mailbox: str = "INBOX") -> list[bytes]:
    """Every message: flags, date, size and octets, without its number and UID."""
    client.select(mailbox, readonly=True)
    _, parts = client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    shown = []
    for part in parts:
        if isinstance(part, tuple):
            head = part[0]
            flags = sorted(set(head[head.index(b"FLAGS (") + 7 :].partition(b")")[0].split()) - {b"\\Recent"})
            date = imaplib.Internaldate2tuple(head)
            assert date is not None
            shown.append(b"%d %s %s" % (int(time.mktime(date)), b" ".join(flags), part[1]))
    return shown


def uids(client: imaplib.IMAP4) -> tuple[bytes, bytes]:
    client.select("INBOX", readonly=True)
    return client.response("UIDVALIDITY")[1][0], client.uid("SEARCH", "ALL")[1][0]


def imported(
    server: ServeProcess, port: int, *arguments: str, password: str = PASSWORD, security: str = "none"
) -> dict:
    secret = server.directory / "password"
    secret.write_text(password + "\n")
    done = server.run(
        "import", "imap", "127.0.0.1", "--port", str(port), "--security", security,
        "--password-file", str(secret), "--json", *arguments,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    return record


@pytest.mark.debian("dovecot")
def test_from_dovecot_with_uids_and_again(tmp_path: Path, dovecot: Dovecot) -> None:
    with ServeProcess(tmp_path / "server") as server:
        with dovecot.imap() as there:
            fill(there, 60)
            there.append("Gesendet", "(\\Seen)", None, LETTER % (99, b"sent"))
            before = view(there), uids(there)
        options = ["--account", "alice@north.test", "--login", "alice", "--keep-uids"]

        first = imported(server, dovecot.port, *options)
        second = imported(server, dovecot.port, *options)

        assert (first["added"], first["uids_not_kept"], second["added"], second["there_already"]) == (
            59,
            0,
            0,
            59,
        )
        with server.imap("alice") as here:
            assert (view(here), uids(here)) == before
            assert len(view(here, "Sent")) == 1
            assert b"Work/Old" in b" ".join(here.list()[1])

        with dovecot.imap() as there:
            there.select("INBOX")
            there.store("1:7", "+FLAGS", "(\\Flagged)")
            there.append("INBOX", "($new)", None, LETTER % (100, b"new"))
            before = view(there), uids(there)
        third = imported(server, dovecot.port, *options)
        assert third["added"] == 1
        assert third["flags_changed"] >= 1
        with server.imap("alice") as here:
            assert (view(here), uids(here)) == before


@pytest.mark.debian("dovecot")
def test_a_master_user_brings_several_accounts(tmp_path: Path, dovecot: Dovecot) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("# here there\nalice@north.test alice\nbob@north.test bob\n")
    for user, count in (("alice", 12), ("bob", 14)):
        with dovecot.imap(user) as there:
            fill(there, count)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    with ServeProcess(tmp_path / "server") as server:
        done = server.run(
            "import", "imap", "127.0.0.1", "--port", str(dovecot.port), "--security", "none", "--json",
            "--accounts", str(accounts), "--master-user", "boss", "--password-file", str(secret),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(one["account"], one["added"]) for one in json.loads(done.stdout)] == [
        ("alice@north.test", 10),
        ("bob@north.test", 12),
    ]


@pytest.mark.parametrize(("security", "service"), [("tls", "imaps"), ("starttls", "imap")])
def test_from_another_posthouse_over_tls(
    tmp_path: Path, authority: Path, ca: Path, security: str, service: str
) -> None:
    settings = {
        "listen": {"imap": ["127.0.0.1:0"], "imaps": ["127.0.0.1:0"]},
        "tls": {"certificate": str(authority / "chain.pem"), "key": str(authority / "key.pem")},
    }
    with ServeProcess(tmp_path / "there", settings) as there, ServeProcess(tmp_path / "here") as here:
        with there.imap("alice") as client:
            fill(client, 60)
            before = view(client), uids(client)
        with there.imap("bob") as client:
            client.setacl("INBOX", "alice@north.test", "lr")
        port = there.address(service)[1]
        options = ["--account", "alice@north.test", "--keep-uids"]
        # given a certificate that nobody vouches for, when, then no password is sent
        refused = here.run(
            "import", "imap", "127.0.0.1", "--port", str(port), "--security", security, *options,
            "--password-file", "/dev/null",
        )  # fmt: skip
        assert refused.returncode == os.EX_UNAVAILABLE
        assert "certificate" in refused.stderr.lower()
        # given one that is vouched for
        record = imported(here, port, *options, "--ca-file", str(ca), security=security)

        # then all is here, but for what others share there, which is theirs
        assert record["added"] == 58
        with here.imap("alice") as client:
            assert (view(client), uids(client)) == before
            assert not [name for name in client.list()[1] if b"Other Users" in name]


def test_a_wrong_password_and_a_deaf_port_are_told(tmp_path: Path) -> None:
    with ServeProcess(tmp_path / "there") as there, ServeProcess(tmp_path / "here") as here:
        wrong = here.run(
            "import", "imap", "127.0.0.1", "--port", str(there.address("imap")[1]), "--security", "none",
            "--account", "alice@north.test", "--password-file", "/dev/null",
        )  # fmt: skip
        assert (wrong.returncode, "cannot log in as alice@north.test" in wrong.stderr) == (os.EX_NOPERM, True)
        with pytest.raises(AssertionError, match="cannot connect"):
            imported(here, 1, "--account", "alice@north.test")
        with pytest.raises(AssertionError, match="no account nobody"):
            imported(here, there.address("imap")[1], "--account", "nobody@north.test")


def test_export_and_import_by_commands(tmp_path: Path) -> None:
    with ServeProcess(tmp_path / "server") as server:
        with server.imap("alice") as client:
            fill(client, 20)
            before = view(client)
        for format in ("maildir", "mbox"):
            out = tmp_path / format
            done = server.run("export", format, str(out), "--account", "alice@north.test", "--json")
            assert json.loads(done.stdout)[0]["messages"] == 18
            assert (
                server.run("export", format, str(out), "--account", "alice@north.test").returncode
                == os.EX_CANTCREAT
            )
        done = server.run("import", "maildir", str(tmp_path / "maildir"), "--account", "bob@north.test")
        assert done.returncode == 0, done.stderr
        with server.imap("bob") as client:
            assert view(client) == before
        missing = server.run("import", "mbox", str(tmp_path / "nothing"), "--account", "bob@north.test")
        assert missing.returncode == os.EX_NOINPUT
        assert server.run("import", "mbox", "x").returncode == os.EX_USAGE
