"""The two servers, and users whom both have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.beside.wire import Client, Pair
from tests.dovecot import Dovecot
from tests.servers import DOMAIN, ServeProcess

USERS = tuple(f"user{number}@{DOMAIN}" for number in range(60))


@dataclass
class Both:
    """The two servers, and a user with empty mailboxes."""

    ours: ServeProcess
    theirs: Dovecot
    user: str

    def imap(self) -> Pair:
        """A new session with each."""
        return Pair(Client(self.ours.address("imap")[1], self.user), Client(self.theirs.port, self.user))


def posthouse(directory: Path) -> ServeProcess:
    """Not started yet; one worker."""
    settings = {"listen": {name: ["127.0.0.1:0"] for name in ("imap", "pop3", "lmtp")}, "workers": 1}
    return ServeProcess(directory, settings, accounts=dict.fromkeys(USERS))


def dovecot() -> Dovecot:
    """Running; with `/` between the levels, as here."""
    return Dovecot(users=USERS, location="sdbox:{home}", options=_OPTIONS, pop3=True)


_OPTIONS = """
mail_fsync = never
mail_max_userip_connections = 0
imap_max_line_length = 1M
"""
