"""POP3 over the store: the maildrop is INBOX, or the mailbox that the login name chooses (RFC 1939).

`alice@example.org` opens INBOX, `alice@example.org/Lists/Python` that mailbox: a domain has no slash, so
what follows it is a name, as IMAP has it. `alice@example.org/Shared/info@example.org/INBOX` is a mailbox of
others, which she must be allowed to read (RFC 4314): without the rights `t` and `e` DELE is refused there,
and without `s` what she retrieves does not become \\Seen.

A client that has not said UTF8 before its login gets internationalized messages downgraded (`downgrading`),
and the sizes are those of what it gets (RFC 6856 §2.1).

The maildrop is what the mailbox held at login; messages that come later are of the next session. Octets are
removed at QUIT only, and there in one transaction with \\Seen for what was retrieved, so that IMAP clients
see what was read. A unique-id is made of UIDVALIDITY and UID, which never change for a message.

With `pop3.lock_session` a maildrop has one session at a time, on whatever host: a lease that a session
which is gone loses after some seconds. Without, several may be open at once (RFC 1939 §4 would have
one): messages never change under a session, and what another removed is told when it is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from posthouse.access import places
from posthouse.access.places import NoPermission, Visitor
from posthouse.access.pop3 import downgrading
from posthouse.access.pop3.lock import MaildropLock
from posthouse.access.services import Services
from posthouse.accounts.authentication import Answer, Authenticated
from posthouse.accounts.usage import NoSuchAccount
from posthouse.db import DatabaseError
from posthouse.mail.content import CHUNK
from posthouse.mail.envelope import AccountId
from posthouse.mail.reply import Reply
from posthouse.net.begun import begun
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
    Quit,
    Refusal,
    ResponseWriter,
    Retrieve,
    ServerSession,
)
from posthouse.protocol.sasl import Certificate, Evidence, Keys, KeysWanted, Proof, Refused, Token
from posthouse.store import changes, read, snapshot
from posthouse.store.changes import Action
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import INBOX, BadMailboxName, MailboxError, MailboxNotFound
from posthouse.store.snapshot import Snapshot
from posthouse.store.surrogates import NOTHING, Known, Surrogate, known
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.net.pump import Pump
    from posthouse.store.rights import Rights

_log = log.get("access")
T = TypeVar("T")

_EXPUNGED = Refusal("The message has been removed by another session", "SYS/PERM")
_LOST = Refusal("You may no longer read this mailbox", "SYS/PERM")
_DELETE = "te"
"""What QUIT needs to remove messages: it marks and expunges at once (RFC 4314 §4)."""


class _Opened(NamedTuple):
    """The maildrop of a session."""

    user: Visitor
    account: AccountId
    """Whose mailbox it is."""
    view: Snapshot
    surrogates: Mapping[int, int]
    """UID and octets of each message that is sent in another form than it has."""

    def held(self, reader: Reader | Tx) -> Rights:
        """What the user may do there now."""
        return places.held(reader, self.user, self.account, self.view.mailbox.id)


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
        self._pump: Pump | None = None
        self._opened: _Opened | None = None
        self._retrieved: set[int] = set()
        self._lock: MaildropLock | None = None

    # What the pump calls

    def connected(self, pump: Pump) -> None:
        """The connection stands."""
        self._client = pump.peer.address
        self._pump = pump
        self._services.anteroom.enter(pump, self.core)
        if self._services.auth_allow_cleartext or is_this_machine(self._client):
            self.core.allow_plaintext_login()

    def handle(self, event: Any) -> Any:
        """The answer to an event of the core."""
        if isinstance(event, Connected):
            return None
        if isinstance(event, Listing):
            return Stream(event.chunks)
        if isinstance(event, KeysWanted):
            return begun(self._keys(event))
        if isinstance(event, Login | Proof | Certificate | Token):
            return begun(self._login(event))
        if isinstance(event, Retrieve):
            return self._retrieve(event)
        assert isinstance(event, Quit)
        return self._quit(event)

    def closed(self, reason: str) -> None:
        """The connection has ended; without QUIT nothing is removed (RFC 1939 §3)."""
        self._services.anteroom.leave(self._pump)
        self._pump = None
        self._unlock()

    # Events

    async def _keys(self, event: KeysWanted) -> Keys | Refusal:
        login, _ = split_login(event.identity)
        keys = await self._services.judge().keys(login, event.mechanism, self._client)
        return _refusal(keys) if isinstance(keys, Reply) else keys

    async def _login(self, event: Login | Evidence) -> Maildrop | Refusal | Refused:
        if isinstance(event, Login):
            login, name = split_login(event.login)
            outcome: Answer = await self._services.authenticate(login, event.password, self._client)
        else:
            login, name = split_login(event.identity)
            outcome = await self._services.judge().judge(replace(event, identity=login), self._client)
        if isinstance(outcome, Refused):
            return Refused(outcome.challenge, _refusal(outcome.then))
        if not isinstance(outcome, Authenticated):
            return _refusal(outcome)
        user = Visitor(AccountId(outcome.account), outcome.login, self._services.database)
        try:
            maildrop = await self._open(user, name)
        except NoPermission as problem:
            maildrop = Refusal(str(problem), "SYS/PERM")
        except (BadMailboxName, MailboxNotFound):
            maildrop = NO_SUCH_MAILBOX
        except DatabaseError as problem:
            _log.warning("the database is away", reason=str(problem))
            maildrop = TRY_LATER
        if isinstance(maildrop, Refusal):
            self._unlock()
        else:
            self._services.anteroom.leave(self._pump)
        return maildrop

    async def _open(self, user: Visitor, name: str) -> Maildrop | Refusal:
        """Lock the maildrop, where that is asked for, then look what is in it.

        Raises DatabaseError, BadMailboxName, MailboxNotFound, NoPermission.
        """
        services, at = self._services, await places.place(user, name)
        try:
            found = await user.read(lambda reader: places.find(reader, user, at, "r"))
        except MailboxNotFound:
            if at.full == INBOX:
                return Maildrop((), ())
            raise
        account, mailbox = found.account, found.mailbox.id
        if services.pop3_lock_session:
            lock = MaildropLock(services.database, account, mailbox)
            if not await lock.take():
                return IN_USE
            self._lock = lock
        downgrades = services.pop3_downgrade and not self.core.utf8

        def look(reader: Reader) -> tuple[Snapshot, Known]:
            view = snapshot.take(reader, account, mailbox)
            return view, known(reader, account, mailbox) if downgrades else NOTHING

        view, before = await services.database.read(look)
        others = await downgrading.sizes_of(services, account, view, before) if downgrades else {}
        self._opened = _Opened(user, account, view, others)
        uidvalidity = view.mailbox.uidvalidity
        unique_ids = [f"{uidvalidity:x}.{uid}" for uid in view.uids]
        sizes: Sequence[int] = view.sizes
        if others:
            sizes = [others.get(uid, size) for uid, size in zip(view.uids, view.sizes, strict=True)]
        return Maildrop(sizes, unique_ids, found.rights.issuperset(_DELETE))

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            self._services.later(lock.release())

    async def _retrieve(self, event: Retrieve) -> Stream | Refusal:
        opened, services = self._opened, self._services
        assert opened is not None
        account, view = opened.account, opened.view
        email, uid = view.emails[event.number - 1], view.uids[event.number - 1]

        def look(reader: Reader) -> read.Message | Refusal:
            if "r" not in opened.held(reader):
                return _LOST
            return read.open_message(reader, services.blobs, account, email) or _EXPUNGED

        try:
            found: read.Message | Surrogate | Refusal | None = await opened.user.read(look)
            if uid in opened.surrogates and not isinstance(found, Refusal):
                found = await downgrading.open_surrogate(services, account, view, uid)
            if found is None or isinstance(found, Refusal):
                return found or _EXPUNGED
            stream = await _stream_of(found, event)
        except (DatabaseError, EOFError) as problem:
            _log.warning("a message cannot be read", reason=str(problem))
            return TRY_LATER
        if event.lines is None:
            self._retrieved.add(event.number)
        return stream

    async def _quit(self, event: Quit) -> Refusal | None:
        opened, contents = self._opened, self._services.contents
        seen = sorted(self._retrieved.difference(event.deleted))
        if opened is None or not (seen or event.deleted):
            return None
        account, view = opened.account, opened.view
        unseen = [number for number in seen if not view.flags[number - 1] & Flag.SEEN]
        read_ranges = ranges_of(view.uids[number - 1] for number in unseen)
        gone_ranges = ranges_of(view.uids[number - 1] for number in event.deleted)
        mailbox = view.mailbox.id

        def update(tx: Tx) -> int:
            modseq = 0
            held = opened.held(tx)
            if read_ranges and "s" in held:
                modseq = changes.store(tx, account, mailbox, read_ranges, Action.ADD, Flag.SEEN).modseq
            if gone_ranges:
                places.require(held, _DELETE, view.mailbox.name)
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


async def _stream_of(message: read.Message | Surrogate, request: Retrieve) -> Stream:
    """The response with a message. Raises DatabaseError, before the message is promised."""
    writer = ResponseWriter(request, message.size)
    if isinstance(message, Surrogate):
        return Stream(_written(writer, b"", message.chunks()))
    data = message.data
    if data is not None:
        return Stream(_written_at_once(writer, data))
    first = await message.read(0, CHUNK)
    return Stream(_written(writer, first, message.chunks(len(first))))


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
