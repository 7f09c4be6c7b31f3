"""The IMAP session: hands the commands of the protocol core to those who know what to do with them.

One row per command. A command that waits (for the database, for hashing) is a coroutine; the pump goes
on when it is done. Errors of the store become NO with their response code here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.access.imap import (
    contexts,
    fetch,
    fetch_one,
    listing,
    mailboxes,
    messages,
    metadata,
    multisearch,
    permissions,
    quota,
    search,
    sort,
    urlauth,
)
from posthouse.access.imap.append import Appending
from posthouse.access.imap.notifications import Notifications
from posthouse.access.imap.selected import NoSuchMessage
from posthouse.access.imap.state import BAD_SET, CLOSED, GONE, LOST, RightsLost, User, completed
from posthouse.access.services import Services
from posthouse.accounts.authentication import Answer, Authenticated
from posthouse.accounts.usage import NoSuchAccount
from posthouse.db import DatabaseError, DiskFull, Overloaded
from posthouse.mail.envelope import AccountId
from posthouse.mail.reply import Reply
from posthouse.net.begun import begun
from posthouse.net.compression import Deflate
from posthouse.net.limits import is_this_machine
from posthouse.net.session import Stream, Through
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.offers import Offers
from posthouse.protocol.imap.server import (
    BAD_CREDENTIALS,
    TRY_LATER,
    AppendAbort,
    AppendEnd,
    AppendWhole,
    Connected,
    IdleEnd,
    Literal,
    Result,
    ServerSession,
)
from posthouse.protocol.imap.syntax import quoted
from posthouse.protocol.sasl import Certificate, Evidence, Keys, KeysWanted, Proof, Refused, Token
from posthouse.store.flags import BadKeyword
from posthouse.store.mailboxes import MailboxError, MailboxNotFound
from posthouse.store.notify import Watch

if TYPE_CHECKING:
    from posthouse.net.pump import Pump

_log = log.get("access")

STILL_HERE = 120.0
"""Seconds between two signs of life to a client in IDLE; routers forget a silent connection after minutes."""

Handler: TypeAlias = Callable[[User, Any], Any]


def _refusal(reply: Reply) -> Result:
    if reply.transient:
        return Result("NO", reply.text, "UNAVAILABLE")
    return BAD_CREDENTIALS._replace(text=reply.text)


_HANDLERS: dict[type, Handler] = {
    commands.Select: mailboxes.select,
    commands.Unselect: mailboxes.unselect,
    commands.Create: mailboxes.create,
    commands.Delete: mailboxes.delete,
    commands.Rename: mailboxes.rename,
    commands.Subscribe: mailboxes.subscribe,
    commands.Unsubscribe: mailboxes.unsubscribe,
    commands.Status: mailboxes.status,
    commands.GetMetadata: metadata.get_metadata,
    commands.SetMetadata: metadata.set_metadata,
    commands.SetAcl: permissions.set_acl,
    commands.DeleteAcl: permissions.delete_acl,
    commands.GetAcl: permissions.get_acl,
    commands.ListRights: permissions.list_rights,
    commands.MyRights: permissions.my_rights,
    commands.GetQuota: quota.get_quota,
    commands.GetQuotaRoot: quota.get_quota_root,
    commands.GenUrlAuth: urlauth.generate,
    commands.ResetKey: urlauth.reset_key,
    commands.List: listing.list_mailboxes,
    commands.Lsub: listing.list_subscribed,
    commands.Close: messages.close,
    commands.Expunge: messages.expunge,
    commands.Store: messages.store,
    commands.Copy: messages.copy,
    commands.Move: messages.move,
    commands.Search: search.search,
    commands.MultiSearch: multisearch.esearch,
    commands.Sort: sort.sort,
    commands.CancelUpdate: contexts.cancel_update,
    commands.Thread: sort.thread,
}

PROGRESS_SECONDS = 10.0
"""After which a client is told that its command is being worked on, again and again (RFC 9585 §3)."""

_OF_SELECTED = (
    commands.Noop,
    commands.Check,
    commands.Close,
    commands.Expunge,
    commands.Store,
    commands.Copy,
    commands.Move,
    commands.Search,
    commands.Sort,
    commands.Thread,
    commands.Fetch,
    IdleEnd,
)
"""Commands for which a mailbox that is not found is the selected one."""


@lru_cache(maxsize=4)
def _offers(configured: Offers, message_size_limit: int) -> Offers:
    """The same value for all sessions."""
    return configured._replace(append_limit=message_size_limit)


def imap_session(services: Services, *, tls_available: bool) -> tuple[ServerSession, ImapSession]:
    """The core and the driver of a new connection."""
    driver = ImapSession(services, tls_available=tls_available)
    return driver.core, driver


class ImapSession:
    """The driver of one connection. `core` goes to the pump beside it."""

    def __init__(self, services: Services, *, tls_available: bool) -> None:
        self.core = ServerSession(
            services.hostname,
            tls_available=tls_available,
            offers=_offers(services.imap, services.message_size_limit),
            mechanisms=services.mechanisms,
        )
        self._services = services
        self._pump: Pump | None = None
        self._user: User | None = None
        self._appending: Appending | None = None
        self._closed = False
        self._watch: Watch | None = None
        self._pushing: asyncio.Task[None] | None = None
        self._push_again = False
        self._alive: asyncio.TimerHandle | None = None
        self._compressed = False
        self._notifications: Notifications | None = None
        self._progress: asyncio.TimerHandle | None = None

    # What the pump calls

    def connected(self, pump: Pump) -> None:
        """The connection stands."""
        self._pump = pump
        self._services.anteroom.enter(pump, self.core)
        if self._services.auth_allow_cleartext or is_this_machine(pump.peer.address):
            self.core.allow_plaintext_login()

    def handle(self, event: Any) -> Any:
        """The answer to an event of the core."""
        if self._notifications is not None and type(event) is not Literal:
            working = self._notifications.working
            if working is not None:
                return self._after(working, event)
        return _EVENTS.get(type(event), ImapSession._command)(self, event)

    def _connected(self, event: Connected) -> None:
        """A client is greeted, whoever he is."""

    def _literal(self, event: Literal) -> None:
        assert self._appending is not None
        self._appending.feed(event.octets)

    def _fetch(self, event: commands.Fetch) -> Any:
        user = self._known_user
        try:
            known = fetch_one.at_hand(user, event)
            if known is not None:
                return known
            answer = fetch.fetch(user, event)
        except NoSuchMessage:
            return BAD_SET
        except DatabaseError:
            return TRY_LATER
        return answer if isinstance(answer, Stream) else begun(answer)

    def _select(self, event: commands.Select) -> Any:
        try:
            known = mailboxes.select_at_hand(self._known_user, event)
        except (MailboxError, DatabaseError):
            known = None  # the longer way says what is wrong
        return self._command(event) if known is None else known

    def _url_fetch(self, event: commands.UrlFetch) -> Any:
        return urlauth.fetch(self._known_user, event)

    def _command(self, event: Any) -> Any:
        user = self._known_user
        user.progress = None
        answer = begun(self._answered(event, user))
        return self._telling_progress(answer, user) if isawaitable(answer) else answer

    @property
    def _known_user(self) -> User:
        """Who has logged in; the core lets nothing through that needs a user before there is one."""
        assert self._user is not None
        return self._user

    async def _after(self, working: asyncio.Task[None], event: Any) -> Any:
        """Answer an event once the client has been told what is new."""
        await asyncio.wait([working])
        answer = self.handle(event)
        while isawaitable(answer):
            answer = await answer
        return answer

    def closed(self, reason: str) -> None:
        """The connection has ended."""
        self._closed = True
        self._services.anteroom.leave(self._pump)
        if self._appending is not None:
            self._appending.discard()
        self._stop_idling()
        self._notify_no_more()

    async def _answered(self, event: Any, user: User) -> Result | None:
        closed = CLOSED if isinstance(event, commands.Select) and user.selected is not None else b""
        result = await self._guarded(event, user)
        return result._replace(untagged=closed + result.untagged) if closed and result else result

    async def _telling_progress(self, answer: Awaitable[Result | None], user: User) -> Result | None:
        """The answer to a command that takes a while."""
        self._progress = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, self._tell_progress, user)
        try:
            return await answer
        finally:
            self._progress.cancel()

    def _tell_progress(self, user: User) -> None:
        """INPROGRESS (RFC 9585 §3): the command takes long, and goes on."""
        assert self._pump is not None
        state = b"NIL NIL" if user.progress is None else b"%d %d" % user.progress
        line = b"* OK [INPROGRESS (%b %b)] Still working\r\n" % (quoted(self.core.tag), state)
        self._pump.push(line)
        self._progress = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, self._tell_progress, user)

    async def _guarded(self, event: Any, user: User) -> Result | None:
        """Handles an event; what the store cannot do becomes a result."""
        try:
            changed = await user.look_at_rights()
            result = await self._answer_to(event, user)
            return result._replace(untagged=changed + result.untagged) if changed and result else result
        except RightsLost:
            return LOST
        except NoSuchMessage:
            return BAD_SET
        except BadKeyword as problem:
            return Result("NO", str(problem), "LIMIT")
        except MailboxError as problem:
            if type(problem) is MailboxNotFound and isinstance(event, _OF_SELECTED):
                return GONE
            return Result("NO", str(problem), problem.code)
        except NoSuchAccount:
            return Result("BYE", "The account has been removed")
        except DiskFull:
            return Result("NO", "The storage is full", "UNAVAILABLE")
        except Overloaded:
            return Result("NO", "Too much to do right now, try again later", "UNAVAILABLE")
        except DatabaseError as problem:
            _log.warning("the database is away", reason=str(problem))
            return TRY_LATER

    def _answer_to(self, event: Any, user: User) -> Awaitable[Result | None]:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            answer: Awaitable[Result | None] = handler(user, event)
            return answer
        own = _OWN[type(event)]
        return own(self, event, user)

    # Commands of the session itself

    def _keys(self, event: KeysWanted) -> Any:
        return begun(self._find_keys(event))

    async def _find_keys(self, event: KeysWanted) -> Keys | Result:
        assert self._pump is not None
        keys = await self._services.judge().keys(event.identity, event.mechanism, self._pump.peer.address)
        return _refusal(keys) if isinstance(keys, Reply) else keys

    def _login(self, event: commands.Login | Evidence) -> Any:
        return begun(self._let_in(event))

    async def _let_in(self, event: commands.Login | Evidence) -> Result | Refused:
        assert self._pump is not None
        client = self._pump.peer.address
        if isinstance(event, commands.Login):
            outcome: Answer = await self._services.authenticate(event.login, event.password, client)
        else:
            outcome = await self._services.judge().judge(event, client)
        if isinstance(outcome, Refused):
            return Refused(outcome.challenge, _refusal(outcome.then))
        if not isinstance(outcome, Authenticated):
            return _refusal(outcome)
        self._user = User(self._services, AccountId(outcome.account), outcome.login, self.core.enabled)
        self._services.anteroom.leave(self._pump)
        return completed("LOGIN")

    def _unauthenticate(self, event: commands.Unauthenticate) -> Result | Through:
        """UNAUTHENTICATE (RFC 8437 §3): nothing of the user stays, compression neither."""
        assert self._pump is not None
        self._notify_no_more()
        self._user = None
        self._services.anteroom.enter(self._pump, self.core)
        compressed, self._compressed = self._compressed, False
        done = completed("UNAUTHENTICATE")
        return Through(done, None) if compressed else done

    def _compress(self, event: commands.Compress) -> Result | Through:
        """COMPRESS (RFC 4978). TLS never compresses here, so nothing is packed twice."""
        if self._compressed:
            return Result("NO", "Compression is active already", "COMPRESSIONACTIVE")
        self._compressed = True
        return Through(Result("OK", "DEFLATE active"), Deflate())

    async def _noop(self, event: Any, user: User) -> Result:
        return completed(type(event).__name__.upper(), untagged=await user.news(expunges=True))

    async def _append(self, event: commands.Append, user: User) -> Result | None:
        appending = Appending(user, event)
        refused = await appending.begin()
        if refused is None:
            self._appending = appending
        return refused

    async def _append_next(self, event: commands.AppendNext | AppendWhole, user: User) -> Result | None:
        appending = self._taken()
        refused: Result | None = TRY_LATER
        try:
            if isinstance(event, AppendWhole):
                refused = await appending.whole(event.messages)
            else:
                refused = await appending.next(event)
        finally:
            self._go_on(appending, refused)
        return refused

    async def _catenate(
        self, event: commands.CatenateText | commands.CatenateUrl, user: User
    ) -> Result | None:
        appending = self._taken()
        refused: Result | None = TRY_LATER
        try:
            if isinstance(event, commands.CatenateText):
                refused = appending.text(event)
            else:
                refused = await appending.url(event)
        finally:
            self._go_on(appending, refused)
        return refused

    async def _append_end(self, event: AppendEnd, user: User) -> Result:
        appending = self._taken()
        try:
            return await appending.end()
        finally:
            appending.discard()

    async def _append_abort(self, event: AppendAbort, user: User) -> None:
        self._taken().discard()

    def _taken(self) -> Appending:
        """The APPEND in hand, which nobody else discards now."""
        appending, self._appending = self._appending, None
        assert appending is not None
        return appending

    def _go_on(self, appending: Appending, refused: Result | None) -> None:
        """More of it comes, unless it is refused or the client has left."""
        if refused is None and not self._closed:
            self._appending = appending
        else:
            appending.discard()

    # NOTIFY (RFC 5465)

    async def _notify(self, event: commands.Notify, user: User) -> Result:
        self._notify_no_more()
        user.told = None
        if not event.groups:
            user.told = frozenset()  # RFC 5465 §3.1: nothing at all
            return completed("NOTIFY")
        assert self._pump is not None
        notifications = Notifications(user, event, self.core, self._pump)
        said = await notifications.begin(status=event.status)
        self._notifications, self.core.rested = notifications, notifications.rested
        return completed("NOTIFY", untagged=said)

    def _notify_no_more(self) -> None:
        if self._notifications is not None:
            self._notifications.close()
            self._notifications = self.core.rested = None

    # IDLE (RFC 2177)

    async def _idle(self, event: commands.Idle, user: User) -> Result | None:
        if user.selected is not None:
            # Watch first, then look: what changes in between is not missed.
            self._watch = self._services.notifier.watch(user.selected.account, self._changed)
            self._changed(user.selected.account, 0)
        self._alive = asyncio.get_running_loop().call_later(STILL_HERE, self._still_here)
        return None

    def _still_here(self) -> None:
        """A word now and then, so that what stands between us and the client does not forget it."""
        assert self._pump is not None
        self._alive = asyncio.get_running_loop().call_later(STILL_HERE, self._still_here)
        if not self._pump.congested:
            self._pump.push(b"* OK Still here\r\n")

    async def _idle_end(self, event: IdleEnd, user: User) -> Result:
        self._stop_idling()
        if self._pushing is not None:
            await self._pushing
        return completed("IDLE", untagged=await user.news(expunges=True))

    def _stop_idling(self) -> None:
        self._stop_watching()
        if self._alive is not None:
            self._alive.cancel()
            self._alive = None

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _changed(self, account: AccountId, modseq: int) -> None:
        """Something of the account has changed: look, unless somebody is looking, who then looks again."""
        self._push_again = True
        if self._pushing is None:
            self._pushing = asyncio.get_running_loop().create_task(self._push())

    async def _push(self) -> None:
        assert self._user is not None
        assert self._pump is not None
        try:
            while self._push_again and self._watch is not None:
                self._push_again = False
                if self._pump.congested:
                    return  # told at the end of IDLE, or with the next change
                self._pump.push(await self._user.look_at_rights() + await self._user.news(expunges=True))
        except (MailboxNotFound, RightsLost):
            self._stop_watching()  # said at the end of IDLE
        except DatabaseError as problem:
            _log.warning("cannot tell an idle client what is new", reason=str(problem))
        finally:
            self._pushing = None


_EVENTS: dict[type, Callable[[ImapSession, Any], Any]] = {
    Literal: ImapSession._literal,
    Connected: ImapSession._connected,
    KeysWanted: ImapSession._keys,
    commands.Login: ImapSession._login,
    Proof: ImapSession._login,
    Certificate: ImapSession._login,
    Token: ImapSession._login,
    commands.Compress: ImapSession._compress,
    commands.Unauthenticate: ImapSession._unauthenticate,
    commands.Fetch: ImapSession._fetch,
    commands.Select: ImapSession._select,
    commands.UrlFetch: ImapSession._url_fetch,
}
"""What is not answered as other commands are."""

_OWN: dict[type, Callable[[ImapSession, Any, User], Awaitable[Result | None]]] = {
    commands.Noop: ImapSession._noop,
    commands.Check: ImapSession._noop,
    commands.Append: ImapSession._append,
    commands.AppendNext: ImapSession._append_next,
    AppendWhole: ImapSession._append_next,
    commands.CatenateText: ImapSession._catenate,
    commands.CatenateUrl: ImapSession._catenate,
    AppendEnd: ImapSession._append_end,
    AppendAbort: ImapSession._append_abort,
    commands.Notify: ImapSession._notify,
    commands.Idle: ImapSession._idle,
    IdleEnd: ImapSession._idle_end,
}
