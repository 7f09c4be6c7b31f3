"""Debian's Dovecot as another server: in a folder of its own, on ports of loopback, ended with the test."""

from __future__ import annotations

import contextlib
import grp
import imaplib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.databases import free_ports
from tests.servers import PASSWORD, PATIENCE, until


class Dovecot:
    """A running Dovecot.

    `users`: its login names, all with `PASSWORD`; the master user `boss` may log in as any of them.
    `location`: its mail_location, where {home} is the user's folder. `options`: more lines of dovecot.conf.
    """

    def __init__(
        self,
        *,
        users: Sequence[str] = ("alice", "bob"),
        location: str = "maildir:{home}",
        options: str = "",
        pop3: bool = False,
    ) -> None:
        self.port, self.pop3_port = free_ports(2)
        # Not in pytest's folder, from which another pytest that starts shuts out all but its owner.
        self.directory = directory = Path(tempfile.mkdtemp(prefix="dovecot-"))
        is_root = os.geteuid() == 0
        owner = "nobody" if is_root else pwd.getpwuid(os.geteuid()).pw_name
        group = "nogroup" if is_root else grp.getgrgid(os.getegid()).gr_name
        for name in ("base", "state", "home"):
            (directory / name).mkdir(parents=True)
        (directory / "users").write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in users))
        (directory / "masters").write_text(f"boss:{{PLAIN}}{PASSWORD}\n")
        config = directory / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                directory=directory,
                protocols="imap pop3" if pop3 else "imap",
                location=location.format(home=f"{directory}/home/%u"),
                owner=owner,
                group=group,
                port=self.port,
                pop3=_POP3.format(port=self.pop3_port) if pop3 else "",
                options=options,
            )
        )
        if is_root:
            for path in (directory, *directory.rglob("*")):
                shutil.chown(path, owner, group)
        self.log = directory / "log"
        self.process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, what="Dovecot")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text() if self.log.exists() else "no log"
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            imaplib.IMAP4("127.0.0.1", self.port, timeout=PATIENCE).logout()
            return True
        return False

    @contextlib.contextmanager
    def imap(self, user: str = "alice") -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=PATIENCE) as client:
            client.login(user, PASSWORD)
            yield client

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        shutil.rmtree(self.directory)


_CONFIG = """\
base_dir = {directory}/base
state_dir = {directory}/state
log_path = {directory}/log
protocols = {protocols}
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_master_user_separator = *
mail_location = {location}
default_internal_user = {owner}
default_login_user = {owner}
default_internal_group = {group}
mail_uid = {owner}
mail_gid = {group}
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {directory}/masters
  master = yes
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = home={directory}/home/%u
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
{pop3}
namespace inbox {{
  inbox = yes
  mailbox Gesendet {{
    special_use = \\Sent
    auto = subscribe
  }}
}}
{options}
"""

_POP3 = """\
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""
