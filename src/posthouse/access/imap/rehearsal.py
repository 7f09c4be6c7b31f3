"""Rehearsal: what most sessions begin with, played through once before the first client comes.

What a process does for the first time takes it several times as long: statements are prepared, threads
begin, memory is asked for, and pages that were shared with its parent become its own. A client who comes
right after a start would wait for all that. So a worker opens a mailbox beforehand that nobody has, in a
session with itself, over the same connections of the database and through the same code. Nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from posthouse.access.imap.session import imap_session
from posthouse.accounts.authentication import Authenticated
from posthouse.mail.envelope import AccountId
from posthouse.net.pump import Pump
from posthouse.protocol.imap.offers import NO_LIMITS
from posthouse.store import mailboxes, snapshot, snapshotpages
from posthouse.store.mailboxes import INBOX, Mailbox, MailboxNotFound
from posthouse.store.shared import Snapshots
from posthouse.store.snapshot import Delta, Snapshot

if TYPE_CHECKING:
    from posthouse.access.services import Services
    from posthouse.db import Reader
    from posthouse.store.snapshotpages import Loaded

MESSAGES: Final = 10_000
"""In the mailbox of the rehearsal: a large one, but there are larger."""
SECONDS: Final = 5.0
"""After which it is given up."""
_NOBODY: Final = AccountId(0)
_PIECE: Final = 1 << 20
_TAIL: Final = 1024
_COMMANDS: Final = (
    b"LOGIN nobody nothing",
    b"SELECT INBOX",
    b"FETCH 1:* (FLAGS)",
    b"SEARCH UNSEEN",
    b"NOOP",
    b"UNSELECT",
    b"LOGOUT",
)


class Failed(Exception):
    """A command was not answered with OK; the text is what was said."""


class _Stage(Snapshots):
    """The mailbox of the rehearsal, which never changes."""

    def __init__(self, services: Services, view: Snapshot) -> None:
        super().__init__(services.database)
        self._view = view

    def at_once(self, account: AccountId, name: str) -> Snapshot | None:
        super().at_once(account, name)
        return self._view.share()

    async def follow(self, account: AccountId, since: Mailbox) -> Delta:
        with contextlib.suppress(MailboxNotFound):
            await super().follow(account, since)
        return Delta(self._view.mailbox, self._view.recent, [], [], [], True)


async def rehearse(services: Services) -> None:
    """Play it. Raises Failed, DatabaseError, TimeoutError."""
    async with asyncio.timeout(SECONDS):
        await _session(services, await _opened(services))


async def _opened(services: Services) -> Snapshot:
    """Ask for a mailbox as it is asked for when it is opened, and make up the rest."""
    constant = array("q", bytes(8 * MESSAGES))
    uids, none = array("I", range(1, MESSAGES + 1)), bytes(2 * MESSAGES)
    flags, words = array("B", none[:MESSAGES]), array("H", none)
    pressed = snapshotpages.closed([uids, constant, constant, flags, constant, words])

    def load(reader: Reader) -> Loaded:
        snapshot.vanished(reader, _NOBODY, 0, 0)
        snapshotpages.only(reader, _NOBODY, 0)
        snapshotpages.load(reader, _NOBODY, 0)
        pages = snapshotpages.joined([(1, MESSAGES + 1, MESSAGES, 1, "", pressed)])
        assert pages is not None
        return pages

    database = services.database
    await database.read(lambda reader: mailboxes.find(reader, _NOBODY, INBOX), point=True)
    with contextlib.suppress(MailboxNotFound):
        await services.snapshots.open(_NOBODY, 0)
    await database.read(load)
    pages = await database.read(load, point=True)
    return Snapshot.of_pages(Mailbox(0, INBOX, 1, MESSAGES + 1, 1, ""), MESSAGES + 1, pages)


async def _session(services: Services, view: Snapshot) -> None:
    async def authenticate(login: str, password: str, client: str) -> Authenticated:
        return Authenticated(_NOBODY, login, "", False)

    stage = _Stage(services, view)
    staged = replace(services, authenticate=authenticate, snapshots=stage, imap=NO_LIMITS)
    core, driver = imap_session(staged, tls_available=False)
    core.allow_plaintext_login()
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    await loop.connect_accepted_socket(lambda: Pump(core, driver, loop), ours)
    with theirs:
        for tag, command in enumerate(_COMMANDS):
            await loop.sock_sendall(theirs, b"%d %b\r\n" % (tag, command))
            await _ok(theirs, b"\r\n%d " % tag)


async def _ok(client: socket.socket, tag: bytes) -> None:
    """Read on to the end of the line that begins with `tag`. Raises Failed."""
    loop, said = asyncio.get_running_loop(), b"\r\n"
    while not said.endswith(b"\r\n") or tag not in said:
        piece = await loop.sock_recv(client, _PIECE)
        if not piece:
            break
        said = said[-_TAIL:] + piece
    status = said[said.rfind(tag) + len(tag) :]
    if not status.startswith(b"OK"):
        raise Failed(status.decode("ascii", "replace").strip())
