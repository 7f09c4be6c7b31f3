"""Dovecot as a peer: Debian's, in a folder of its own, on loopback ports, with mdbox.

It is set up as one who wants it fast would: processes for logins and sessions are started beforehand and used
again, and right passwords are remembered. What makes its answers durable is left as it comes. It has no
full-text index: with the one of Debian's package (Squat) an APPEND of several messages ends the process.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.load import free_port, wait_for_port
from bench.peers import PASSWORD, RECIPIENT

PROGRAM = "/usr/sbin/dovecot"


class Dovecot:
    name = "dovecot"
    delivery = "LMTP"

    def __init__(self, folder: Path, imap_port: int, delivery_port: int) -> None:
        self.folder = folder
        self.imap_port = imap_port
        self.delivery_port = delivery_port

    @property
    def data(self) -> Path:
        """Where messages lie."""
        return self.folder / "mail"

    def pid(self) -> int:
        return int((self.folder / "run" / "master.pid").read_text())

    def index(self) -> None:
        """Have what it keeps of messages in its caches made for all. Returns when that is done."""
        command = ["doveadm", "-c", str(self.folder / "dovecot.conf"), "index", "-u", RECIPIENT, "*"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        command = [PROGRAM, "-c", str(self.folder / "dovecot.conf")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(self.delivery_port)
            yield
        finally:
            pid = self.pid()
            subprocess.run([*command, "stop"], check=False, capture_output=True)
            deadline = time.monotonic() + 30
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.01)


def installed(folder: Path) -> Dovecot:
    """A Dovecot with one user, `RECIPIENT`, in an empty folder; not started yet."""
    for name in ("mail", "run", "state"):
        (folder / name).mkdir(parents=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    imap_port, delivery_port = free_port(), free_port()
    (folder / "users").write_text(f"{RECIPIENT}:{{PLAIN}}{PASSWORD}\n")
    (folder / "dovecot.conf").write_text(
        _CONFIG.format(folder=folder, imap_port=imap_port, delivery_port=delivery_port)
    )
    for file in ("users", "dovecot.conf"):
        (folder / file).chmod(0o644)
    return Dovecot(folder, imap_port, delivery_port)


def why_not() -> str:
    """Why there can be no Dovecot here; empty where there can."""
    if os.geteuid() != 0:
        return "Dovecot starts as root only"
    if not Path(PROGRAM).exists() and shutil.which("dovecot") is None:
        return "Dovecot is not installed; `make bench` installs it as root"
    return ""


_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_cache_size = 10M
auth_mechanisms = plain
mail_location = mdbox:{folder}/mail/%n
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
first_valid_gid = 1
last_valid_uid = 0
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/%n
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 2000
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  service_count = 0
  process_min_avail = 4
  process_limit = 2000
}}
service anvil {{
  client_limit = 5000
}}
service auth {{
  client_limit = 5000
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {delivery_port}
  }}
  unix_listener lmtp {{
    mode = 0
  }}
}}
protocol imap {{
  imap_idle_notify_interval = 29 mins
}}
"""
