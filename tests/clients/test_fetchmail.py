"""fetchmail takes letters from one account by POP3 or IMAP, and gives them to another by SMTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.clients.person import Person
from tests.servers import ServeProcess

pytestmark = pytest.mark.debian("fetchmail")

CONFIGURATION = """
set no bouncemail
poll localhost port {port} protocol {protocol}
  user "{address}" password "{password}" ssl sslcertck sslcertfile "{ca}"
  smtphost "localhost/{smtp}" smtpname "{to}" fetchall {keep}
"""


@pytest.mark.parametrize(("protocol", "listener"), [("POP3", "pop3s"), ("IMAP", "imaps")])
@pytest.mark.parametrize("keep", ["keep", "nokeep"])
def test_it_moves_letters_to_another_account(
    run: Run, server: ServeProcess, home: Path, ca: Path, alice: Person, bob: Person,
    protocol: str, listener: str, keep: str,
) -> None:  # fmt: skip
    alice.given(["one", "two"])
    file = home / "fetchmailrc"
    file.write_text(
        CONFIGURATION.format(
            port=server.address(listener)[1], protocol=protocol, address=alice.address,
            password=alice.password, ca=ca, smtp=server.address("smtp")[1], to=bob.address, keep=keep,
        )
    )  # fmt: skip
    file.chmod(0o600)

    done = run("fetchmail", "-f", file, "--nodetach", "-v", "--nosyslog")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert sorted(bob.subjects()) == ["one", "two"]
    assert alice.subjects() == (["one", "two"] if keep == "keep" else [])
