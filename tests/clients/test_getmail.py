"""getmail fetches by IMAP and POP3 and hands on each letter; it knows what it has fetched already."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("getmail")

CONFIGURATION = """
[retriever]
type = Simple{protocol}SSLRetriever
server = localhost
port = {port}
username = {address}
password = {password}
ca_certs = {ca}
{mailboxes}

[destination]
type = MDA_external
path = {home}/deliver
allow_root_commands = true

[options]
read_all = false
delete = {delete}
delivered_to = false
received = false
"""

# getmail waits for a minute where the program ends before it has begun to wait for it, so let it begin.
DELIVER = """#!/bin/sh
cat >> "{home}/fetched"
until grep -q "^State:.S" /proc/$PPID/status; do :; done
"""

Getmail = Callable[..., str]


@pytest.fixture(params=["POP3", "IMAP"])
def getmail(
    run: Run, server: ServeProcess, ca: Path, home: Path, alice: Person, request: pytest.FixtureRequest
) -> Getmail:
    """Run getmail once; what it said."""
    (home / ".getmail").mkdir()
    (home / "deliver").write_text(DELIVER.format(home=home))
    (home / "deliver").chmod(0o755)

    def getmail_(delete: bool = False) -> str:
        protocol = request.param
        text = CONFIGURATION.format(
            protocol=protocol, port=server.address(f"{protocol.lower()}s")[1], address=alice.address,
            password=alice.password, ca=ca, home=home, delete=str(delete).lower(),
            mailboxes='mailboxes = ("INBOX", "Archive")' if protocol == "IMAP" else "",
        )  # fmt: skip
        (home / ".getmail/getmailrc").write_text(text)
        done = run("getmail", "--verbose")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return done.stdout

    return getmail_


def subjects(home: Path) -> list[str]:
    return sorted(re.findall("^Subject: (.*)$", (home / "fetched").read_text(), re.MULTILINE))


def test_each_letter_is_fetched_once(getmail: Getmail, home: Path, alice: Person) -> None:
    alice.given(["one", "two"])
    getmail()
    alice.given(["three"])
    getmail()
    getmail()

    assert subjects(home) == ["one", "three", "two"]
    assert alice.subjects() == ["one", "two", "three"]


def test_what_is_fetched_can_be_deleted_here(getmail: Getmail, home: Path, alice: Person) -> None:
    alice.given(["one", "two"])
    getmail(delete=True)

    assert subjects(home) == ["one", "two"]
    assert alice.subjects() == []
