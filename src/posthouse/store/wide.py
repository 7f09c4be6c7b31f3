"""Wide changes: system flags of many messages change, and one row says so, not one of each.

STORE of a whole mailbox would write every row of it in placement. So what becomes of the flags of a run of
UIDs is noted instead (`note`), and the rows follow behind, in slices (`fold`, called by the indexer). Until
then, who reads flags or modseqs of rows adds what is pending (`shown`), and who is about to change rows
brings those up to date first (`settle`).

A row whose modseq is that of a wide change, or later, shows it, and is left alone by it; one that it does not
concern it leaves as it is as often as one likes. So rows may follow in any order, some before others, and a
crash between two slices needs no mending.

Changes of the same run, with nothing in between, become one: who marks all as read and takes it back leaves
no more behind than who does it once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.store import columns
from posthouse.store.flags import ALL_FLAGS
from posthouse.store.uids import ALL, Ranges, common, conditions

if TYPE_CHECKING:
    from posthouse.db import Database, Question, Reader, Tx
    from posthouse.mail.envelope import AccountId

MANY = 256
"""Messages from which on a change is noted so."""
PENDING = 16
"""Changes of one mailbox that may be pending."""
SLICE = 2000
"""Messages whose rows follow in one transaction."""

_FLAGS = ALL_FLAGS + 1
"""Different sets of system flags."""


class Change(NamedTuple):
    """What becomes of system flags."""

    keep: int
    """Those that stay as they are …"""
    bits: int
    """… and those that a message has then, whatever it had."""

    def of(self, flags: int) -> int:
        """What becomes of these."""
        return flags & self.keep | self.bits

    @property
    def table(self) -> bytes:
        """For all flags of a message those that it has then (`bytes.translate`)."""
        return _table(self.keep, self.bits)

    @property
    def mask(self) -> bytes:
        """For all flags of a message 1 where they become others (`bytes.translate`)."""
        return _mask(self.keep, self.bits)

    def then(self, change: Change) -> Change:
        """Both, one after the other."""
        return Change(self.keep & change.keep, change.of(self.bits))


@lru_cache(maxsize=64)
def _table(keep: int, bits: int) -> bytes:
    return bytes((flags & keep | bits) & 0xFF for flags in range(256))


@lru_cache(maxsize=64)
def _mask(keep: int, bits: int) -> bytes:
    return bytes(flags != becomes for flags, becomes in enumerate(_table(keep, bits)))


class Wide(NamedTuple):
    """A change of a run of messages, or several that have become one."""

    modseq: int
    """Of the first; it is meant for rows that have a smaller one."""
    first: int
    last: int
    """UIDs, both included."""
    latest: int
    """The modseq of the last."""
    open: bool
    """No row shows it yet, and another may join it."""
    change: Change
    modseqs: Sequence[int]
    """For all system flags of a message before, the modseq that it has afterwards; 0: it has not changed."""

    @property
    def run(self) -> tuple[int, int]:
        return self.first, self.last

    def touches(self, uid: int, flags: int, modseq: int) -> bool:
        """Whether a row with this UID, system flags and modseq is to become another."""
        return self.first <= uid <= self.last and modseq < self.modseq and self.modseqs[flags] > 0

    def joined(self, change: Change, modseq: int) -> Wide:
        """This, and then another change of the same messages."""
        modseqs = array("q", self.modseqs)
        for flags in range(_FLAGS):
            between = self.change.of(flags)
            if change.of(between) != between:
                modseqs[flags] = modseq
        return self._replace(latest=modseq, change=self.change.then(change), modseqs=modseqs)


def _one(run: tuple[int, int], change: Change, modseq: int) -> Wide:
    modseqs = array("q", (modseq * (change.of(flags) != flags) for flags in range(_FLAGS)))
    return Wide(modseq, *run, modseq, True, change, modseqs)


def shown(wides: Sequence[Wide], uid: int, flags: int, modseq: int) -> tuple[int, int]:
    """Flags and modseq of a message whose row has these, with what is pending."""
    for wide in wides:
        if wide.touches(uid, flags, modseq):
            flags, modseq = wide.change.of(flags), wide.modseqs[flags]
    return flags, modseq


def showing(wides: Sequence[Wide]) -> Callable[[int, int, int], tuple[int, int]]:
    """`shown`, for many messages: it is found out once for all that are alike."""
    bounds, oldest = [first for first, _ in spans(wides)], wides[0].modseq
    known: dict[tuple[int, int], tuple[int, int]] = {}

    def of(uid: int, flags: int, modseq: int) -> tuple[int, int]:
        if modseq >= oldest:
            return shown(wides, uid, flags, modseq)
        alike = bisect_right(bounds, uid), flags
        found = known.get(alike)
        if found is None:
            found = known[alike] = shown(wides, uid, flags, 0)
        return found if found[1] else (flags, modseq)

    return of


# Reading what is pending

IS_PENDING = (
    "EXISTS (SELECT 1 FROM flag_change f WHERE f.account = mailbox.account AND f.mailbox = mailbox.id)"
)
"""Whether anything is, for a query of the table mailbox."""


def asking(account: AccountId, mailbox: int) -> Question:
    """What `pending` asks; `of_rows` makes of its rows what it gives."""
    return (
        "SELECT modseq, first, last, latest, open, keep, bits, modseqs FROM flag_change"
        " WHERE account = ? AND mailbox = ? ORDER BY modseq",
        (account, mailbox),
    )


def of_rows(rows: Sequence[tuple[Any, ...]]) -> list[Wide]:
    """See `asking`."""
    return [
        Wide(
            *(modseq, first, last, latest),
            bool(is_open),
            Change(keep, bits),
            columns.unpack("q", [(_FLAGS, packed)])[0],
        )
        for modseq, first, last, latest, is_open, keep, bits, packed in rows
    ]


def pending(reader: Tx | Reader, account: AccountId, mailbox: int) -> list[Wide]:
    """What the rows of a mailbox do not show yet, or not all of them, in its order."""
    return of_rows(reader.all(*asking(account, mailbox)))


def settled(reader: Tx | Reader, account: AccountId, mailbox: int, modseq: int) -> int:
    """The modseq as of which the rows of a mailbox show all, where its own is `modseq`."""
    row = reader.one(
        "SELECT min(modseq) FROM flag_change WHERE account = ? AND mailbox = ?", (account, mailbox)
    )
    return modseq if row is None or row[0] is None else int(row[0]) - 1


def mailboxes(reader: Tx | Reader, account: AccountId) -> list[int]:
    """The mailboxes of an account with something pending."""
    rows = reader.all("SELECT DISTINCT mailbox FROM flag_change WHERE account = ?", (account,))
    return [mailbox for (mailbox,) in rows]


def spans(wides: Sequence[Wide]) -> Iterator[tuple[int, int]]:
    """All UIDs, in runs of which each change concerns all messages or none."""
    first = ALL[0][0]
    for bound in sorted({bound for wide in wides for bound in (wide.first, wide.last + 1)}):
        if bound > first:
            yield first, bound - 1
            first = bound
    yield first, ALL[0][1]


# Writing


def note(
    tx: Tx,
    account: AccountId,
    mailbox: int,
    wides: Sequence[Wide],
    run: tuple[int, int],
    change: Change,
    modseqs: tuple[int, int],
) -> None:
    """Note a change of all messages of a run of UIDs, where `wides` are pending.

    `modseqs`: of the mailbox before it, and its own.
    """
    before, modseq = modseqs
    last = wides[-1] if wides else None
    if last is not None and last.open and last.latest == before and last.run == run:
        wide = last.joined(change, modseq)
        tx.run(
            "UPDATE flag_change SET latest = ?, keep = ?, bits = ?, modseqs = ?"
            " WHERE account = ? AND mailbox = ? AND modseq = ?",
            (modseq, *wide.change, columns.pack([wide.modseqs]), account, mailbox, wide.modseq),
        )
        return
    wide = _one(run, change, modseq)
    tx.run(
        "INSERT INTO flag_change (account, mailbox, modseq, first, last, latest, open, keep, bits, modseqs)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
        (account, mailbox, modseq, *run, modseq, *change, columns.pack([wide.modseqs])),
    )


def settle(tx: Tx, account: AccountId, mailbox: int, ranges: Ranges = ALL) -> None:
    """Have the rows of these messages show what is pending."""
    apply(tx, account, mailbox, ranges, pending(tx, account, mailbox))


def apply(tx: Tx, account: AccountId, mailbox: int, ranges: Ranges, wides: Sequence[Wide]) -> None:
    """The same, where what is pending is known. What all its rows show then is pending no more."""
    if not wides:
        return
    whole = [wide for wide in wides if common(ranges, [wide.run]) == [wide.run]]
    if any(wide.open for wide in wides if wide not in whole):
        tx.run("UPDATE flag_change SET open = 0 WHERE account = ? AND mailbox = ?", (account, mailbox))
    for wide in wides:
        moved = {flags: modseq for flags, modseq in enumerate(wide.modseqs) if modseq}
        then, given = "?", list(set(moved.values()))
        if len(given) > 1:
            then = f"CASE flags{' WHEN ? THEN ?' * len(moved)} ELSE modseq END"
            given = [number for pair in moved.items() for number in pair]
        concerned = f"flags IN ({', '.join(map(str, moved))})"
        for condition, some in conditions(common(ranges, [wide.run])):
            tx.run(
                f"UPDATE placement SET flags = (flags & ?) | ?, modseq = {then}"
                f" WHERE account = ? AND mailbox = ? AND {condition} AND modseq < ? AND {concerned}",
                (*wide.change, *given, account, mailbox, *some, wide.modseq),
            )
    _forget(tx, [(account, mailbox, wide.modseq) for wide in whole])


def _forget(tx: Tx, keys: Sequence[tuple[int, int, int]]) -> None:
    tx.many("DELETE FROM flag_change WHERE account = ? AND mailbox = ? AND modseq = ?", keys)


async def fold(database: Database, account: AccountId, mailbox: int) -> AsyncIterator[None]:
    """Have the rows of a mailbox follow what is pending there now, and forget that.

    Yields after each slice, so that others have their turn. Raises DatabaseError.
    """
    wides = await database.read(partial(pending, account=account, mailbox=mailbox))
    if not wides:
        return
    first, end = min(wide.first for wide in wides), max(wide.last for wide in wides)
    while first <= end:
        last = await database.read(partial(_slice, account=account, mailbox=mailbox, first=first)) or end
        # The first slice closes what is pending, so all of it will have passed all rows.
        some = partial(settle, account=account, mailbox=mailbox, ranges=((first, last),))
        await database.write([account], some, long=True)
        first = last + 1
        yield
    done = [(account, mailbox, wide.modseq) for wide in wides]
    await database.write([account], partial(_forget, keys=done))


def _slice(reader: Reader, account: AccountId, mailbox: int, first: int) -> int | None:
    """The last UID of the slice that begins with `first`; None where that is the end."""
    row = reader.one(
        "SELECT uid FROM placement WHERE account = ? AND mailbox = ? AND uid >= ? ORDER BY uid"
        " LIMIT 1 OFFSET ?",
        (account, mailbox, first, SLICE - 1),
    )
    return None if row is None else int(row[0])


def forget(tx: Tx, account: AccountId, mailbox: int) -> None:
    """The mailbox has gone."""
    tx.run("DELETE FROM flag_change WHERE account = ? AND mailbox = ?", (account, mailbox))
