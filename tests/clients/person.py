"""A user of the server under test, and what is in his mailboxes, asked by the plainest means (imaplib)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from imaplib import IMAP4
from typing import cast

from tests.servers import DOMAIN, PASSWORD, ServeProcess


class Person:
    """`address` is the login name too; the password is `password`."""

    def __init__(self, server: ServeProcess, name: str) -> None:
        self.server = server
        self.name = name
        self.address = f"{name}@{DOMAIN}"
        self.password = PASSWORD

    @contextmanager
    def imap(self, mailbox: str = "INBOX") -> Iterator[IMAP4]:
        """A session in which the mailbox is selected."""
        with self.server.imap(self.name) as client:
            assert client.select(mailbox)[0] == "OK"
            yield client

    def letters(self, mailbox: str = "INBOX") -> list[EmailMessage]:
        """All messages of the mailbox, parsed, lines ended by LF; they stay unseen."""
        each = (octets.replace(b"\r\n", b"\n") for octets in self.raw(mailbox))
        return [cast(EmailMessage, message_from_bytes(octets, policy=SMTPUTF8)) for octets in each]

    def raw(self, mailbox: str = "INBOX") -> list[bytes]:
        """All messages of the mailbox, octet for octet."""
        with self.imap(mailbox) as client:
            _, found = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in found if isinstance(part, tuple)]

    def flags(self, mailbox: str = "INBOX") -> list[set[str]]:
        """The flags of each message, but for \\Recent."""
        with self.imap(mailbox) as client:
            _, found = client.fetch("1:*", "(FLAGS)")
            sets = [re.search(rb"FLAGS \((.*?)\)", line)[1] for line in found if isinstance(line, bytes)]  # type: ignore[index]
            return [set(flags.decode().split()) - {"\\Recent"} for flags in sets]

    def subjects(self, mailbox: str = "INBOX") -> list[str]:
        """The subjects of all messages of the mailbox, in its order."""
        return [str(letter["Subject"]) for letter in self.letters(mailbox)]

    def given(self, subjects: Sequence[str], mailbox: str = "INBOX") -> None:
        """Put letters into the mailbox (by APPEND, one after the other)."""
        with self.server.imap(self.name) as client:
            for subject in subjects:
                octets = (
                    f"From: carol@south.test\r\nTo: {self.address}\r\nSubject: {subject}\r\n"
                    "Date: Sat, 14 Mar 2026 15:09:26 +0000\r\n"
                    f"Message-ID: <{subject.replace(' ', '.')}@south.test>\r\n"
                    f"\r\nText of {subject}.\r\n"
                ).encode()
                answer, text = client.append(mailbox, "", None, octets)  # type: ignore[arg-type]
                assert answer == "OK", text

    def mailboxes(self) -> set[str]:
        """The names of all mailboxes."""
        with self.server.imap(self.name) as client:
            _, listed = client.list()
            return {
                line.decode().rpartition(' "/" ')[2].strip('"') for line in listed if isinstance(line, bytes)
            }
