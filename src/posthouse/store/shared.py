"""Snapshots shared by the sessions of a worker: a mailbox is read once, however many have it open.

The newest snapshot of each mailbox is kept, and what brought it up to date from the one before. A session
that opens the mailbox gets a share of it; one that follows it is told what happened, and can then take a
share again: a thousand sessions in one mailbox hold its columns once, and a change is read once. Whether
anything has changed is asked of the database each time, so that nothing is served that is out of date.

What is kept is bounded; what was not used for longest goes first. Sessions keep what they have.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.store import snapshot
from posthouse.store.mailboxes import Mailbox, MailboxNotFound
from posthouse.store.snapshot import Delta, Snapshot

if TYPE_CHECKING:
    from posthouse.db import Database
    from posthouse.mail.envelope import AccountId
    from posthouse.store.wide import Change

MESSAGES = 2_000_000
"""Messages in all snapshots that are kept, at most; each is some 40 octets."""
REMEMBERED = 2_000
"""Changes of messages that are remembered of a mailbox, at most."""

_Key: TypeAlias = "tuple[AccountId, int]"


class _Kept(NamedTuple):
    """A mailbox as last seen."""

    newest: Snapshot
    since: int
    """The modseq from which …"""
    delta: Delta | None
    """… this brought it up to date."""
    lately: _Lately


class _Lately:
    """Which messages have changed, or come, after the modseq `since`, in the order in which it was learnt."""

    __slots__ = ("_modseqs", "_uids", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self._uids = array("I")
        self._modseqs = array("q")

    def add(self, uids: Sequence[int], modseq: int) -> None:
        """More of them; what they were changed under is `modseq` at most."""
        if len(self._uids) + len(uids) > REMEMBERED:
            self.since, self._uids, self._modseqs = modseq, array("I"), array("q")
            return
        self._uids.extend(uids)
        self._modseqs.extend([modseq] * len(uids))

    def after(self, modseq: int) -> Sequence[int]:
        """Those that have changed after a modseq, and perhaps others."""
        return self._uids[bisect_right(self._modseqs, modseq) :]


class Snapshots:
    """The snapshots of one worker; only the loop's thread uses it."""

    def __init__(self, database: Database, messages: int = MESSAGES) -> None:
        """`messages`: in all snapshots, at most."""
        self._database = database
        self._most = messages
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._messages = 0
        self._version: int | None = None
        """Of the database, when …"""
        self._named: dict[tuple[AccountId, str], int] = {}
        """… the mailboxes of these names had these ids, and were as they are kept."""

    def at_once(self, account: AccountId, name: str) -> Snapshot | None:
        """The mailbox of this canonical name as it is now, as a share, where no look is needed to know it."""
        id = self._named.get((account, name))
        if id is None or self._version != self._database.version():
            return None
        kept = self._kept.get((account, id))
        if kept is None:
            return None
        self._kept.move_to_end((account, id))
        kept.newest.words()  # so that they are shared, too
        return kept.newest.share()

    async def open(self, account: AccountId, mailbox: int) -> Snapshot:
        """The mailbox with this id as it is now, as a share. Raises `MailboxNotFound`."""
        kept = self._kept.get((account, mailbox))
        if kept is not None:
            await self.follow(account, kept.newest.mailbox)
            kept = self._kept.get((account, mailbox))
        if kept is None:
            return await self._anew(account, mailbox)
        kept.newest.words()  # so that they are shared, too
        return kept.newest.share()

    def changed(self, account: AccountId, view: Snapshot, since: int) -> Sequence[int] | None:
        """UIDs: those of a view that have changed after the modseq `since`, and perhaps others.

        None where that is not remembered.
        """
        kept = self._kept.get((account, view.mailbox.id))
        if kept is None or since < kept.lately.since or kept.newest.mailbox.modseq < view.mailbox.modseq:
            return None
        return kept.lately.after(since)

    async def follow(self, account: AccountId, since: Mailbox) -> Delta:
        """What happened since a session's snapshot. Raises `MailboxNotFound`."""
        version = self._database.version()
        kept = self._kept.get((account, since.id))
        if kept is not None and kept.delta is not None and kept.since == since.modseq:
            known = kept.delta
            more = await self._read(account, known.mailbox)
            if more.mailbox.modseq == known.mailbox.modseq:
                self._name(account, more.mailbox, more.recent, version)
                return known._replace(mailbox=more.mailbox, recent=more.recent)
        delta = await self._read(account, since)
        self._name(account, delta.mailbox, delta.recent, version)
        return delta

    def newest(self, account: AccountId, mailbox: Mailbox) -> Snapshot | None:
        """The snapshot kept of this mailbox, if it is of the same modseq. Not to be changed."""
        kept = self._kept.get((account, mailbox.id))
        return kept.newest if kept is not None and kept.newest.mailbox.modseq == mailbox.modseq else None

    def reflag(
        self,
        account: AccountId,
        before: Mailbox,
        runs: Iterable[tuple[int, int]],
        change: Change,
        modseq: int,
    ) -> list[tuple[int, int]] | None:
        """Take over a change of flags that is known without being read, see `Snapshot.reflag`.

        None where what is kept is not the mailbox as it was `before`.
        """
        newest = self.newest(account, before)
        if newest is None:
            return None
        key = account, before.id
        kept = self._kept[key] = self._kept[key]._replace(since=0, delta=None)
        changed = newest.reflag(runs, change, modseq)
        uids = array("I")
        for first, end in changed:
            uids += newest.uids[first:end]
        kept.lately.add(uids, modseq)
        return changed

    def keep(self, account: AccountId, view: Snapshot) -> None:
        """Have this one shared from now on, unless there is a newer one."""
        kept = self._kept.get((account, view.mailbox.id))
        if kept is None or kept.newest.mailbox.modseq < view.mailbox.modseq:
            kept = _Kept(view.share(), 0, None, _Lately(view.mailbox.modseq))
            self._put((account, view.mailbox.id), kept)

    def _name(self, account: AccountId, mailbox: Mailbox, recent: int, version: int | None) -> None:
        """The mailbox was so when it was looked at, after the database had this version."""
        kept = self._kept.get((account, mailbox.id))
        if version is None or kept is None or (kept.newest.mailbox, kept.newest.recent) != (mailbox, recent):
            return
        if version != self._version:
            self._version = version
            self._named.clear()
        self._named[account, mailbox.name] = mailbox.id

    async def _anew(self, account: AccountId, mailbox: int) -> Snapshot:
        version = self._database.version()
        taken = None
        if self._database.immediate:
            taken = self._database.point(lambda reader: snapshot.take_at_once(reader, account, mailbox))
        if taken is None:
            taken = await self._database.read(lambda reader: snapshot.take(reader, account, mailbox))
        self.keep(account, taken)
        self._name(account, taken.mailbox, taken.recent, version)
        return taken

    async def _read(self, account: AccountId, since: Mailbox) -> Delta:
        key = account, since.id
        try:
            delta = await self._database.read(
                lambda reader: snapshot.delta(reader, account, since), point=True
            )
        except MailboxNotFound:
            self._drop(key)
            raise
        kept = self._kept.get(key)
        if not delta.complete:
            self._drop(key)
        elif kept is not None:
            self._kept.move_to_end(key)
            if kept.newest.mailbox.modseq == since.modseq:
                self._advance(key, kept, delta)
        return delta

    def _advance(self, key: _Key, kept: _Kept, delta: Delta) -> None:
        """Bring what is kept up to date with a delta taken since it."""
        newest, before, since = kept.newest, len(kept.newest), kept.newest.mailbox.modseq
        newest.apply(delta)
        if delta.mailbox.modseq != since:
            self._messages += len(newest) - before
            kept.lately.add([entry.uid for entry in (*delta.changed, *delta.new)], delta.mailbox.modseq)
            self._kept[key] = kept._replace(since=since, delta=delta)
            self._trim()

    def _put(self, key: _Key, kept: _Kept) -> None:
        self._drop(key)
        self._kept[key] = kept
        self._messages += len(kept.newest)
        self._trim()

    def _drop(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._messages -= len(kept.newest)

    def _trim(self) -> None:
        while self._messages > self._most and self._kept:
            self._drop(next(iter(self._kept)))
