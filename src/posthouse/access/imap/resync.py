"""Resynchronisation (RFC 7162 §3.2): what has changed, and what has gone, since a client was here last.

What changed is in the view; what has gone is in the store, as far back as it remembers. Before that,
every UID that is no longer there is told: more than the client asked, and never less.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from posthouse.access.imap.selected import Runs, Selected, indexes_of_uids
from posthouse.access.imap.state import User
from posthouse.protocol.imap.commands import Resync
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.store import snapshot
from posthouse.store.uids import Ranges, common

if TYPE_CHECKING:
    from posthouse.db import Reader


async def since_known(user: User, selected: Selected, known: Resync) -> bytes:
    """The untagged responses for SELECT with QRESYNC (RFC 7162 §3.2.5)."""
    mailbox = selected.view.mailbox
    if known.uidvalidity != mailbox.uidvalidity or mailbox.uidnext == 1:
        return b""
    last = mailbox.uidnext - 1
    uids: Ranges = ((1, last),) if known.known is None else known.known.resolve(last)
    floor = _matched(selected, known)
    above = common(uids, ((floor + 1, last),)) if floor < last else []
    gone = await vanished(user, selected, known.modseq, above)
    changed = changed_since(user, selected, indexes_of_uids(selected.view, uids), known.modseq)
    return gone + selected.fetch_flags(changed, with_uid=True)


def changed_since(user: User, selected: Selected, runs: Runs, modseq: int) -> list[int]:
    """Those messages of `runs` that changed after `modseq`."""
    view = selected.view
    uids, modseqs = view.uids, view.modseqs
    lately = user.services.snapshots.changed(selected.account, view, modseq)
    if lately is None:
        return [at for run in runs for at, one in enumerate(modseqs[slice(*run)], run[0]) if one > modseq]
    places = sorted({bisect_left(uids, uid) for uid in lately})
    found = [at for at in places if at < len(uids) and modseqs[at] > modseq]
    return [at for first, end in runs for at in found[bisect_left(found, first) : bisect_left(found, end)]]


async def vanished(user: User, selected: Selected, modseq: int, uids: Ranges) -> bytes:
    """VANISHED (EARLIER) for those of `uids` that were expunged after `modseq`, if any."""
    account, view = selected.account, selected.view
    mailbox = view.mailbox
    last = mailbox.uidnext - 1

    def query(reader: Reader) -> Ranges:
        if modseq < snapshot.remembered_since(reader, account, mailbox.id):
            return ((1, last),)
        return snapshot.vanished(reader, account, mailbox.id, modseq)

    runs = await user.read(query)
    if list(uids) != [(1, last)]:
        runs = common(runs, uids)
    # What the view still has is told of later, as VANISHED without EARLIER; what it does not have yet, never.
    gone: list[tuple[int, int]] = []
    for low, high in runs:
        at = bisect_left(view.uids, low)
        if high <= last and (at == len(view.uids) or view.uids[at] > high):
            gone.append((low, high))
        else:
            gone += _gaps(view.uids, low, min(high, last))
    if not gone:
        return b""
    text = ",".join([f"{low}:{high}" if high > low else f"{low}" for low, high in gone])
    return b"* VANISHED (EARLIER) %b\r\n" % text.encode()


def _gaps(uids: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """The ranges between `first` and `last` without those in `uids`."""
    at = bisect_left(uids, first)
    while at < len(uids) and uids[at] <= last:
        if uids[at] > first:
            yield first, uids[at] - 1
        first = uids[at] + 1
        at += 1
    if first <= last:
        yield first, last


def _matched(selected: Selected, known: Resync) -> int:
    """The greatest UID of the samples that has its sequence number still: the client knows all below it."""
    if known.samples is None:
        return 0
    view, matched = selected.view.uids, 0
    for number, uid in zip(*map(_each, known.samples), strict=False):
        if number > len(view):
            break
        if view[number - 1] == uid:
            matched = uid
    return matched


def _each(numbers: SequenceSet) -> Iterator[int]:
    for low, high in numbers.resolve(0):
        yield from range(low, high + 1)
