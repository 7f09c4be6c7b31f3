"""What a session of IMAP or POP3 needs of the rest of the program, as app.py hands it in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from posthouse.access.imap.readahead import ReadAhead
from posthouse.net.anteroom import Anteroom
from posthouse.protocol import sasl
from posthouse.protocol.imap.offers import NO_LIMITS, Offers

if TYPE_CHECKING:
    from posthouse.access.imap.facts import Knowledge
    from posthouse.accounts.authentication import Answer, Authenticated
    from posthouse.db import Database
    from posthouse.db.blobs import Blobs
    from posthouse.mail.reply import Reply
    from posthouse.ports import Clock
    from posthouse.store.content import Contents
    from posthouse.store.fulltext import FullText
    from posthouse.store.notify import Notifier
    from posthouse.store.shared import Snapshots

Authenticate: TypeAlias = "Callable[[str, str, str], Awaitable[Authenticated | Reply]]"
"""Login name, password, address of the client → who it is, or why not."""


class Judge(Protocol):
    """See `posthouse.accounts.authentication.Authenticator`."""

    async def keys(self, login: str, mechanism: str, client: str) -> sasl.Keys | Reply: ...
    async def judge(self, evidence: sasl.Evidence, client: str) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Services:
    """Shared by all sessions of a worker."""

    database: Database
    blobs: Blobs
    contents: Contents
    notifier: Notifier
    snapshots: Snapshots
    knowledge: Knowledge
    authenticate: Authenticate
    clock: Clock
    new_id: Callable[[], int]
    """Ids of new messages."""
    spool_directory: Path
    """Where large messages wait until they are stored; on the blobs' file system."""
    message_size_limit: int
    """Octets of one message."""
    mailbox_size_limit: int
    """Quota of accounts without one of their own, octets; 0: none."""
    hostname: str
    authenticator: Judge | None = None
    """Who judges what is no password, where `mechanisms` hold more than PLAIN and LOGIN."""
    mechanisms: Sequence[str] = sasl.USUAL
    """Of SASL, those that are configured, in the order in which they are offered."""
    auth_allow_cleartext: bool = False
    """Passwords without TLS are taken from everybody, not only from this machine."""
    fulltext: FullText | None = None
    """The full-text index; None: messages are read."""
    read_ahead: ReadAhead = field(default_factory=ReadAhead)
    imap: Offers = NO_LIMITS
    """What IMAP offers, but for `message_size_limit`."""
    append_8bit_headers: bool = True
    """APPEND takes 8-bit header fields also from clients of IMAP that have not enabled UTF-8."""
    pop3_lock_session: bool = False
    """A POP3 maildrop has one session at a time."""
    pop3_downgrade: bool = True
    """Internationalized messages are downgraded for clients of POP3 that have not said UTF8."""
    anteroom: Anteroom = field(default_factory=Anteroom)
    """Where clients stay until they have logged in."""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def judge(self) -> Judge:
        """Only where a mechanism that needs it is offered."""
        assert self.authenticator is not None
        return self.authenticator

    def later(self, work: Coroutine[Any, Any, object]) -> None:
        """Let `work` go on after the session's answer, or its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
