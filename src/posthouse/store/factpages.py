"""Facts kept for good, in the full-text index's database: a cold SEARCH, SORT or THREAD reads no header.

The facts of a run of UIDs of a mailbox are a *page*: a row for each family, its columns packed and
compressed, and one that names the emails. The pages of a mailbox follow each other without a gap, from UID 1
to its *mark*; UIDs are given in the order of commits, so no message below can come later. A new page is
joined with those before it that are no longer, so that pages are few and each message is written a few times
only. Messages that have gone are taken out later (`shrink`), and nobody is hurt who reads before that: pages
are compared with the mailbox by email, and what is not in them is made from the message.

All of it can be made anew, and `indexer` does that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.store import columns
from posthouse.store.facts import KEPT, Facts, Family
from posthouse.store.uids import ALL

if TYPE_CHECKING:
    from array import array

    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

PAGE = 4000
"""Messages of one page, at most …"""
PAGE_OCTETS = 2_000_000
"""… and about how much there may be in it before another one is begun."""
FORGET = 20
"""Pages that one transaction forgets."""

_LEVEL = 1
"""Of compression: the least work, for most of what it can bring."""
_EMAILS = "emails"
_KINDS = {_EMAILS: "q"} | {family.name: family.kinds for family in KEPT}


class Page(NamedTuple):
    """Which messages a page is about."""

    first: int
    """Those with UIDs from here on …"""
    below: int
    """… up to the one before."""
    messages: int


Columns: TypeAlias = "dict[str, Facts]"
"""By the name of the family; the emails are one as well."""


class Stored(NamedTuple):
    """Facts of a mailbox as far as they are kept."""

    first: int
    """Those of messages with UIDs from here on …"""
    below: int
    """… up to the one before."""
    emails: array[int]
    facts: Mapping[str, Facts]
    """By the name of the family, aligned with the emails."""


def columns_of(emails: array[int], families: Iterable[Facts]) -> Columns:
    """What goes into a page: the emails and, in the order of `KEPT`, their facts."""
    return {_EMAILS: (emails,)} | {family.name: facts for family, facts in zip(KEPT, families, strict=True)}


# Reading


def load(
    reader: Reader,
    account: AccountId,
    mailbox: int,
    families: Sequence[Family],
    uids: tuple[int, int] = ALL[0],
) -> Stored | None:
    """What is kept of some families of a mailbox, by ascending UID; None where it is nothing.

    `uids`: of the pages with messages from the first of them to the last.
    """
    names = [_EMAILS, *(family.name for family in families)]
    rows = reader.all(
        "SELECT family, first, below, messages, data FROM search_facts WHERE account = ? AND mailbox = ?"
        f" AND family IN ({','.join('?' * len(names))}) AND first <= ? AND below > ? ORDER BY family, first",
        (account, mailbox, *names, uids[1], uids[0]),
    )
    if not rows:
        return None
    packed: dict[str, list[tuple[int, bytes]]] = {name: [] for name in names}
    for name, _, _, messages, data in rows:
        packed[name].append((messages, zlib.decompress(data)))
    found = {name: columns.unpack(_KINDS[name], pieces) for name, pieces in packed.items()}
    return Stored(rows[0][1], rows[-1][2], found.pop(_EMAILS)[0], found)


def aligned(kept: Sequence[int], emails: Sequence[int]) -> bytes:
    """A mask of `kept`: what is in `emails`, in its order, up to the first that is not kept.

    A mailbox may have the same email twice; its facts are the same.
    """
    if kept == emails:
        return b"\1" * len(kept)
    mask = bytearray(len(kept))
    wanted = iter(emails)
    next_one = next(wanted, None)
    for place, email in enumerate(kept):
        if email == next_one:
            mask[place] = 1
            next_one = next(wanted, None)
    return bytes(mask)


def octets(reader: Reader, account: AccountId, mailbox: int, families: Sequence[Family]) -> int:
    """How much is kept of some families of a mailbox, compressed."""
    names = [family.name for family in families]
    row = reader.one(
        "SELECT sum(length(data)) FROM search_facts WHERE account = ? AND mailbox = ?"
        f" AND family IN ({','.join('?' * len(names))})",
        (account, mailbox, *names),
    )
    return 0 if row is None else int(row[0] or 0)


def marks(reader: Tx | Reader, account: AccountId) -> dict[int, int]:
    """Of each mailbox with pages the UID that follows the last."""
    rows = reader.all(
        "SELECT mailbox, max(below) FROM search_facts WHERE account = ? AND family = ? GROUP BY mailbox",
        (account, _EMAILS),
    )
    return dict(rows)


def pages(reader: Tx | Reader, account: AccountId, mailbox: int) -> list[Page]:
    """The pages of a mailbox, in order."""
    rows = reader.all(
        "SELECT first, below, messages FROM search_facts WHERE account = ? AND mailbox = ? AND family = ?"
        " ORDER BY first",
        (account, mailbox, _EMAILS),
    )
    return list(map(Page._make, rows))


# Writing: the account is locked by whoever calls (`FullText`)


def put(tx: Tx, account: AccountId, mailbox: int, page: Page, facts: Columns) -> bool:
    """Add a page behind the last; False, and nothing, where that does not end where this one begins."""
    there = pages(tx, account, mailbox)
    if (there[-1].below if there else 1) != page.first:
        return False
    before: list[Page] = []
    whole = page
    while there and there[-1].messages <= whole.messages and there[-1].messages + whole.messages <= PAGE:
        last = there.pop()
        if _size(tx, account, mailbox, last) > PAGE_OCTETS:
            break
        before.insert(0, last)
        whole = Page(last.first, page.below, last.messages + whole.messages)
    parts = [_read(tx, account, mailbox, one) for one in before]
    for one in before:
        _remove(tx, account, mailbox, one)
    _write(tx, account, mailbox, whole, reduce(_behind, [*parts, facts]))
    return True


def _behind(one: Columns, other: Columns) -> Columns:
    return {name: tuple(map(columns.extended, facts, other[name])) for name, facts in one.items()}


def shrink(tx: Tx, account: AccountId, mailbox: int, page: Page, there: Sequence[int]) -> bool:
    """Leave only those emails in a page that are `there`, by UID; False, and nothing, if it has changed."""
    if page not in pages(tx, account, mailbox):
        return False
    facts = _read(tx, account, mailbox, page)
    mask = aligned(facts[_EMAILS][0], there)
    left = {name: tuple(columns.only(one, mask) for one in some) for name, some in facts.items()}
    _remove(tx, account, mailbox, page)
    _write(tx, account, mailbox, page._replace(messages=sum(mask)), left)
    return True


def forget_mailbox(tx: Tx, account: AccountId, mailbox: int) -> None:
    """Forget all of a mailbox."""
    tx.run("DELETE FROM search_facts WHERE account = ? AND mailbox = ?", (account, mailbox))


def forget(tx: Tx, account: AccountId) -> bool:
    """Forget some pages of an account; whether there are more."""
    some = tx.all(
        "SELECT mailbox, first FROM search_facts WHERE account = ? AND family = ? LIMIT ?",
        (account, _EMAILS, FORGET),
    )
    for mailbox, first in some:
        _remove(tx, account, mailbox, Page(first, 0, 0))
    return len(some) == FORGET


def _size(tx: Tx, account: AccountId, mailbox: int, page: Page) -> int:
    row = tx.one(
        "SELECT sum(length(data)) FROM search_facts WHERE account = ? AND mailbox = ? AND first = ?",
        (account, mailbox, page.first),
    )
    return 0 if row is None else int(row[0] or 0)


def _read(tx: Tx, account: AccountId, mailbox: int, page: Page) -> Columns:
    rows = tx.all(
        "SELECT family, data FROM search_facts WHERE account = ? AND mailbox = ? AND first = ?",
        (account, mailbox, page.first),
    )
    return {
        name: columns.unpack(_KINDS[name], [(page.messages, zlib.decompress(data))]) for name, data in rows
    }


def _write(tx: Tx, account: AccountId, mailbox: int, page: Page, facts: Columns) -> None:
    tx.many(
        "INSERT INTO search_facts (account, mailbox, family, first, below, messages, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (account, mailbox, name, *page, zlib.compress(columns.pack(some), 1))
            for name, some in facts.items()
        ],
    )


def _remove(tx: Tx, account: AccountId, mailbox: int, page: Page) -> None:
    tx.run(
        "DELETE FROM search_facts WHERE account = ? AND mailbox = ? AND first = ?",
        (account, mailbox, page.first),
    )
