"""Snapshots: what a session knows of a mailbox, as columns, and what changed since.

One query reads a mailbox, or the pages that are kept of a large one (`snapshotpages`); columns are arrays,
not objects per message, so that a hundred thousand messages cost a few megabytes. `delta` then tells what
became new, changed or vanished after a modseq, at a cost that does not grow with the mailbox unless flags
have changed.

Snapshots that know the same share their columns (`share`, `adopt`); who changes one copies first what it
changes. `shared.Snapshots` keeps them for the sessions of a worker.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain, compress, islice
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from posthouse.store import snapshotpages, wide
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import SEPARATOR, Mailbox, MailboxNotFound
from posthouse.store.uids import joined, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId
    from posthouse.store.snapshotpages import Loaded
    from posthouse.store.wide import Change, Wide


class Entry(NamedTuple):
    """One message in a mailbox."""

    uid: int
    email: int
    """Its EMAILID (RFC 8474), and the key to all that never changes (`read`)."""
    size: int
    """RFC822.SIZE, octets."""
    flags: int
    keywords: str
    modseq: int


class Delta(NamedTuple):
    """What happened in a mailbox since a snapshot."""

    mailbox: Mailbox
    """As it is now."""
    recent: int
    new: list[Entry]
    """Messages with UIDs that the snapshot does not know, ascending."""
    changed: list[Entry]
    """Known messages whose flags or keywords changed, ascending."""
    vanished: list[tuple[int, int]]
    """Runs of UIDs expunged since, ascending; those that came and went in between included."""
    complete: bool
    """False: so long ago that `vanished` may lack some; take a new snapshot."""


class Applied(NamedTuple):
    """What a delta did to a snapshot."""

    expunged: list[int]
    """UIDs removed, ascending."""
    changed: list[int]
    """UIDs whose flags or keywords are new, ascending."""
    added: int
    """Messages at the end that are new."""


FEW = 200
"""UIDs of a mailbox that is read at once."""
_UNSEEN = bytes(not bits & Flag.SEEN for bits in range(256))
_CUTS = 16
"""Gaps that are cut out one by one; more of them in one pass."""

_ROWS = 1000
"""Rows held as objects at a time."""


class Snapshot:
    """A mailbox at one modseq. All columns have one value per message, by ascending UID."""

    __slots__ = (
        "_marks_shared", "_shared", "_words", "emails", "flags", "keywords", "mailbox", "modseqs", "recent",
        "sizes", "told", "uids",
    )  # fmt: skip

    def __init__(
        self, mailbox: Mailbox, recent: int, rows: Iterable[tuple[int, int, int, int, str, int]]
    ) -> None:
        """`rows` have the columns of `Entry`, by ascending UID."""
        self._shared = self._marks_shared = False
        self._words: frozenset[str] | None = None
        self.told: dict[Hashable, bytes] = {}
        """What is said of it as it is, kept by those who say it for all who know the same."""
        self.mailbox = mailbox
        self.recent = recent
        """UIDs from here on are recent (RFC 3501 §2.3.2), unless another session has claimed them."""
        self.uids = array("I")
        self.emails = array("q")
        self.sizes = array("q")
        self.flags = bytearray()
        self.keywords: list[str] = []
        self.modseqs = array("q")
        self._extend(rows)

    def _extend(self, rows: Iterable[tuple[int, int, int, int, str, int]]) -> None:
        """Add messages at the end."""
        rows = iter(rows)
        while some := list(islice(rows, _ROWS)):
            uids, emails, sizes, flags, keywords, modseqs = zip(*some, strict=True)
            self.uids.extend(uids)
            self.emails.extend(emails)
            self.sizes.extend(sizes)
            self.flags.extend(flags)
            self.keywords.extend(map(intern, keywords))
            self.modseqs.extend(modseqs)

    @classmethod
    def of_pages(cls, mailbox: Mailbox, recent: int, pages: Loaded) -> Snapshot:
        """A mailbox as its pages have it."""
        made = cls(mailbox, recent, ())
        made.uids, made.emails, made.sizes = pages.uids, pages.emails, pages.sizes
        made.flags, made.keywords, made.modseqs = pages.flags, pages.keywords, pages.modseqs
        made._words = words_of(pages.texts)
        return made

    def catch_up(
        self,
        vanished: list[tuple[int, int]],
        changed: Iterable[tuple[int, int, str, int]],
        new: Iterable[tuple[int, int, int, int, str, int]],
    ) -> None:
        """Take over what has happened since: runs of UIDs, those that changed, and the columns of new ones.

        Of `changed`: UID, flags, keywords and modseq; both by ascending UID, and read as they come.
        """
        self.told = {}
        self._remove(self._slices(vanished))
        at, known, texts = -1, len(self.uids), set[str]()
        for uid, flags, keywords, modseq in changed:
            at += 1  # mostly neighbours
            if at >= len(self.uids) or self.uids[at] != uid:
                at = bisect_left(self.uids, uid)
            self.flags[at] = flags
            self.keywords[at] = intern(keywords)
            self.modseqs[at] = modseq
            texts.add(keywords)
        self._extend(new)
        if self._words is not None:
            self._words |= words_of((*texts, *self.keywords[known:]))

    def show(self, wides: Sequence[Wide]) -> None:
        """Take over wide changes that rows do not show yet."""
        start = bisect_left(self.uids, min(one.first for one in wides))
        end = bisect_right(self.uids, max(one.last for one in wides))
        flags, modseqs = self.flags[start:end], self.modseqs[start:end]
        given = {wides[0].modseqs[bits] for bits in set(flags)}
        if len(wides) == len(given) == 1 and 0 not in given and max(modseqs) < wides[0].modseq:
            self.flags[start:end] = flags.translate(wides[0].change.table)
            self.modseqs[start:end] = array("q", given) * (end - start)
            return
        shown = wide.showing(wides)
        for at, known in enumerate(zip(self.uids[start:end], flags, modseqs, strict=True), start):
            self.flags[at], self.modseqs[at] = shown(*known)

    def __len__(self) -> int:
        return len(self.uids)

    def index(self, uid: int) -> int | None:
        """Where a UID stands; the sequence number is one more."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def entry(self, index: int) -> Entry:
        """All columns of one message."""
        return Entry(
            self.uids[index],
            self.emails[index],
            self.sizes[index],
            self.flags[index],
            self.keywords[index],
            self.modseqs[index],
        )

    def words(self) -> frozenset[str]:
        """The keywords in use, and perhaps some that were. Found once for all who share what they know."""
        if self._words is None:
            self._words = words_of(self.keywords)
        return self._words

    def first_unseen(self) -> int | None:
        """The index of the first message without \\Seen."""
        found = self.flags.translate(_UNSEEN).find(1)
        return None if found < 0 else found

    def share(self) -> Snapshot:
        """Another that knows the same, at no cost."""
        other = Snapshot(self.mailbox, self.recent, ())
        other.adopt(self)
        return other

    def adopt(self, other: Snapshot) -> None:
        """Know what `other` knows, and nothing else."""
        self._shared = other._shared = True
        self._marks_shared = other._marks_shared = True
        self._words, self.told = other._words, other.told
        self.mailbox, self.recent = other.mailbox, other.recent
        self.uids, self.emails, self.sizes = other.uids, other.emails, other.sizes
        self.flags, self.keywords, self.modseqs = other.flags, other.keywords, other.modseqs

    def _own(self) -> None:
        """Columns that others see as well are theirs from now on; ours are copies."""
        self._own_marks()
        if self._shared:
            self._shared = False
            self.uids, self.emails, self.sizes = self.uids[:], self.emails[:], self.sizes[:]
            self.keywords = self.keywords[:]

    def _own_marks(self) -> None:
        """The same where nothing but system flags is to change."""
        if self._marks_shared:
            self._marks_shared = False
            self.flags, self.modseqs = self.flags[:], self.modseqs[:]

    def effect(self, delta: Delta) -> Applied:
        """What `apply` would do."""
        gone = [uid for start, end in self._slices(delta.vanished) for uid in self.uids[start:end]]
        changed = [entry.uid for _, entry in self._newer(delta.changed)]
        return Applied(gone, changed, len(self._beyond(delta.new)))

    def apply(self, delta: Delta) -> Applied:
        """Bring the snapshot up to date with a delta taken since it; twice does no harm."""
        if self.mailbox != delta.mailbox or delta.vanished:  # what was held back comes later than its modseq
            self.told = {}
        applied = self.effect(delta)
        if applied.expunged or applied.changed or applied.added:
            self._own()
            if self._words is not None:
                self._words |= words_of(entry.keywords for entry in (*delta.changed, *delta.new))
        self._remove(self._slices(delta.vanished))
        for at, entry in self._newer(delta.changed):
            self.flags[at] = entry.flags
            self.keywords[at] = entry.keywords
            self.modseqs[at] = entry.modseq
        for uid, email, size, flags, keywords, modseq in self._beyond(delta.new):
            self.uids.append(uid)
            self.emails.append(email)
            self.sizes.append(size)
            self.flags.append(flags)
            self.keywords.append(keywords)
            self.modseqs.append(modseq)
        self.mailbox = delta.mailbox
        self.recent = delta.recent
        return applied

    def changing(self, runs: Iterable[tuple[int, int]], change: Change) -> int:
        """How many of some messages have system flags that `change` makes others; `runs` as of `reflag`."""
        return sum(self.flags[first:end].translate(change.mask).count(1) for first, end in runs)

    def reflag(self, runs: Iterable[tuple[int, int]], change: Change, modseq: int) -> list[tuple[int, int]]:
        """Change the system flags of some messages by this modseq; those that become others, as runs.

        Runs are half-open ranges of indexes.
        """
        self._own_marks()
        self.told = {}
        changed: list[tuple[int, int]] = []
        for first, end in runs:
            old = self.flags[first:end]
            some = [(first, end)]
            if not all(differ := old.translate(change.mask)):
                differing = ranges_of(compress(range(first, end), differ))
                some = [(start, last + 1) for start, last in differing]
            self.flags[first:end] = old.translate(change.table)
            for start, stop in some:
                self.modseqs[start:stop] = array("q", [modseq]) * (stop - start)
            changed += some
        self.mailbox = self.mailbox._replace(modseq=modseq)
        return changed

    def _beyond(self, entries: list[Entry]) -> list[Entry]:
        last = self.uids[-1] if self.uids else 0
        return [entry for entry in entries if entry.uid > last]

    def _newer(self, entries: list[Entry]) -> Iterator[tuple[int, Entry]]:
        """Where those of the messages stand of which more is known than the snapshot knows."""
        uids, modseqs = self.uids, self.modseqs
        at, count = -1, len(uids)
        for entry in entries:
            at += 1  # mostly neighbours
            if at >= count or uids[at] != entry.uid:
                at = bisect_left(uids, entry.uid)
                if at >= count or uids[at] != entry.uid:
                    continue
            if modseqs[at] < entry.modseq:
                yield at, entry

    def _slices(self, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        slices = []
        for first, last in runs:
            start, end = bisect_left(self.uids, first), bisect_right(self.uids, last)
            if start < end:
                slices.append((start, end))
        return slices

    def _remove(self, slices: list[tuple[int, int]]) -> None:
        if len(slices) <= _CUTS:
            for start, end in reversed(slices):
                for column in (self.uids, self.emails, self.sizes, self.flags, self.keywords, self.modseqs):
                    del column[start:end]
            return
        kept = bytearray(b"\1") * len(self.uids)
        for start, end in slices:
            kept[start:end] = bytes(end - start)
        self.uids = array("I", compress(self.uids, kept))
        self.emails = array("q", compress(self.emails, kept))
        self.sizes = array("q", compress(self.sizes, kept))
        self.flags = bytearray(compress(self.flags, kept))
        self.keywords = list(compress(self.keywords, kept))
        self.modseqs = array("q", compress(self.modseqs, kept))


def words_of(keywords: Iterable[str]) -> frozenset[str]:
    """The keywords in some columns of them."""
    return frozenset(word for text in set(keywords) for word in text.split())


_MAILBOX = "id, name, uidvalidity, uidnext, modseq, special"
_ENTRY = "uid, email, size, flags, keywords, modseq"
_FROM = f"SELECT {_ENTRY} FROM placement WHERE account = ? AND mailbox = ? AND uid >= ? ORDER BY uid"


def take(reader: Reader, account: AccountId, mailbox: int) -> Snapshot:
    """The mailbox with this id as it is. Raises `MailboxNotFound`."""
    found, (recent, changed_at, forgotten, is_pending) = _mailbox(reader, account, mailbox)
    taken = _take(reader, account, found, (recent, changed_at, forgotten))
    if is_pending:
        taken.show(wide.pending(reader, account, mailbox))
    return taken


def _take(reader: Reader, account: AccountId, found: Mailbox, numbers: tuple[int, int, int]) -> Snapshot:
    """What the rows say of it. `numbers`: `recent`, `changed` and `forgotten` of the mailbox."""
    mailbox, (recent, changed_at, forgotten) = found.id, numbers
    pages = snapshotpages.load(reader, account, mailbox) if found.uidnext > snapshotpages.LARGE else None
    if pages is None or pages.modseq < forgotten:
        return Snapshot(found, recent, reader.each(_FROM, (account, mailbox, 1)))
    taken = Snapshot.of_pages(found, recent, pages)
    gone: list[tuple[int, int]] = []
    changed: Iterable[tuple[int, int, str, int]] = ()
    new: Iterable[tuple[int, int, int, int, str, int]] = ()
    if found.modseq > pages.modseq:
        gone = vanished(reader, account, mailbox, pages.modseq)
    if changed_at > pages.modseq:
        changed = reader.each(
            "SELECT uid, flags, keywords, modseq FROM placement"
            " WHERE account = ? AND mailbox = ? AND uid < ? AND modseq > ? ORDER BY uid",
            (account, mailbox, pages.below, pages.modseq),
        )
    if found.uidnext > pages.below:
        new = reader.each(_FROM, (account, mailbox, pages.below))
    taken.catch_up(gone, changed, new)
    return taken


def take_at_once(reader: Reader, account: AccountId, mailbox: int) -> Snapshot | None:
    """The same where it takes well under a millisecond; None where it takes longer.

    So it is with few messages, and with those of one page that is as new as the mailbox.
    """
    found, (recent, _, _, is_pending) = _mailbox(reader, account, mailbox)
    if is_pending:
        return None
    if found.uidnext <= FEW:
        return Snapshot(found, recent, reader.all(_FROM, (account, mailbox, 1)))
    if found.uidnext <= snapshotpages.LARGE:
        return None
    page = snapshotpages.only(reader, account, mailbox)
    if page is None or (page.below, page.modseq) != (found.uidnext, found.modseq):
        return None
    pages = snapshotpages.load(reader, account, mailbox)
    return None if pages is None else Snapshot.of_pages(found, recent, pages)


def _mailbox(reader: Reader, account: AccountId, id: int) -> tuple[Mailbox, tuple[int, int, int, bool]]:
    row = reader.one(
        f"SELECT {_MAILBOX}, recent, changed, forgotten, {wide.IS_PENDING} FROM mailbox"
        " WHERE account = ? AND id = ?",
        (account, id),
    )
    if row is None or row[1].startswith(SEPARATOR):
        raise MailboxNotFound("The mailbox has been deleted")
    return Mailbox(*row[:6]), row[6:]


def delta(reader: Reader, account: AccountId, since: Mailbox) -> Delta:
    """What changed after `since`, the `mailbox` of a snapshot. Raises `MailboxNotFound`."""
    mailbox, (recent, changed_at, forgotten, is_pending) = _mailbox(reader, account, since.id)
    if mailbox.modseq == since.modseq:
        return Delta(mailbox, recent, [], [], [], True)
    wides = wide.pending(reader, account, since.id) if is_pending else []
    new: list[Entry] = []
    if mailbox.uidnext > since.uidnext:
        new = _entries(reader, wides, "uid >= ?", account, since.id, since.uidnext)
    changed: list[Entry] = []
    if changed_at > since.modseq:
        changed = _changed(reader, wides, account, since)
    return Delta(
        mailbox,
        recent,
        new,
        changed,
        vanished(reader, account, since.id, since.modseq),
        since.modseq >= forgotten,
    )


def _changed(reader: Reader, wides: list[Wide], account: AccountId, since: Mailbox) -> list[Entry]:
    """Messages that have changed after `since`, by their rows or by what is pending."""
    runs = joined([(one.first, one.last) for one in wides if one.latest > since.modseq])
    either = " OR ".join(["modseq > ?", *["uid BETWEEN ? AND ?"] * len(runs)])
    found = _entries(
        reader,
        wides,
        f"uid < ? AND ({either})",
        *(account, since.id, since.uidnext, since.modseq),
        *chain.from_iterable(runs),
    )
    return [entry for entry in found if entry.modseq > since.modseq] if runs else found


def _entries(reader: Reader, wides: list[Wide], condition: str, *params: int) -> list[Entry]:
    rows = reader.all(
        f"SELECT {_ENTRY} FROM placement WHERE account = ? AND mailbox = ? AND {condition} ORDER BY uid",
        params,
    )
    return list(_shown(wides, rows) if wides else map(Entry._make, rows))


def _shown(wides: list[Wide], rows: Iterable[tuple[int, int, int, int, str, int]]) -> Iterator[Entry]:
    """What these rows are, with what is pending."""
    shown = wide.showing(wides)
    for uid, email, size, before, keywords, older in rows:
        flags, modseq = shown(uid, before, older)
        yield Entry(uid, email, size, flags, keywords, modseq)


def vanished(reader: Reader, account: AccountId, mailbox: int, since: int) -> list[tuple[int, int]]:
    """Runs of UIDs expunged after the modseq `since`, ascending (RFC 7162 §3.2.6)."""
    return joined(
        reader.all(
            "SELECT uid, last FROM expunged WHERE account = ? AND mailbox = ? AND modseq > ?",
            (account, mailbox, since),
        )
    )


def remembered_since(reader: Reader, account: AccountId, mailbox: int) -> int:
    """The modseq from which on `vanished` is complete (for QRESYNC). Raises `MailboxNotFound`."""
    return _mailbox(reader, account, mailbox)[1][2]
