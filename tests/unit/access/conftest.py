"""A real server: IMAP and POP3 over a real database, on sockets of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import poplib
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from posthouse.access.imap.facts import Knowledge
from posthouse.access.imap.session import imap_session
from posthouse.access.pop3.session import pop3_session
from posthouse.access.services import Services
from posthouse.accounts.authentication import Authenticated
from posthouse.db import Database, Tx, open_database
from posthouse.db.blobs import FileBlobs
from posthouse.mail.content import INLINE_LIMIT, end_of_head
from posthouse.mail.envelope import AccountId
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import bodystructure, envelope
from posthouse.mail.mime import scan
from posthouse.mail.reply import AUTH_INVALID, Reply
from posthouse.net.listener import Listener, drain
from posthouse.store import content, mailboxes
from posthouse.store.deposit import Deposit, Deposited, deposit
from posthouse.store.notify import Notifier
from posthouse.store.shared import Snapshots
from tests.databases import database_url, engine

__all__ = ["database_url", "engine"]

T = TypeVar("T")
ADDRESSES = {1: "bob@example.org", 2: "eve@example.org", 3: "mallory@example.net"}
PREFIX = b"Received: from there by here; Mon, 2 Nov 2026 13:04:05 +0000\r\n"
ARRIVED = 1_793_624_645.0
"""2 November 2026, 13:04:05 UTC."""


class Clock:
    def now(self) -> float:
        return time.time()


@dataclass
class Server:
    """Accounts bob, eve (1, 2) and mallory (3), who is of another domain; password `secret`."""

    services: Services
    database: Database
    imap_port: int = 0
    pop3_port: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    ids: int = 1000

    async def deliver(
        self,
        data: bytes,
        mailbox: str = "INBOX",
        *,
        account: int = 1,
        flags: int = 0,
        arrived: float = ARRIVED,
    ) -> Deposited:
        """A letter arrives, with one trace field of ours before it."""
        self.ids += 1
        id, head_size = self.ids, end_of_head(data)
        blob = None
        if len(data) > INLINE_LIMIT:
            path = self.services.spool_directory / f"letter-{id}"
            path.write_bytes(data)
            blob = await self.services.blobs.store(path)
        head, body = data[:head_size], data[head_size:] if blob is None else None

        def put(tx: Tx) -> Deposited:
            content.put(tx, id, head, body, size=len(data), blob=blob)
            copy = Deposit(
                id,
                id,
                PREFIX,
                arrived,
                len(PREFIX) + len(data),
                envelope(HeaderIndex(head)),
                bodystructure(scan(data)),
                flags,
            )
            done = deposit(tx, AccountId(account), mailbox, [copy], 0)
            assert isinstance(done, Deposited)
            return done

        done = await self.database.write([AccountId(account)], put)
        self.services.notifier.changed(AccountId(account), done.modseq)
        return done

    def imap(self, login: str = "bob") -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=20)
        client.login(login, "secret")
        return client

    def pop3(self, login: str = "bob", password: str = "secret") -> poplib.POP3:
        """A session; not yet logged in where the password is empty."""
        client = poplib.POP3("127.0.0.1", self.pop3_port, timeout=20)
        if password:
            client.user(login)
            client.pass_(password)
        return client

    async def run(self, session: Callable[[], T]) -> T:
        """A blocking client, in a thread of its own."""
        return await asyncio.to_thread(session)


async def authenticate(login: str, password: str, client: str) -> Authenticated | Reply:
    accounts = {"bob": 1, "eve": 2, "mallory": 3}
    login = login.removesuffix("@example.org")
    if login not in accounts or password != "secret":
        return AUTH_INVALID
    return Authenticated(AccountId(accounts[login]), ADDRESSES[accounts[login]], "", False)


def in_queue(tx: Tx, ids: Sequence[int]) -> Collection[int]:
    return ()


@contextlib.asynccontextmanager
async def serving(directory: Path, database_url: str) -> AsyncIterator[Server]:
    database = open_database(database_url, directory)
    blobs = FileBlobs(directory / "blobs")
    notifier = Notifier(database, directory / "run", poll_seconds=30.0)
    notifier.start()
    ids = iter(range(1_000_000, 2_000_000))
    services = Services(
        database=database,
        blobs=blobs,
        contents=content.Contents(in_queue, lambda tx, names: None),
        notifier=notifier,
        snapshots=Snapshots(database),
        knowledge=Knowledge(),
        authenticate=authenticate,
        clock=Clock(),
        new_id=lambda: next(ids),
        spool_directory=blobs.spool_directory,
        message_size_limit=20_000_000,
        mailbox_size_limit=0,
        hostname="mail.example.org",
    )
    server = Server(services, database)

    def accounts(tx: Tx) -> None:
        for number, address in ADDRESSES.items():
            tx.run("INSERT INTO account (id, address, created) VALUES (?, ?, 0)", (number, address))
            mailboxes.create_defaults(tx, AccountId(number), 1_000_000.0)

    await database.write([], accounts)
    for protocol in ("imap", "pop3"):
        listening = socket.create_server(("127.0.0.1", 0))
        make = imap_session if protocol == "imap" else pop3_session
        listener = Listener(
            protocol,
            [listening],
            lambda make=make: make(server.services, tls_available=False),  # type: ignore[misc]
        )
        await listener.start()
        server.listeners.append(listener)
        setattr(server, f"{protocol}_port", listening.getsockname()[1])
    try:
        yield server
    finally:
        await drain(server.listeners, 1.0)
        await notifier.close()
        await database.close()
        await blobs.close()


@pytest.fixture
async def server(tmp_path: Path, database_url: str) -> AsyncIterator[Server]:
    async with serving(tmp_path, database_url) as running:
        yield running
