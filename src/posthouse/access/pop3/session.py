"""POP3 over the store: the maildrop is INBOX, or the mailbox that the login name chooses (RFC 1939).

`alice@example.org` opens INBOX, `alice@example.org/Lists/Python` that mailbox: a domain has no slash, so
what follows it is a name. The maildrop is what the mailbox held at login; messages that come later are
of the next session. Octets are removed at QUIT only, and there in one transaction with \\Seen for what
was retrieved, so that IMAP clients of the same account see what was read. A unique-id is made of
UIDVALIDITY and UID, which never change for a message.

With `pop3.lock_session` a maildrop has one session at a time, on whatever host: a lease that a session
which is gone loses after some seconds. Without, several may be open at once (RFC 1939 §4 would have
one): messages never change under a session, and what another removed is told when it is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from posthouse.access.pop3.lock import MaildropLock
from posthouse.access.services import Services
from posthouse.accounts.authentication import Authenticated
from posthouse.accounts.usage import NoSuchAccount
from posthouse.db import DatabaseError
from posthouse.mail.content import CHUNK
from posthouse.mail.envelope import AccountId
from posthouse.mail.reply import Reply
from posthouse.net.limits import is_this_machine
from posthouse.net.session import Stream
from posthouse.observe import log
from posthouse.protocol.pop3.server import (
    BAD_CREDENTIALS,
    IN_USE,
    NO_SUCH_MAILBOX,
    NOT_REMOVED,
    TRY_LATER,
    Connected,
    Listing,
    Login,
    Maildrop,
    ProvenLogin,
    Quit,
    Refusal,
    ResponseWriter,
    Retrieve,
    ServerSession,
)
from posthouse.protocol.sasl import Keys, KeysWanted
from posthouse.store import changes, mailboxes, read, snapshot
from posthouse.store.changes import Action
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import INBOX, BadMailboxName, MailboxError, MailboxNotFound
from posthouse.store.snapshot import Snapshot
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.net.pump import Pump

_log = log.get("access")
_EXPUNGED = Refusal("The message has been removed by another session", "SYS/PERM")


def pop3_session(services: Services, *, tls_available: bool) -> tuple[ServerSession, Pop3Session]:
    """The core and the driver of a new connection."""
    driver = Pop3Session(services, tls_available=tls_available)
    return driver.core, driver


class Pop3Session:
    """The driver of one connection. `core` goes to the pump beside it."""

    def __init__(self, services: Services, *, tls_available: bool) -> None:
        self.core = ServerSession(
            services.hostname, tls_available=tls_available, mechanisms=services.mechanisms
        )
        self._services = services
        self._client = ""
        self._account = AccountId(0)
        self._view: Snapshot | None = None
        self._retrieved: set[int] = set()
        self._lock: MaildropLock | None = None

    # What the pump calls

    def connected(self, pump: Pump) -> None:
        """The connection stands."""
        self._client = pump.peer.address
        if self._services.auth_allow_cleartext or is_this_machine(self._client):
            self.core.allow_plaintext_login()

    def handle(self, event: Any) -> Any:
        """The answer to an event of the core."""
        if isinstance(event, Connected):
            return None
        if isinstance(event, Listing):
            return Stream(event.chunks)
        if isinstance(event, KeysWanted):
            return self._keys(event)
        if isinstance(event, Login | ProvenLogin):
            return self._login(event)
        if isinstance(event, Retrieve):
            return self._retrieve(event)
        assert isinstance(event, Quit)
        return self._quit(event)

    def closed(self, reason: str) -> None:
        """The connection has ended; without QUIT nothing is removed (RFC 1939 §3)."""
        self._unlock()

    # Events

    async def _keys(self, event: KeysWanted) -> Keys | Refusal:
        login, _ = split_login(event.identity)
        keys = await self._services.scram().keys(login, event.mechanism, self._client)
        return _refusal(keys) if isinstance(keys, Reply) else keys

    async def _login(self, event: Login | ProvenLogin) -> Maildrop | Refusal:
        login, name = split_login(event.login)
        if isinstance(event, ProvenLogin):
            outcome = await self._services.scram().prove(login, event.proof, self._client)
        else:
            outcome = await self._services.authenticate(login, event.password, self._client)
        if not isinstance(outcome, Authenticated):
            return _refusal(outcome)
        self._account = account = AccountId(outcome.account)
        try:
            maildrop = await self._open(account, name)
        except MailboxNotFound:  # deleted this moment
            maildrop = NO_SUCH_MAILBOX
        except DatabaseError as problem:
            _log.warning("the database is away", reason=str(problem))
            maildrop = TRY_LATER
        if isinstance(maildrop, Refusal):
            self._unlock()
        return maildrop

    async def _open(self, account: AccountId, name: str) -> Maildrop | Refusal:
        """Lock the maildrop, where that is asked for, then look what is in it. Raises DatabaseError."""
        services = self._services
        try:
            name = mailboxes.canonical_name(name)
        except BadMailboxName:
            return NO_SUCH_MAILBOX
        found = await services.database.read(lambda reader: mailboxes.find(reader, account, name), point=True)
        if found is None:
            return Maildrop((), ()) if name == INBOX else NO_SUCH_MAILBOX
        mailbox = found.id
        if services.pop3_lock_session:
            lock = MaildropLock(services.database, account, mailbox)
            if not await lock.take():
                return IN_USE
            self._lock = lock
        view = await services.database.read(lambda reader: snapshot.take(reader, account, mailbox))
        self._view = view
        uidvalidity = view.mailbox.uidvalidity
        return Maildrop(view.sizes, [f"{uidvalidity:x}.{uid}" for uid in view.uids])

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            self._services.later(lock.release())

    async def _retrieve(self, event: Retrieve) -> Stream | Refusal:
        view, services, account = self._view, self._services, self._account
        assert view is not None
        email = view.emails[event.number - 1]
        try:
            message = await services.database.read(
                lambda reader: read.open_message(reader, services.blobs, account, email), point=True
            )
            if message is None:
                return _EXPUNGED
            writer = ResponseWriter(event, message.size)
            data = message.data
            if data is None:
                first = await message.read(0, CHUNK)  # before the message is promised
                stream = Stream(_written(writer, first, message.chunks(len(first))))
            else:
                stream = Stream(_written_at_once(writer, data))
        except DatabaseError as problem:
            _log.warning("a message cannot be read", reason=str(problem))
            return TRY_LATER
        if event.lines is None:
            self._retrieved.add(event.number)
        return stream

    async def _quit(self, event: Quit) -> Refusal | None:
        view, account, contents = self._view, self._account, self._services.contents
        seen = sorted(self._retrieved.difference(event.deleted))
        if view is None or not (seen or event.deleted):
            return None
        unseen = [number for number in seen if not view.flags[number - 1] & Flag.SEEN]
        read_ranges = ranges_of(view.uids[number - 1] for number in unseen)
        gone_ranges = ranges_of(view.uids[number - 1] for number in event.deleted)
        mailbox = view.mailbox.id

        def update(tx: Tx) -> int:
            modseq = 0
            if read_ranges:
                modseq = changes.store(tx, account, mailbox, read_ranges, Action.ADD, Flag.SEEN).modseq
            if gone_ranges:
                gone = changes.expunge(tx, contents, account, mailbox, gone_ranges, deleted_only=False)
                modseq = max(modseq, gone.modseq)
            return modseq

        try:
            modseq = await self._services.database.write([account], update, long=True)
        except (DatabaseError, MailboxError, NoSuchAccount) as problem:
            _log.warning("cannot update a maildrop", account=account, reason=str(problem))
            return NOT_REMOVED if event.deleted else None
        if modseq:
            self._services.notifier.changed(account, modseq)
        return None


def _refusal(reply: Reply) -> Refusal:
    return (TRY_LATER if reply.transient else BAD_CREDENTIALS)._replace(text=reply.text)


def split_login(login: str) -> tuple[str, str]:
    """Login name and mailbox of what the client gave as its name: `alice@example.org/Lists/Python`."""
    at = login.find("@")
    slash = login.find("/", at) if at > 0 and not login.startswith('"') else -1
    name = "" if slash < 0 else login[slash + 1 :]
    return (login, INBOX) if slash < 0 else (login[:slash], name or INBOX)


async def _written(
    writer: ResponseWriter, first: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    yield writer.begin() + writer.feed(first)
    async for chunk in chunks:
        if writer.done:
            break
        yield writer.feed(chunk)
    yield writer.finish()


def _written_at_once(writer: ResponseWriter, data: bytes) -> Iterator[bytes]:
    yield writer.begin()
    for start in range(0, len(data), CHUNK):
        yield writer.feed(data[start : start + CHUNK])
        if writer.done:
            break
    yield writer.finish()
