"""NOTIFY (RFC 5465): what happens in many mailboxes, told whenever no command is in hand.

After each change of an account that matters the mailboxes are looked at, and the difference to the look
before is told (`mailbox_events`); of the selected mailbox what it is told of as ever, and of its new messages
what the client has asked for. A client that does not take what it is told is told no more of it
(NOTIFICATIONOVERFLOW).

Watched are the user's own account, that of the selected mailbox, and those whose mailboxes he may see, where
his groups can mean them; rights that are given to `anyone` are told of by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from posthouse.access.imap import fetch, mailbox_events
from posthouse.access.imap.mailbox_events import NOTHING, Differences
from posthouse.access.imap.state import RightsLost, User
from posthouse.db import DatabaseError
from posthouse.net.session import Stream
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.fetching import Section
from posthouse.protocol.imap.notifying import Event, Group
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.sources import Among
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.metadata import SERVER
from posthouse.store.rights import ANYONE
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.mail.envelope import AccountId
    from posthouse.net.pump import Pump
    from posthouse.protocol.imap.server import ServerSession
    from posthouse.store.notify import Watch

_log = log.get("access")
_OVERFLOW = b"* OK [NOTIFICATIONOVERFLOW] You are told no more\r\n"
_SELECTED = (Among.SELECTED, Among.SELECTED_DELAYED)


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
        self._known = NOTHING
        self._watches: dict[AccountId, Watch] = {}
        self._of_selected = next((one for one in command.groups if one.source.among in _SELECTED), None)
        self._shown: tuple[Selected | None, int] = (None, 0)
        """The selected mailbox, and the UID from which on messages have not been shown."""
        self._watch_all()

    async def begin(self, *, status: bool) -> bytes:
        """Learn how things are; what is said of them, with `status` the numbers of mailboxes too."""
        user = self._user
        self._known = await user.read_much(
            lambda reader: mailbox_events.take(reader, user, self._groups, NOTHING)
        )
        said = Differences(user, self._groups, NOTHING, self._known).first_lines(status=status)
        news = await user.news(expunges=True)  # RFC 5465 §3.1: as NOOP would, and before anything is left out
        user.told, user.caused = told_of_selected(self._groups), set()
        self._watch_all()
        self._begin_to_show()
        return news + b"".join(said)

    def close(self) -> None:
        """Tell no more of anything."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
        self._groups = ()
        self._user.caused = None

    def rested(self) -> None:
        """No command is in hand any more."""
        self._watch_all()
        if self._user.selected is not self._shown[0]:
            self._begin_to_show()
        if self._again or self._unshown() is not None:
            self._again = True
            self._start()

    def _watch_all(self) -> None:
        """Watch the accounts that matter now, and no others."""
        user = self._user
        wanted = {user.account}
        if user.selected is not None:
            wanted.add(user.selected.account)
        if mailbox_events.goes_abroad(self._groups):
            wanted |= {account for account, _ in self._known.seen}
            wanted.add(ANYONE)
        if any(Event.SERVER_METADATA in group.events for group in self._groups):
            wanted.add(SERVER)
        for account in self._watches.keys() - wanted:
            self._watches.pop(account).close()
        for account in wanted - self._watches.keys():
            self._watches[account] = user.services.notifier.watch(account, self._changed)

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
                        self._pump.push(_OVERFLOW)  # RFC 5465 §5.8: as if NOTIFY NONE had been said
                        self._user.told = frozenset()
                        self.close()
                        return
                    self._pump.push(said)
        except (MailboxNotFound, RightsLost):
            self.close()  # the selected one: said with the next command
        except DatabaseError as problem:
            _log.warning("cannot tell a client what is new", reason=str(problem))
        finally:
            self.working = None

    async def _news(self) -> AsyncIterator[bytes]:
        user, before = self._user, self._known
        caused, user.caused = user.caused or (), set()
        put, user.put_elsewhere = user.put_elsewhere, {}
        self._known = await user.read_much(
            lambda reader: mailbox_events.take(reader, user, self._groups, before)
        )
        for line in Differences(user, self._groups, before, self._known, caused, put).lines():
            yield line
        self._watch_all()
        group = self._of_selected
        if group is None or not group.events or user.selected is None:
            return
        yield await user.look_at_rights() + await user.news(expunges=group.source.among is Among.SELECTED)
        async for said in self._show():
            yield said

    # What the client wants to know of new messages (RFC 5465 §5.2)

    def _begin_to_show(self) -> None:
        selected = self._user.selected
        self._shown = selected, 0 if selected is None else selected.view.mailbox.uidnext
        self._user.own_uids.clear()

    def _unshown(self) -> SequenceSet | None:
        """The new messages of the selected mailbox, but for those that this client has put there."""
        selected, first = self._shown
        if selected is None or self._of_selected is None or not self._of_selected.items:
            return None
        last = selected.view.mailbox.uidnext - 1
        if last < first:
            return None
        own = self._user.own_uids
        uids = ranges_of(uid for uid in range(first, last + 1) if uid not in own)
        return SequenceSet(tuple(uids)) if uids else None

    async def _show(self) -> AsyncIterator[bytes]:
        numbers, group = self._unshown(), self._of_selected
        self._begin_to_show()
        if numbers is None or group is None:
            return
        # What is told unasked leaves no message \\Seen.
        items = tuple(item._replace(peek=True) if isinstance(item, Section) else item for item in group.items)
        answer = fetch.fetch(self._user, commands.Fetch(numbers, items, True))
        if not isinstance(answer, Stream):
            yield (await answer).untagged
            return
        assert isinstance(answer.pieces, AsyncIterator)
        async for piece in answer.pieces:
            yield piece
        yield answer.then.untagged


def told_of_selected(groups: tuple[Group, ...]) -> frozenset[Event]:
    """What a client wants to be told unasked of the selected mailbox; without such a group nothing."""
    return frozenset().union(*(group.events for group in groups if group.source.among in _SELECTED))
