"""The mail systems under test, each in a folder of its own on the same disk, on loopback and high ports."""

from __future__ import annotations

import contextlib
import functools
import imaplib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bench import processes
from bench.load import free_port, wait_for_port

DOMAIN = "bench.test"
RECIPIENT = f"user@{DOMAIN}"
PASSWORD = "a bench needs no secret"


class Peer(Protocol):
    """What a benchmark asks of a mail system."""

    name: str
    port: int

    def stored(self) -> int:
        """Messages readable in the mailbox of `RECIPIENT`."""

    def pid(self) -> int:
        """The process from which all others of it descend."""


class Posthouse:
    name = "posthouse"
    delivery = "SMTP"

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], seconds_to_greeting: float) -> None:
        self.folder = folder
        self.process = process
        self.seconds_to_greeting = seconds_to_greeting
        self.port = self.delivery_port = _listener(folder, "smtp")
        self.imap_port = _listener(folder, "imap")

    @functools.cached_property
    def _mailbox(self) -> imaplib.IMAP4:
        """Logged in once: checking a password costs as much as accepting hundreds of letters."""
        imap = imaplib.IMAP4("127.0.0.1", self.imap_port)
        imap.login(RECIPIENT, PASSWORD)
        return imap

    def stored(self) -> int:
        _, answer = self._mailbox.status("INBOX", "(MESSAGES)")
        return int(answer[0].split()[-1].rstrip(b")"))

    def pid(self) -> int:
        return self.process.pid


def _listener(folder: Path, name: str) -> int:
    listeners = json.loads((folder / "data" / "run" / "listeners.json").read_text())
    return int(str(listeners["listeners"][name][0]).rpartition(":")[2])


@contextlib.contextmanager
def posthouse(
    folder: Path,
    relayhost: str = "",
    nameserver: str = "",
    workers: int = 0,
    users: Sequence[str] = (RECIPIENT,),
    database: str = "",
) -> Iterator[Posthouse]:
    """A Posthouse with these accounts; all to other domains goes to `relayhost`, or by MX look-up.

    `database`: the URL of an empty one, else it is SQLite; without `users` it is left as another host
    has made it.
    """
    install(folder, relayhost, nameserver, workers, users, database)
    with serving(folder) as server:
        yield server


_RUN = (sys.executable, "-m", "posthouse")


def install(
    folder: Path,
    relayhost: str = "",
    nameserver: str = "",
    workers: int = 0,
    users: Sequence[str] = (RECIPIENT,),
    database: str = "",
) -> None:
    """Make the folder of a Posthouse, to be started by `serving`."""
    config = folder / "posthouse.toml"
    _quietly(
        [*_RUN, "init", str(folder), "--hostname", "mail.bench.test", "--domain", DOMAIN, "--password-stdin"]
    )
    nameservers = json.dumps([nameserver] if nameserver else [])
    config.write_text(_TOML.format(workers=workers, relayhost=relayhost, nameservers=nameservers))
    if database:
        with config.open("a") as file:
            file.write(f'\n[database]\nurl = "{database}"\n')
        if users:
            _quietly([*_RUN, "domain", "add", DOMAIN, "--config", str(config)])
    for user in users:
        _quietly([*_RUN, "account", "add", user, "--password-stdin", "--config", str(config)])


_serving: list[int] = []
"""Supervisors that run now."""


@contextlib.contextmanager
def alone(peer: Peer | None = None) -> Iterator[None]:
    """Every other Posthouse stands still meanwhile: what it does in the background is its own cost."""
    others = [
        pid
        for supervisor in _serving
        if peer is None or supervisor != peer.pid()
        for pid in processes.tree(supervisor)
    ]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Posthouse]:
    """The Posthouse of a folder, while it runs."""
    listeners = folder / "data" / "run" / "listeners.json"
    listeners.unlink(missing_ok=True)
    started = time.monotonic()
    command = [*_RUN, "serve", "--config", str(folder / "posthouse.toml")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not listeners.exists():
            if process.poll() is not None or time.monotonic() > started + 30:
                raise RuntimeError(f"posthouse did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.005)
        wait_for_port(_listener(folder, "smtp"))
        _serving.append(process.pid)
        yield Posthouse(folder, process, time.monotonic() - started)
    finally:
        if process.pid in _serving:
            _serving.remove(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, check=False, input=PASSWORD.encode(), capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")


_TOML = """\
hostname = "mail.bench.test"
data_directory = "data"
workers = {workers}

[listen]
smtp = ["127.0.0.1:0"]
imap = ["127.0.0.1:0"]
submission = []
submissions = []
imaps = []
pop3 = []
pop3s = []
lmtp = []
managesieve = []
http = []
https = []

[smtp]
client_connection_count_limit = 5000

[dns]
nameservers = {nameservers}

[outbound]
relayhost = "{relayhost}"
"""


class Postfix:
    name = "postfix"

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def stored(self) -> int:
        maildir = self.folder / "mail" / "user" / "new"
        return len(os.listdir(maildir)) if maildir.exists() else 0

    def pid(self) -> int:
        return int((self.folder / "queue" / "pid" / "master.pid").read_text())


@contextlib.contextmanager
def postfix(folder: Path, relayhost: str = "", within: Sequence[str] = ()) -> Iterator[Postfix]:
    """A Postfix as Debian ships it, with virtual Maildir delivery, in a configuration folder of its own.

    `within`: what stands before the command that starts it, as `Names.resolver_namespace` says.
    """
    conf, port = folder / "conf", free_port()
    for name in ("conf", "queue", "data", "mail"):
        (folder / name).mkdir(parents=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    shutil.chown(folder / "data", "postfix")
    master = Path("/usr/share/postfix/master.cf.dist").read_text()
    lines = [line for line in master.splitlines() if line and not line.startswith("#")]
    lines = [_without_chroot(re.sub(r"^smtp +inet", f"127.0.0.1:{port} inet", line)) for line in lines]
    (conf / "master.cf").write_text("\n".join(lines) + "\n")
    (conf / "main.cf").write_text(
        _MAIN_CF.format(folder=folder, uid=nobody.pw_uid, gid=nobody.pw_gid, relayhost=relayhost)
    )
    command = ["postfix", "-c", str(conf)]
    subprocess.run(
        [*within, *command, "start"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port)
        yield Postfix(folder, port)
    finally:
        subprocess.run([*command, "stop"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _without_chroot(line: str) -> str:
    fields = line.split()
    if len(fields) >= 8 and fields[1] in ("inet", "unix", "pass", "fifo") and not line[0].isspace():
        fields[4] = "n"
        return " ".join(fields)
    return line


_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.bench.test
mydestination =
mynetworks = 127.0.0.0/8
relayhost = {relayhost}
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = bench.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:user/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
maillog_file = {folder}/data/maillog
maillog_file_prefixes = {folder}
"""


def cost(peer: Peer) -> float:
    """CPU seconds spent so far."""
    return processes.cpu_seconds(peer.pid())
