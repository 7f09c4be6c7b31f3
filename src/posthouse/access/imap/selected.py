"""A selected mailbox: the client's view of it, kept in step with the store.

The view is a snapshot, shared with other sessions while all know the same. It changes only in `news`, which
reads what happened since, applies it and says it in untagged responses; so sequence numbers mean the same to
client and server at every moment. Where EXPUNGE may not be said (RFC 3501 §7.4.1: no command in progress, or
FETCH, STORE, SEARCH) expunged messages stay in the view until the next opportunity, and only then are taken
out.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.access.imap import flags, lines
from posthouse.access.imap.contexts import Contexts
from posthouse.access.imap.lines import Values
from posthouse.access.imap.objects import mailbox_id
from posthouse.access.imap.readahead import NOTHING_READ
from posthouse.access.places import flags_kept, is_read_only
from posthouse.mail.content import HEAD_LIMIT
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.notifying import Event
from posthouse.protocol.imap.sequence import STAR, SequenceSet, write_sequence_set
from posthouse.store import changes, snapshot
from posthouse.store.changes import Stored
from posthouse.store.snapshot import Applied, Delta, Entry, Snapshot
from posthouse.store.uids import Ranges, joined, ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.state import User
    from posthouse.mail.envelope import AccountId
    from posthouse.store.rights import Rights
    from posthouse.store.wide import Change

Runs: TypeAlias = list[tuple[int, int]]
"""Indexes into the view, as half-open ranges, ascending."""

_BATCH_OCTETS = 2 * 1024 * 1024


class OwnChange(NamedTuple):
    """A change of flags that this session made, and need not be told of."""

    modseq: int
    """What changed under it; 0: nothing did."""
    expected: Callable[[int, str], tuple[int, str]] | None
    """Flags and keywords as they were → as the client believes them to be now. Where they are other, because
    somebody else changed them too, it is told all the same. None: it is told by other means."""
    shown: bool = False
    """It is told of it here after all, whatever else it does not want to be told."""


URLMECH = "URLMECH INTERNAL"
"""How URLs are signed (RFC 4467 §8)."""

REMOVED = OwnChange(0, None, True)
"""This session has taken messages out of the mailbox, and is told so."""


class NoSuchMessage(ValueError):
    """A sequence number beyond the last message."""


class Selected:
    """One mailbox as one session sees it."""

    __slots__ = (
        "_as_of", "_enabled", "_keywords", "_lock", "_modseq_told", "_pending", "_recent", "_synced",
        "account", "changed_otherwise", "contexts", "examining", "keys_as_of", "reading", "rights", "saved",
        "view",
    )  # fmt: skip

    def __init__(
        self,
        account: AccountId,
        rights: Rights,
        view: Snapshot,
        examining: bool,
        recent_from: int,
        enabled: Enabled,
    ) -> None:
        """`rights`: the user's; `examining`: opened by EXAMINE. UIDs from `recent_from` on are recent to this
        session; `enabled`: what its client understands."""
        self.account = account
        """Whose mailbox it is."""
        self.rights = rights
        self.view = view
        self._enabled = enabled
        self._modseq_told = enabled.condstore
        self._synced = view.mailbox.modseq
        self._as_of: int | None = None
        self.examining = examining
        self.reading = NOTHING_READ
        """How this session takes messages one by one."""
        self.changed_otherwise = False
        """Something has changed that is no change of a message that is there."""
        self.keys_as_of = view.mailbox.modseq
        """Up to where it is known whether the keys of URLs have changed."""
        self.contexts = Contexts()
        self.saved: Ranges = ()
        """UIDs that `$` stands for (RFC 5182 §2.1); some may be gone."""
        self._recent: list[tuple[int, int]] = []
        self._pending: list[tuple[int, int]] = []
        self._keywords = view.words()
        self._lock = asyncio.Lock()
        if view.uids and view.uids[-1] >= recent_from:
            self._recent.append((recent_from, view.uids[-1]))

    @property
    def read_only(self) -> bool:
        """Nothing can be changed, by the client's own wish or for want of rights."""
        return self.examining or is_read_only(self.rights)

    @property
    def may_mark(self) -> bool:
        """Whether reading a message sets \\Seen."""
        return not self.examining and "s" in self.rights

    @property
    def mailbox(self) -> int:
        """The id of the mailbox in the store."""
        return self.view.mailbox.id

    @property
    def uids_only(self) -> bool:
        """No sequence number may be said (RFC 9586)."""
        return self._enabled.uidonly

    # What the client is told

    def recent_runs(self) -> Runs:
        return indexes_of_uids(self.view, self._recent)

    def recent_count(self) -> int:
        return sum(end - first for first, end in self.recent_runs())

    def flags_of(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """`FLAGS (…)` of some messages, which ascend."""
        view = self.view
        bits, words = lines.some(view.flags, indexes), lines.some(view.keywords, indexes)
        if any(words):
            texts = list(map(flags.text, bits, words, repeat(False)))
        else:
            texts = list(map(flags.PLAIN.__getitem__, bits))
        if self._recent and not self._enabled.rev2:
            for first, end in self.recent_runs():
                for at in range(bisect_left(indexes, first), bisect_left(indexes, end)):
                    texts[at] = flags.text(bits[at], words[at], True)
        return texts

    def flag_lines(self) -> bytes:
        """FLAGS and PERMANENTFLAGS: all there are, keywords in use among them."""
        names = " ".join([*flags.SYSTEM, *sorted(self._keywords)])
        permanent = "" if self.read_only else self._permanent()
        return f"* FLAGS ({names})\r\n* OK [PERMANENTFLAGS ({permanent})] What can be kept\r\n".encode()

    def _permanent(self) -> str:
        """The flags that can be changed for good (RFC 4314 §5.1.1)."""
        kept = flags_kept(self.rights)
        names = [name for name, bit in flags.SYSTEM.items() if bit & kept]
        return " ".join([*names, *sorted(self._keywords), "\\*"] if "w" in self.rights else names)

    def greeting(self) -> bytes:
        """What SELECT answers before its result (RFC 3501 §6.3.1, RFC 9051 §6.3.2).

        Made once for all who open the mailbox as it is, unless something is recent.
        """
        if self._recent:
            return self._greeting()
        how = self._enabled.rev2, self._enabled.uidonly, self.examining, self.rights
        said = self.view.told.get(how)
        if said is None:
            said = self.view.told[how] = self._greeting()
        return said

    def _greeting(self) -> bytes:
        mailbox = self.view.mailbox
        lines = [self.flag_lines(), self._exists()]
        unseen = self.view.first_unseen()
        if unseen is not None and not self._enabled.rev2 and not self._enabled.uidonly:
            lines.append(b"* OK [UNSEEN %d] The first unseen message\r\n" % (unseen + 1))
        lines.append(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % mailbox.uidvalidity)
        lines.append(b"* OK [UIDNEXT %d] The next UID\r\n" % mailbox.uidnext)
        lines.append(b"* OK [HIGHESTMODSEQ %d] The last change\r\n" % mailbox.modseq)
        lines.append(f"* OK [MAILBOXID ({mailbox_id(mailbox.id)})] Its name for ever\r\n".encode())
        lines.append(f"* OK [{URLMECH}] How URLs of its messages are signed\r\n".encode())  # RFC 4467 §8
        return b"".join(lines)

    def _exists(self) -> bytes:
        exists = b"* %d EXISTS\r\n" % len(self.view)
        return exists if self._enabled.rev2 else exists + b"* %d RECENT\r\n" % self.recent_count()

    def fetch_flags(self, indexes: Iterable[int], *, with_uid: bool) -> bytes:
        """`* n FETCH (FLAGS (…))` for each message; with UID and MODSEQ for those who know of modseqs."""
        listed = indexes if isinstance(indexes, range) else list(indexes)
        values = self._numbers(listed, with_uid=with_uid)
        return self.join(listed, [*values, Values(self.flags_of(listed))])

    def modseq_lines(self, indexes: Sequence[int]) -> bytes:
        """`* n FETCH (UID … MODSEQ (…))` for each message, to one who knows of modseqs."""
        return self.join(indexes, self._numbers(indexes)) if indexes else b""

    def _numbers(self, indexes: Sequence[int], *, with_uid: bool = False) -> list[Values]:
        """UID and MODSEQ of some messages, for those who know of modseqs (RFC 7162 §3.2.4), or the UID."""
        values: list[Values] = []
        if (with_uid or self._enabled.condstore) and not self._enabled.uidonly:
            values.append(Values(map(b"UID %d".__mod__, lines.some(self.view.uids, indexes))))
        if self._enabled.condstore:
            values.append(Values(map(b"MODSEQ (%d)".__mod__, lines.some(self.view.modseqs, indexes))))
        return values

    def join(self, indexes: Sequence[int], values: Sequence[Values]) -> bytes:
        """A line for each message."""
        return lines.join(self.openings(indexes), values)

    def openings(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """How lines about messages begin: with a number, or with UIDONLY a UID (RFC 9586 §3.3)."""
        if not self._enabled.uidonly:
            return lines.starts(indexes)
        return [b"* %d UIDFETCH (" % self.view.uids[index] for index in indexes]

    # Sets of messages

    def runs(self, numbers: SequenceSet, *, uid: bool) -> Runs:
        """The messages of a set. Raises NoSuchMessage for a sequence number that there is not."""
        uids = self.view.uids
        if numbers.has_saved:
            return with_saved(numbers, indexes_of_uids(self.view, self.saved), partial(self.runs, uid=uid))
        if not uids:
            # `*` names the last message; where there is none, it names none.
            if uid or any(STAR in bounds for bounds in numbers.ranges):
                return []
            raise NoSuchMessage
        if uid:
            return indexes_of_uids(self.view, numbers.resolve(uids[-1]))
        resolved = numbers.resolve(len(uids))
        if resolved[-1][1] > len(uids):
            raise NoSuchMessage
        return [(first - 1, last) for first, last in resolved]

    def runs_within(self, numbers: SequenceSet) -> Runs:
        """The messages of a set of sequence numbers, of which there may be fewer (RFC 7377 §2: no error)."""
        count = len(self.view)
        if not count:
            return []
        found = [(first - 1, min(last, count)) for first, last in numbers.resolve(count)]
        return [(first, end) for first, end in found if first < end]

    def uid_ranges(self, runs: Runs) -> Ranges:
        """The UIDs of some messages, as the store takes them."""
        uids = self.view.uids
        # The UIDs between two messages of the view belong to messages gone, or not yet known only
        # beyond its end; so a run of the view is one range.
        return [(uids[first], uids[end - 1]) for first, end in runs]

    def uids_of(self, indexes: Sequence[int]) -> Sequence[int]:
        """The UIDs of some messages; a range, where they follow each other."""
        uids = self.view.uids
        if isinstance(indexes, range) and indexes and uids[indexes[-1]] - uids[indexes[0]] < len(indexes):
            return range(uids[indexes[0]], uids[indexes[-1]] + 1)
        return [uids[index] for index in indexes]

    # Keeping in step

    async def news(self, user: User, *, expunges: bool, own: OwnChange | None = None) -> bytes:
        """Bring the view up to date; the untagged responses that say how.

        What came of `own` alone is not said. Raises MailboxNotFound.
        """
        version = user.services.database.version()
        if self._is_as_of(version):
            return b""
        async with self._lock:
            since, account = self.view.mailbox, self.account
            delta = await user.services.snapshots.follow(account, since)
            if not delta.complete:
                fresh = await user.read_much(lambda reader: snapshot.take(reader, account, since.id))
                delta = self._difference(fresh)
            latest = max([entry.modseq for entry in (*delta.changed, *delta.new)], default=since.modseq)
            self.changed_otherwise = self.changed_otherwise or delta.mailbox.modseq > latest
            said = self._apply(user, delta, expunges, own)
            self._as_of = version
            if delta.changed or delta.new:
                uids = [entry.uid for entry in (*delta.changed, *delta.new)]
                said += await self.contexts.follow(self, uids, since.uidnext)
            claims = not self.read_only and not self._enabled.rev2
            if delta.new and claims and delta.mailbox.uidnext > delta.recent:
                # If this is lost, the messages are \Recent once more to somebody else.
                self.claim_shown(user)
            return said

    def is_current(self, user: User) -> bool:
        """Whether it is known, by one look, that there is nothing to say and nothing has happened."""
        return self._is_as_of(user.services.database.version()) and not self.changed_otherwise

    def _is_as_of(self, version: int | None) -> bool:
        return version is not None and version == self._as_of and not self._owes_news

    @property
    def owes_expunges(self) -> bool:
        """Messages of the view are gone, which the client is still to be told."""
        return bool(self._pending)

    @property
    def _owes_news(self) -> bool:
        """There is something to say though nothing has happened."""
        return bool(self._pending) or (self._enabled.condstore and not self._modseq_told)

    def is_gone(self, uid: int) -> bool:
        """Whether a message of the view is known to be expunged, and the client is still to be told."""
        return any(first <= uid <= last for first, last in self._pending)

    def claim_shown(self, user: User) -> None:
        """What is \\Recent here is not to be so in another session; nobody waits for that."""
        account, mailbox, uidnext = self.account, self.mailbox, self.view.mailbox.uidnext
        user.services.database.write_later(
            lambda tx: changes.claim_shown(tx, account, mailbox, uidnext), (account,)
        )

    async def flags_stored(
        self, user: User, stored: Stored, runs: Runs, change: Change, *, silent: bool
    ) -> bytes | None:
        """What there is to say of system flags that this session has changed, without reading them back.

        None where more than that has happened to the mailbox, or may have: `news` finds out. The flags
        themselves are left to the caller.
        """
        before = self.view.mailbox
        if self._pending or stored.before != before.modseq:
            return None
        changed = user.services.snapshots.reflag(self.account, before, runs, change, stored.modseq)
        newest = user.services.snapshots.newest(self.account, before._replace(modseq=stored.modseq))
        if changed is None or newest is None:
            return None
        self._synced = before.modseq
        self.view.adopt(newest)
        lines: list[bytes] = []
        if self._enabled.condstore:
            self._say_modseqs(lines, indexes_of(changed) if silent else ())
        uids = chain.from_iterable(self.view.uids[first:end] for first, end in changed)
        return b"".join(lines) + await self.contexts.follow(self, uids, before.uidnext)

    def _apply(self, user: User, delta: Delta, expunges: bool, own: OwnChange | None) -> bytes:
        lines: list[bytes] = []
        if not self._pending:
            self._synced = self.view.mailbox.modseq
        self._pending += delta.vanished
        vanished: list[tuple[int, int]] = []
        if expunges and self._pending:
            vanished, self._pending = _merged(self._pending), []
            lines.append(self.contexts.without(self, vanished))
            lines.append(self._expunge_lines(vanished))
        unsaid = set() if own is None or own.shown else self._known(delta.changed, own)
        if user.told is not None and Event.FLAGS not in user.told:  # RFC 5465 §5: it did not ask for that
            unsaid |= {entry.uid for entry in delta.changed if own is None or entry.modseq != own.modseq}
        new = [entry.uid for entry in delta.new if entry.uid >= delta.recent]
        self._recent += ranges_of(new)
        applied = self._advance(user, delta._replace(vanished=vanished))
        if applied.added:
            lines.append(self._exists())
        if applied.changed or applied.added:
            self._learn_keywords([*delta.changed, *delta.new], lines)
        if applied.changed:
            indexes = (bisect_left(self.view.uids, uid) for uid in applied.changed if uid not in unsaid)
            lines.append(self.fetch_flags(indexes, with_uid=True))
        if self._enabled.condstore:
            silent = sorted(unsaid) if own and own.expected else ()
            self._say_modseqs(lines, [bisect_left(self.view.uids, uid) for uid in silent])
        return b"".join(lines)

    def _advance(self, user: User, delta: Delta) -> Applied:
        """Bring the view up to date; with nothing held back it is what all sessions share."""
        shared = user.services.snapshots
        newest = None if self._pending else shared.newest(self.account, delta.mailbox)
        if newest is None:
            applied = self.view.apply(delta)
            if not self._pending:
                shared.keep(self.account, self.view)
            return applied
        applied = self.view.effect(delta)
        self.view.adopt(newest)
        return applied

    def _say_modseqs(self, lines: list[bytes], silent: Sequence[int]) -> None:
        """What else RFC 7162 wants said: modseqs of what was changed in silence, and how far we are."""
        view = self.view
        lines.append(self.modseq_lines(silent))
        if self._pending and self._enabled.qresync:
            # RFC 7162 §3.2: the modseqs said run ahead of expunges not said yet.
            lines.append(b"* OK [HIGHESTMODSEQ %d] Expunges to come\r\n" % self._synced)
        elif not self._modseq_told:
            lines.append(b"* OK [HIGHESTMODSEQ %d] The last change\r\n" % view.mailbox.modseq)
        self._modseq_told = True

    def _known(self, changed: list[Entry], own: OwnChange) -> set[int]:
        """UIDs of the changed messages that the client knows of."""
        ours = [entry for entry in changed if entry.modseq == own.modseq]
        if own.expected is None:
            return {entry.uid for entry in ours}
        view, uids = self.view, self.view.uids
        believed: dict[tuple[int, str], tuple[int, str]] = {}
        found = set()
        at = -1
        for uid, _, _, bits, words, _ in ours:
            at += 1  # mostly neighbours
            if at >= len(uids) or uids[at] != uid:
                at = bisect_left(uids, uid)
                if at >= len(uids) or uids[at] != uid:
                    continue
            before = view.flags[at], view.keywords[at]
            now = believed.get(before)
            if now is None:
                now = believed[before] = own.expected(*before)
            if now == (bits, words):
                found.add(uid)
        return found

    def _learn_keywords(self, entries: list[Entry], lines: list[bytes]) -> None:
        words = snapshot.words_of(entry.keywords for entry in entries)
        if not words <= self._keywords:
            self._keywords |= words
            lines.append(self.flag_lines())

    def _expunge_lines(self, vanished: list[tuple[int, int]]) -> bytes:
        """From the last to the first, so that no number moves before it is said."""
        uids = self.view.uids
        indexes: set[int] = set()
        for first, last in vanished:
            indexes.update(range(bisect_left(uids, first), bisect_right(uids, last)))
        if self._enabled.qresync or self._enabled.uidonly:
            # RFC 7162 §3.2.10, RFC 9586 §3.5: only what the client has been told of
            gone = write_sequence_set(uids[index] for index in sorted(indexes))
            return b"* VANISHED %b\r\n" % gone if gone else b""
        return b"".join([b"* %d EXPUNGE\r\n" % (index + 1) for index in sorted(indexes, reverse=True)])

    def _difference(self, fresh: Snapshot) -> Delta:
        """What parts the view from a snapshot taken anew, where the store no longer remembers."""
        old = self.view
        there = set(fresh.uids)
        entries = map(fresh.entry, range(len(fresh)))
        last = old.uids[-1] if old.uids else 0
        new: list[Entry] = []
        changed: list[Entry] = []
        for entry in entries:
            if entry.uid > last:
                new.append(entry)
            elif entry.modseq > old.mailbox.modseq:
                changed.append(entry)
        vanished = ranges_of(uid for uid in old.uids if uid not in there)
        return Delta(fresh.mailbox, fresh.recent, new, changed, vanished, True)


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same UIDs as ascending runs that do not overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def indexes_of_uids(view: Snapshot, ranges: Ranges) -> Runs:
    """Where the messages of some UID ranges stand now."""
    found = [(bisect_left(view.uids, first), bisect_right(view.uids, last)) for first, last in ranges]
    return [run for run in found if run[0] < run[1]]


def numbers_of(indexes: Sequence[int]) -> Sequence[int]:
    """The sequence numbers of some messages; a range, if `indexes` is one."""
    if isinstance(indexes, range):
        return range(indexes.start + 1, indexes.stop + 1)
    return [index + 1 for index in indexes]


def with_saved(numbers: SequenceSet, saved: Runs, find: Callable[[SequenceSet], Runs]) -> Runs:
    """The messages of a set, of which `saved` are those of `$`, and `find` tells the others."""
    if not numbers.has_saved:
        return find(numbers)
    others = numbers.without_saved()
    runs = [*saved, *find(others)] if others.ranges else saved
    return [(first, last + 1) for first, last in joined([(first, end - 1) for first, end in runs])]


def batches(indexes: Sequence[int], sizes: Sequence[int], most: int, times: int) -> Iterator[Sequence[int]]:
    """The messages in batches that are read, and held, at once: `most` of them at most.

    `times`: how often the octets of a message are held, 0 where they are not read. Large bodies never are,
    so a message weighs no more than the longest header.
    """
    at = 0
    while at < len(indexes):
        batch = indexes[at : at + most]
        if times:
            weights = [min(size, HEAD_LIMIT) for size in lines.some(sizes, batch)]
            if sum(weights) * times > _BATCH_OCTETS:
                fitting = bisect_right(list(accumulate(weights)), _BATCH_OCTETS // times)
                batch = batch[: max(fitting, 1)]
        yield batch
        at += len(batch)


def indexes_of(runs: Runs) -> Sequence[int]:
    """The messages of some runs; a range, if it is one run."""
    if len(runs) == 1:
        return range(*runs[0])
    return list(chain.from_iterable(range(first, end) for first, end in runs))
