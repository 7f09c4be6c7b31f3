"""Pages of large mailboxes: the columns of a snapshot as octets, so that a million messages open at once.

A page holds what the rows of `placement` said of a run of UIDs when the mailbox had a certain modseq. The
pages of a mailbox follow each other without a gap. Who opens it loads them, and asks for what has changed
since the oldest; nothing depends on how old they are but the time that takes. A background duty (`keep`)
makes them of mailboxes with many messages, again where much has changed, and says of the others that they
are as new as the mailbox. UIDs are given in the order of commits, so no message below the last page can come
later.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from posthouse.store import columns, wide

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId

LARGE = 2_000
"""Messages from which on a mailbox has pages."""
PAGE = 16_384
"""Messages of one page."""
WORTH = 500
"""Messages that are new, or have changed, before a page is made for them."""

_KINDS = "IqqBqH"
_OCTETS = sum(array(kind).itemsize for kind in _KINDS)
"""Of a message, in a page whose columns are packed and not pressed: that would have made more of them."""


class Page(NamedTuple):
    """A row of snapshot_page."""

    first: int
    below: int
    messages: int
    modseq: int


class Packed(NamedTuple):
    """A page with what is in it."""

    page: Page
    keywords: str
    data: bytes


class Loaded(NamedTuple):
    """All pages of a mailbox as one; columns as a snapshot has them."""

    below: int
    """They hold the messages with a UID below …"""
    modseq: int
    """… as they were at this modseq, or later."""
    uids: array[int]
    emails: array[int]
    sizes: array[int]
    flags: bytearray
    keywords: list[str]
    modseqs: array[int]
    texts: set[str]
    """What there is in `keywords`."""


def load(reader: Reader, account: AccountId, mailbox: int) -> Loaded | None:
    """What the pages of a mailbox hold; None where there are none."""
    return joined(
        reader.each(
            "SELECT p.first, p.below, p.messages, p.modseq, d.keywords, d.data FROM snapshot_page p"
            " JOIN snapshot_data d ON d.account = p.account AND d.mailbox = p.mailbox AND d.first = p.first"
            " WHERE p.account = ? AND p.mailbox = ? ORDER BY p.first",
            (account, mailbox),
        )
    )


def only(reader: Reader, account: AccountId, mailbox: int) -> Page | None:
    """The one page that a mailbox has; None where there are more, or none."""
    pages = _pages(reader, account, mailbox)
    return pages[0] if len(pages) == 1 else None


def joined(rows: Iterable[tuple[int, int, int, int, str, bytes]]) -> Loaded | None:
    """Pages as one: first UID, the one after the last, messages, modseq, keywords and data of each."""
    below, oldest = 1, None
    keywords: list[str] = []
    texts: set[str] = set()
    found: Sequence[array[int]] = ()
    for first, end, messages, modseq, words, data in rows:
        if first != below:
            return None
        below, oldest = end, modseq if oldest is None else min(oldest, modseq)
        *some, numbers = _opened(messages, data)
        if not found:
            found = some
        else:
            for column, more in zip(found, some, strict=True):
                column.extend(more)
        if words:
            known = list(map(intern, words.split("\n")))
            keywords += map(known.__getitem__, numbers)
            texts.update(known)
        else:
            keywords += [""] * messages
    if oldest is None:
        return None
    uids, emails, sizes, flags, modseqs = found
    return Loaded(below, oldest, uids, emails, sizes, bytearray(flags), keywords, modseqs, texts)


def closed(some: Sequence[array[int]]) -> bytes:
    """The data of a page: columns of UIDs, emails, sizes, flags, modseqs and numbers of keywords."""
    pressed, packed = columns.press(some), columns.pack(some)
    return pressed if len(pressed) < len(packed) else packed


def _opened(messages: int, data: bytes) -> Sequence[array[int]]:
    if len(data) == messages * _OCTETS:
        return columns.unpack(_KINDS, [(messages, data)])
    return columns.unpress(_KINDS, messages, data)


# The duty


class _Plan(NamedTuple):
    """What is to be done for a mailbox."""

    fresh: list[Page]
    """Pages that hold what there is …"""
    modseq: int
    """… at this modseq."""
    anew: list[Page]
    """Pages to be made again."""
    tail: Page | None
    """What is missing at the end: to be made from its `first` on, in the place of the page it is, if any."""
    uidnext: int


async def keep(database: Database, account: AccountId, mailbox: int) -> AsyncIterator[Page]:
    """See to it that the pages of a mailbox are there, if it is large, and not too old.

    Yields each page that it has made, so that others have their turn. Raises DatabaseError.
    """
    plan = await database.read(partial(_plan, account=account, mailbox=mailbox))
    if plan is None:
        return
    if plan.fresh:
        stamp = partial(_stamp, account=account, mailbox=mailbox, pages=plan.fresh, modseq=plan.modseq)
        await database.write([account], stamp)

    async def make(old: Page, end: int) -> Page | None:
        packed = await database.read(partial(_pack, account=account, mailbox=mailbox, old=old, end=end))
        put = partial(_put, account, mailbox, old, packed)
        return packed.page if await database.write([account], put, long=True) else None

    for old in plan.anew:
        page = await make(old, old.below)
        if page is None:
            return
        yield page
    tail = plan.tail
    while tail is not None:
        page = await make(tail, plan.uidnext)
        if page is None:
            return
        yield page
        tail = Page(page.below, page.below, 0, 0) if page.below < plan.uidnext else None


def _plan(reader: Reader, account: AccountId, mailbox: int) -> _Plan | None:
    row = reader.one(
        "SELECT uidnext, modseq, forgotten FROM mailbox WHERE account = ? AND id = ?", (account, mailbox)
    )
    if row is None or row[0] <= LARGE:
        return None
    uidnext, modseq, forgotten = row
    modseq = wide.settled(reader, account, mailbox, modseq)
    there = _pages(reader, account, mailbox)
    if not there and _few(reader, account, mailbox):
        return None
    fresh: list[Page] = []
    anew: list[Page] = []
    for page in there:
        if page.modseq == modseq:
            continue
        stale = _stale(reader, account, mailbox, page)
        if not stale:
            fresh.append(page)
        elif stale >= WORTH or page.modseq < forgotten:
            anew.append(page)
    end = there[-1].below if there else 1
    tail: Page | None = None
    if uidnext - end >= WORTH:
        tail = Page(end, end, 0, 0)
        if there and there[-1].messages <= PAGE - WORTH:
            tail = there[-1]
    fresh, anew = ([page for page in pages if page != tail] for pages in (fresh, anew))
    return _Plan(fresh, modseq, anew, tail, uidnext)


def _pages(reader: Reader | Tx, account: AccountId, mailbox: int) -> list[Page]:
    rows = reader.all(
        "SELECT first, below, messages, modseq FROM snapshot_page WHERE account = ? AND mailbox = ?"
        " ORDER BY first",
        (account, mailbox),
    )
    return list(map(Page._make, rows))


def _few(reader: Reader, account: AccountId, mailbox: int) -> bool:
    row = reader.one(
        "SELECT uid FROM placement WHERE account = ? AND mailbox = ? ORDER BY uid LIMIT 1 OFFSET ?",
        (account, mailbox, LARGE - 1),
    )
    return row is None


def _stale(reader: Reader, account: AccountId, mailbox: int, page: Page) -> int:
    """How many messages of a page have changed, or gone."""
    row = reader.one(
        "SELECT count(*), COALESCE(sum(CASE WHEN modseq > ? THEN 1 ELSE 0 END), 0) FROM placement"
        " WHERE account = ? AND mailbox = ? AND uid >= ? AND uid < ?",
        (page.modseq, account, mailbox, page.first, page.below),
    )
    assert row is not None
    return int(page.messages - row[0] + row[1])


def _pack(reader: Reader, account: AccountId, mailbox: int, old: Page, end: int) -> Packed:
    """What a page is to hold: the next messages from where `old` begins, all below `end`."""
    row = reader.one("SELECT modseq FROM mailbox WHERE account = ? AND id = ?", (account, mailbox))
    modseq = wide.settled(reader, account, mailbox, 0 if row is None else int(row[0]))
    rows = reader.all(
        "SELECT uid, email, size, flags, modseq, keywords FROM placement"
        " WHERE account = ? AND mailbox = ? AND uid >= ? AND uid < ? ORDER BY uid LIMIT ?",
        (account, mailbox, old.first, end, PAGE + 1),
    )
    if len(rows) > PAGE:
        end = rows.pop()[0]
    words = {word: number for number, word in enumerate(dict.fromkeys(row[-1] for row in rows))}
    data = closed(columns.columns(_KINDS, [(*row[:-1], words[row[-1]]) for row in rows]))
    return Packed(Page(old.first, end, len(rows), modseq), "\n".join(words), data)


def _put(account: AccountId, mailbox: int, old: Page, packed: Packed, tx: Tx) -> bool:
    """Put a page in the place of `old`, or behind the last; False, and nothing, if that has changed."""
    exists = tx.one("SELECT 1 FROM mailbox WHERE account = ? AND id = ?", (account, mailbox))
    there = _pages(tx, account, mailbox)
    if old.first == old.below:
        fits = old.first == (there[-1].below if there else 1)
    else:
        fits = old in there and (packed.page.below == old.below or old == there[-1])
    if not exists or not fits:
        return False
    key = account, mailbox, old.first
    for table in ("snapshot_page", "snapshot_data"):
        tx.run(f"DELETE FROM {table} WHERE account = ? AND mailbox = ? AND first = ?", key)
    tx.run(
        "INSERT INTO snapshot_page (account, mailbox, first, below, messages, modseq)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (account, mailbox, *packed.page),
    )
    tx.run(
        "INSERT INTO snapshot_data (account, mailbox, first, keywords, data) VALUES (?, ?, ?, ?, ?)",
        (*key, packed.keywords, packed.data),
    )
    return True


def _stamp(tx: Tx, account: AccountId, mailbox: int, pages: Sequence[Page], modseq: int) -> None:
    """Say that pages are as new as the mailbox was at a modseq."""
    tx.many(
        "UPDATE snapshot_page SET modseq = ?"
        " WHERE account = ? AND mailbox = ? AND first = ? AND below = ? AND messages = ? AND modseq = ?",
        [(modseq, account, mailbox, *page) for page in pages],
    )


def forget(tx: Tx, account: AccountId, mailbox: int) -> None:
    """The mailbox has gone."""
    for table in ("snapshot_page", "snapshot_data"):
        tx.run(f"DELETE FROM {table} WHERE account = ? AND mailbox = ?", (account, mailbox))
