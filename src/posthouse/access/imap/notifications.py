"""NOTIFY (RFC 5465): what happens in many mailboxes, told whenever no command is in hand.

After each change of the account the mailboxes are looked at: those whose modseq has moved are counted
anew, and what the client has asked for is told as STATUS, LIST, or for the selected mailbox as ever. A
client that does not take what it is told is told no more of it (NOTIFICATIONOVERFLOW).

The mailboxes are the user's own. Changes in those of others are told while they are selected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from posthouse.access.imap import fetch
from posthouse.access.imap.mailboxes import status_line
from posthouse.access.imap.state import User
from posthouse.db import DatabaseError
from posthouse.net.session import Stream
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.notifying import Event, Group
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.sources import Among, chosen
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store import mailboxes
from posthouse.store.mailboxes import MailboxNotFound, Status

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId
    from posthouse.net.pump import Pump
    from posthouse.protocol.imap.server import ServerSession

_log = log.get("access")
_OVERFLOW = b"* OK [NOTIFICATIONOVERFLOW] You are told no more\r\n"


class _Known(NamedTuple):
    """What the client may know of all mailboxes."""

    statuses: dict[int, Status]
    """By the mailbox's id."""
    subscribed: frozenset[str]


class Notifications:
    """What one client is told, until closed. `core` says when; `pump` takes it."""

    def __init__(self, user: User, command: commands.Notify, core: ServerSession, pump: Pump) -> None:
        self.working: asyncio.Task[None] | None = None
        """A look in progress: no command may begin before it ends."""
        self._user = user
        self._groups = command.groups
        self._core = core
        self._pump = pump
        self._again = False
        self._known = _Known({}, frozenset())
        self._watch = user.services.notifier.watch(user.account, self._changed)

    async def begin(self, *, status: bool) -> bytes:
        """Learn how things are; with `status`, what is said of them."""
        self._known = await self._user.read_much(lambda reader: self._look_at_all(reader, {}))
        return b"".join(self._statuses(self._known.statuses, _Known({}, frozenset()))) if status else b""

    def close(self) -> None:
        self._watch.close()
        self._groups = ()

    def rested(self) -> None:
        """No command is in hand any more."""
        if self._again:
            self._start()

    def _changed(self, account: AccountId, modseq: int) -> None:
        self._again = True
        self._start()

    def _start(self) -> None:
        if self.working is None and self._groups and self._core.at_rest:
            self.working = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._again and self._groups and self._core.at_rest:
                self._again = False
                async for said in self._news():
                    if self._pump.congested:
                        self._pump.push(_OVERFLOW)  # RFC 5465 §5.8
                        self.close()
                        return
                    self._pump.push(said)
        except MailboxNotFound:
            self.close()  # the selected one: said with the next command
        except DatabaseError as problem:
            _log.warning("cannot tell a client what is new", reason=str(problem))
        finally:
            self.working = None

    async def _news(self) -> AsyncIterator[bytes]:
        before = self._known
        self._known = await self._user.read_much(lambda reader: self._look_at_all(reader, before.statuses))
        for line in (*self._names(self._known, before), *self._statuses(self._known.statuses, before)):
            yield line
        group = next((one for one in self._groups if one.source.among in _SELECTED), None)
        if group is None or not group.events or self._user.selected is None:
            return
        uidnext = self._user.open.view.mailbox.uidnext
        yield await self._user.news(expunges=group.source.among is Among.SELECTED)
        if group.items and self._user.open.view.mailbox.uidnext > uidnext:
            async for said in self._fetched(group, uidnext):
                yield said

    async def _fetched(self, group: Group, first: int) -> AsyncIterator[bytes]:
        """What the client wants to know of new messages (RFC 5465 §5.2)."""
        numbers = SequenceSet(((first, self._user.open.view.mailbox.uidnext - 1),))
        answer = fetch.fetch(self._user, commands.Fetch(numbers, group.items, True))
        if not isinstance(answer, Stream):
            yield (await answer).untagged
            return
        assert isinstance(answer.pieces, AsyncIterator)
        async for piece in answer.pieces:
            yield piece
        yield answer.then.untagged

    def _look_at_all(self, reader: Reader, known: dict[int, Status]) -> _Known:
        """The mailboxes as they are; only those that changed are counted anew."""
        account = self._user.account
        statuses = {}
        for mailbox in mailboxes.every(reader, account):
            old = known.get(mailbox.id)
            if old is not None and old.mailbox.modseq == mailbox.modseq:
                statuses[mailbox.id] = old._replace(mailbox=mailbox)
            else:
                statuses[mailbox.id] = mailboxes.status(reader, account, mailbox.name)
        return _Known(statuses, mailboxes.subscriptions(reader, account))

    def _events(self, names: list[str]) -> dict[str, frozenset[Event]]:
        """What is to be told of each mailbox: the first group that has it says so (RFC 5465 §6)."""
        found: dict[str, frozenset[Event]] = {}
        for group in self._groups:
            for name in chosen(group.source, names, self._known.subscribed.__contains__):
                found.setdefault(name, group.events)
        return found

    def _statuses(self, now: dict[int, Status], before: _Known) -> list[bytes]:
        """STATUS of mailboxes, not the selected one, in which something happened that is of interest."""
        wanted = self._events([status.mailbox.name for status in now.values()])
        lines = []
        for id, status in now.items():
            selected = self._user.selected
            if selected is not None and (selected.account, selected.mailbox) == (self._user.account, id):
                continue
            items = _items(wanted.get(status.mailbox.name, frozenset()), status, before.statuses.get(id))
            if items:
                if self._user.enabled.condstore:
                    items.append("HIGHESTMODSEQ")
                lines.append(status_line(self._user, status.mailbox.name, status, items))
        return lines

    def _names(self, now: _Known, before: _Known) -> list[bytes]:
        """LIST of names that came, went or changed, and of subscriptions (RFC 5465 §5.4, §5.5)."""
        old = {id: status.mailbox.name for id, status in before.statuses.items()}
        new = {id: status.mailbox.name for id, status in now.statuses.items()}
        wanted = self._events([*new.values(), *(name for id, name in old.items() if id not in new)])
        lines = []

        def tell(event: Event, name: str, attributes: str, older: str = "") -> None:
            if event in wanted.get(name, frozenset()) | wanted.get(older, frozenset()):
                line = b'* LIST (%b) "/" %b' % (attributes.encode(), self._octets(name))
                more = b' ("OLDNAME" (%b))' % self._octets(older) if older else b""
                lines.append(line + more + b"\r\n")

        for id in sorted(old.keys() - new.keys()):
            tell(Event.NAME, old[id], "\\NonExistent")
        for id, name in new.items():
            if old.get(id) != name:
                tell(Event.NAME, name, "\\Subscribed" if name in now.subscribed else "", old.get(id, ""))
        for name in sorted(now.subscribed ^ before.subscribed):
            wanted.update(self._events([name]))
            tell(Event.SUBSCRIPTION, name, "\\Subscribed" if name in now.subscribed else "")
        return lines

    def _octets(self, name: str) -> bytes:
        return mailbox_octets(name, self._user.enabled)


_SELECTED = (Among.SELECTED, Among.SELECTED_DELAYED)


def _items(events: frozenset[Event], now: Status, before: Status | None) -> list[str]:
    """The numbers of a mailbox that say what happened in it (RFC 5465 §5.1 to §5.3)."""
    if before is None:
        return ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"] if Event.NEW in events else []
    if now.mailbox.modseq == before.mailbox.modseq:
        return []
    arrived = now.mailbox.uidnext - before.mailbox.uidnext
    expunged = before.messages + arrived - now.messages
    if Event.NEW in events and (arrived or expunged):
        return ["MESSAGES", "UIDNEXT", "UIDVALIDITY", *(("UNSEEN",) if Event.FLAGS in events else ())]
    return ["UIDVALIDITY", "UNSEEN"] if Event.FLAGS in events else []
