"""Mailboxes: names, and what is done with a mailbox as a whole (RFC 9051 §5.1, §6.3).

Names are Unicode, '/' parts the levels, INBOX is INBOX in whatever case. A level that has only
children is not a mailbox (`\\NonExistent`). Deleting a mailbox leaves its children. A mailbox's id and
UIDVALIDITY are never given again within the account, so no name ever has one twice for different mail.

A large mailbox is deleted at once by name, and its messages go in batches after that (`sweep`), so that
no transaction is long.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.accounts import usage
from posthouse.store import metadata, rights, urlkeys, wide
from posthouse.store.flags import Flag

if TYPE_CHECKING:
    from posthouse.db import Question, Reader, Tx
    from posthouse.mail.envelope import AccountId

INBOX = "INBOX"
SEPARATOR = "/"

NAME_LIMIT = 1000
"""Octets of a name in UTF-8 at most."""

LEVEL_LIMIT = 255
"""Characters of one level at most."""

DEPTH_LIMIT = 32
"""Levels at most."""

MAILBOX_LIMIT = 10_000
"""Mailboxes of one account at most, and subscriptions."""


class SpecialUse(Enum):
    """What a mailbox is for (RFC 6154 §2). \\All and \\Flagged would be views; there are none."""

    ARCHIVE = "\\Archive"
    DRAFTS = "\\Drafts"
    JUNK = "\\Junk"
    SENT = "\\Sent"
    TRASH = "\\Trash"


DEFAULT_MAILBOXES = (
    (INBOX, None),
    ("Archive", SpecialUse.ARCHIVE),
    ("Drafts", SpecialUse.DRAFTS),
    ("Junk", SpecialUse.JUNK),
    ("Sent", SpecialUse.SENT),
    ("Trash", SpecialUse.TRASH),
)
"""What a new account begins with."""


class MailboxError(Exception):
    """It cannot be done; the text says why, `code` is the response code of RFC 9051 §7.1."""

    code = "CANNOT"


class BadMailboxName(MailboxError):
    """No mailbox can have this name."""


class MailboxNotFound(MailboxError):
    code = "NONEXISTENT"


class MailboxExists(MailboxError):
    code = "ALREADYEXISTS"


class SpecialUseTaken(MailboxError):
    """Another mailbox has this special use."""

    code = "USEATTR"


class TooManyMailboxes(MailboxError):
    code = "LIMIT"


class Mailbox(NamedTuple):
    """One mailbox, without its messages."""

    id: int
    """Unique in the account, for ever (MAILBOXID of RFC 8474)."""
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    """HIGHESTMODSEQ (RFC 7162 §3.1.2.1)."""
    special: str
    """`\\Sent` …, or empty."""


class Listed(NamedTuple):
    """One name of LIST. `mailbox` is None for a name that is no mailbox: a parent, or only subscribed."""

    name: str
    mailbox: Mailbox | None
    subscribed: bool
    children: bool


class Status(NamedTuple):
    """The numbers of STATUS and SELECT (RFC 9051 §6.3.11, RFC 8438)."""

    mailbox: Mailbox
    messages: int
    unseen: int
    deleted: int
    recent: int
    size: int
    """Octets of all messages."""
    deleted_size: int
    """Octets of those that are \\Deleted (RFC 9208 §4.1.4)."""


@lru_cache(maxsize=1000)
def canonical_name(name: str) -> str:
    """The one form of a name: NFC, INBOX in capitals, no separator at the end. Raises `BadMailboxName`."""
    try:
        if len(name.encode()) > NAME_LIMIT:
            raise BadMailboxName(f"Mailbox name is longer than {NAME_LIMIT} octets")
    except UnicodeEncodeError:
        raise BadMailboxName("Mailbox name is not valid Unicode") from None
    # RFC 9051 §6.3.4: a separator at the end only says that children will follow.
    name = unicodedata.normalize("NFC", name).removesuffix(SEPARATOR)
    levels = name.split(SEPARATOR)
    if not all(levels):
        raise BadMailboxName("Mailbox name has an empty level")
    if len(levels) > DEPTH_LIMIT or max(map(len, levels)) > LEVEL_LIMIT or len(name.encode()) > NAME_LIMIT:
        raise BadMailboxName("Mailbox name is too long or too deep")
    # RFC 9051 §5.1: no control characters, no line or paragraph separators.
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        raise BadMailboxName("Mailbox name has a control character")
    if name.startswith("\ufeff"):  # RFC 5198 §2, of which RFC 9051 §5.1 wants every name
        raise BadMailboxName("Mailbox name begins with a byte order mark")
    if levels[0].lower() == INBOX.lower():  # not upper(), which makes an I of a dotless one
        levels[0] = INBOX
        return SEPARATOR.join(levels)
    return name


def parents(name: str) -> list[str]:
    """The names above `name`, the topmost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))]


_COLUMNS = "id, name, uidvalidity, uidnext, modseq, special"


def find(reader: Tx | Reader, account: AccountId, name: str) -> Mailbox | None:
    """The mailbox with this canonical name."""
    row = reader.one(f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND name = ?", (account, name))
    return None if row is None else Mailbox(*row)


def find_id(reader: Tx | Reader, account: AccountId, id: int) -> Mailbox | None:
    """The mailbox with this id, whatever its name is now; None when it is being deleted."""
    return of_rows(reader.all(*finding_id(account, id)))


def finding_id(account: AccountId, id: int) -> Question:
    """What `find_id` asks; `of_rows` makes of its rows what it gives."""
    return f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND id = ?", (account, id)


def of_rows(rows: Sequence[tuple[Any, ...]]) -> Mailbox | None:
    """See `finding_id`."""
    return Mailbox(*rows[0]) if rows and not rows[0][1].startswith(SEPARATOR) else None


def touch(tx: Tx, account: AccountId, id: int, modseq: int) -> None:
    """Something about a mailbox has changed, if no message of it: sessions that have it open look again."""
    tx.run("UPDATE mailbox SET modseq = ? WHERE account = ? AND id = ?", (modseq, account, id))


def exists(reader: Tx | Reader, account: AccountId, name: str) -> bool:
    """Whether there is a mailbox with this canonical name."""
    return reader.one("SELECT 1 FROM mailbox WHERE account = ? AND name = ?", (account, name)) is not None


def every(reader: Tx | Reader, account: AccountId) -> list[Mailbox]:
    """All mailboxes of the account, INBOX first, then by name."""
    rows = reader.all(f"SELECT {_COLUMNS} FROM mailbox WHERE account = ?", (account,))
    found = [Mailbox(*row) for row in rows if not row[1].startswith(SEPARATOR)]
    return sorted(found, key=lambda mailbox: _in_order(mailbox.name))


def uidnexts(reader: Tx | Reader, account: AccountId) -> list[tuple[int, int]]:
    """Id and next UID of every mailbox."""
    return reader.all(
        "SELECT id, uidnext FROM mailbox WHERE account = ? AND name NOT LIKE ? ORDER BY id",
        (account, f"{SEPARATOR}%"),
    )


def _in_order(name: str) -> tuple[bool, list[str]]:
    levels = name.split(SEPARATOR)
    return levels[0] != INBOX, levels


def listing(reader: Tx | Reader, account: AccountId, others: Iterable[Mailbox] = ()) -> list[Listed]:
    """Every name that LIST can show, parents before children, INBOX first.

    `others`: mailboxes of other accounts, with the names that they have for this one.
    """
    mailboxes = {mailbox.name: mailbox for mailbox in (*others, *every(reader, account))}
    subscribed = subscriptions(reader, account)
    above = {parent for name in mailboxes for parent in parents(name)}
    names = sorted({*mailboxes, *subscribed, *above}, key=_in_order)
    return [Listed(name, mailboxes.get(name), name in subscribed, name in above) for name in names]


def create(
    tx: Tx, account: AccountId, name: str, now: float, *, special: SpecialUse | None = None
) -> list[Mailbox]:
    """Make a mailbox and those above it that are missing (RFC 9051 §6.3.4); the wanted one is the last.

    `name` is canonical, `now` in seconds since 1970. Raises `MailboxExists`, `SpecialUseTaken`,
    `TooManyMailboxes`, `NoSuchAccount`.
    """
    if exists(tx, account, name):
        raise MailboxExists(f"Mailbox {name} exists already")
    if special is not None:
        _special_use_is_free(tx, account, special)
    made = [
        _insert(tx, account, parent, now, None) for parent in parents(name) if not exists(tx, account, parent)
    ]
    made.append(_insert(tx, account, name, now, special))
    _within_limit(tx, account)
    return made


def create_defaults(tx: Tx, account: AccountId, now: float) -> None:
    """Give a new account its mailboxes, subscribed."""
    for name, special in DEFAULT_MAILBOXES:
        _insert(tx, account, name, now, special)
        subscribe(tx, account, name)


def _insert(tx: Tx, account: AccountId, name: str, now: float, special: SpecialUse | None) -> Mailbox:
    uidvalidity, modseq = usage.next_uidvalidity(tx, account, now)
    mailbox = Mailbox(uidvalidity, name, uidvalidity, 1, modseq, "" if special is None else special.value)
    tx.run(
        f"INSERT INTO mailbox (account, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (account, *mailbox),
    )
    above = find(tx, account, name.rpartition(SEPARATOR)[0]) if SEPARATOR in name else None
    if above is not None:
        rights.inherit(tx, account, above.id, mailbox.id)
    return mailbox


def _within_limit(tx: Tx, account: AccountId) -> None:
    row = tx.one("SELECT count(*) FROM mailbox WHERE account = ?", (account,))
    if row is not None and row[0] > MAILBOX_LIMIT:
        raise TooManyMailboxes(f"An account can have {MAILBOX_LIMIT} mailboxes")


def _special_use_is_free(tx: Tx, account: AccountId, special: SpecialUse) -> None:
    row = tx.one("SELECT name FROM mailbox WHERE account = ? AND special = ?", (account, special.value))
    if row is not None:
        raise SpecialUseTaken(f"Mailbox {row[0]} is {special.value} already")


def set_special_use(tx: Tx, account: AccountId, name: str, special: SpecialUse | None) -> int:
    """Say what a mailbox is for, None for nothing special; the account's modseq.

    Raises `MailboxNotFound`, `SpecialUseTaken`.
    """
    if not exists(tx, account, name):
        raise MailboxNotFound(f"There is no mailbox {name}")
    modseq = usage.advance(tx, account)
    tx.run("UPDATE mailbox SET special = '' WHERE account = ? AND name = ?", (account, name))
    if special is not None:
        _special_use_is_free(tx, account, special)
        tx.run(
            "UPDATE mailbox SET special = ? WHERE account = ? AND name = ?", (special.value, account, name)
        )
    return modseq


def rename(tx: Tx, account: AccountId, old: str, new: str, now: float) -> list[Mailbox]:
    """Rename a mailbox and its children; UIDs and UIDVALIDITY stay. Returns the parents that were made.

    INBOX is special (RFC 9051 §6.3.6): its messages move to a new mailbox, INBOX stays, empty, and so do
    its children. Raises `MailboxNotFound`, `MailboxExists`, `BadMailboxName`.
    """
    if exists(tx, account, new):
        raise MailboxExists(f"Mailbox {new} exists already")
    if old == INBOX:
        made = create(tx, account, new, now)
        _move_everything(tx, account, made[-1], now)  # the annotations stay, and go with them (RFC 5464 §4.1)
        return made[:-1]
    if new.startswith(old + SEPARATOR):
        raise BadMailboxName("A mailbox cannot become its own child")
    moving = [
        mailbox
        for mailbox in every(tx, account)
        if mailbox.name == old or mailbox.name.startswith(old + SEPARATOR)
    ]
    if not moving:
        raise MailboxNotFound(f"There is no mailbox {old}")
    renamed = [(canonical_name(new + mailbox.name[len(old) :]), mailbox.id) for mailbox in moving]
    for name, _ in renamed:
        if exists(tx, account, name):
            raise MailboxExists(f"Mailbox {name} exists already")
    made = [
        _insert(tx, account, parent, now, None) for parent in parents(new) if not exists(tx, account, parent)
    ]
    usage.advance(tx, account)
    tx.many(
        "UPDATE mailbox SET name = ? WHERE account = ? AND id = ?",
        [(name, account, id) for name, id in renamed],
    )
    _within_limit(tx, account)
    return made


def _move_everything(tx: Tx, account: AccountId, target: Mailbox, now: float) -> None:
    """Messages of INBOX, with their UIDs, into the new mailbox `target`."""
    inbox = find(tx, account, INBOX)
    assert inbox is not None
    modseq = usage.advance(tx, account)
    metadata.copy(tx, account, inbox.id, target.id)
    wide.settle(tx, account, inbox.id)
    tx.run(
        "UPDATE placement SET mailbox = ?, modseq = ?, saved = ? WHERE account = ? AND mailbox = ?",
        (target.id, modseq, int(now), account, inbox.id),
    )
    tx.run(
        "UPDATE mailbox SET uidnext = ?, recent = ?, modseq = ? WHERE account = ? AND id = ?",
        (inbox.uidnext, inbox.uidnext, modseq, account, target.id),
    )
    tx.run(
        "UPDATE mailbox SET recent = uidnext, modseq = ? WHERE account = ? AND id = ?",
        (modseq, account, inbox.id),
    )
    if inbox.uidnext > 1:
        tx.run(
            "INSERT INTO expunged (account, mailbox, modseq, uid, last) VALUES (?, ?, ?, 1, ?)",
            (account, inbox.id, modseq, inbox.uidnext - 1),
        )


def delete(tx: Tx, account: AccountId, name: str) -> None:
    """Delete a mailbox; its children stay. Its messages go with `removal.sweep`, which is to be called next.

    Raises `MailboxNotFound`, and `MailboxError` for INBOX (RFC 9051 §6.3.5).
    """
    if name == INBOX:
        raise MailboxError("INBOX cannot be deleted")
    mailbox = find(tx, account, name)
    if mailbox is None:
        raise MailboxNotFound(f"There is no mailbox {name}")
    usage.advance(tx, account)
    # No name begins with the separator, so this one is nobody's.
    tx.run(
        "UPDATE mailbox SET name = ?, special = '' WHERE account = ? AND id = ?",
        (f"{SEPARATOR}{mailbox.id}", account, mailbox.id),
    )
    rights.forget(tx, account, mailbox.id)
    metadata.forget(tx, account, mailbox.id)
    urlkeys.forget(tx, account, mailbox.id)


def subscriptions(reader: Tx | Reader, account: AccountId) -> frozenset[str]:
    """Subscribed names, whether there is such a mailbox or not (RFC 9051 §6.3.7)."""
    rows = reader.all("SELECT name FROM subscription WHERE account = ?", (account,))
    return frozenset(name for (name,) in rows)


def subscribe(tx: Tx, account: AccountId, name: str) -> None:
    """Subscribe to a canonical name; twice is as good as once. Raises `TooManyMailboxes`."""
    tx.run("INSERT INTO subscription (account, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (account, name))
    row = tx.one("SELECT count(*) FROM subscription WHERE account = ?", (account,))
    if row is not None and row[0] > MAILBOX_LIMIT:
        raise TooManyMailboxes(f"An account can have {MAILBOX_LIMIT} subscriptions")


def unsubscribe(tx: Tx, account: AccountId, name: str) -> None:
    """No longer; no matter if it never was."""
    tx.run("DELETE FROM subscription WHERE account = ? AND name = ?", (account, name))


_COUNTS = (
    "count(*), COALESCE(sum(CASE WHEN flags & 1 = 0 THEN 1 ELSE 0 END), 0),"
    " COALESCE(sum(CASE WHEN flags & 8 = 0 THEN 0 ELSE 1 END), 0), COALESCE(sum(size), 0),"
    " COALESCE(sum(CASE WHEN flags & 8 = 0 THEN 0 ELSE size END), 0)"
)


class _Counts(NamedTuple):
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    deleted_size: int = 0


_NONE = _Counts()


def _counts(reader: Tx | Reader, account: AccountId, mailbox: int) -> _Counts:
    """Of one mailbox."""
    wides = wide.pending(reader, account, mailbox)
    if wides:
        return _counts_with(reader, account, mailbox, wides)
    row = reader.one(f"SELECT {_COUNTS} FROM placement WHERE account = ? AND mailbox = ?", (account, mailbox))
    assert row is not None
    return _Counts(*map(int, row))


def _counts_with(
    reader: Tx | Reader, account: AccountId, mailbox: int, wides: Sequence[wide.Wide]
) -> _Counts:
    """The same while changes are pending: messages that are alike are one row of the answer."""
    total = _NONE
    for first, last in wide.spans(wides):
        rows = reader.all(
            "SELECT flags, CASE WHEN modseq < ? THEN 0 ELSE modseq END, count(*), sum(size) FROM placement"
            " WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? GROUP BY 1, 2",
            (wides[0].modseq, account, mailbox, first, last),
        )
        for before, modseq, messages, size in rows:
            flags, _ = wide.shown(wides, first, before, modseq)
            unseen, deleted = not flags & Flag.SEEN, bool(flags & Flag.DELETED)
            alike = (messages, messages * unseen, messages * deleted, int(size), int(size) * deleted)
            total = _Counts(*map(sum, zip(total, alike, strict=True)))
    return total


def status(reader: Tx | Reader, account: AccountId, name: str) -> Status:
    """The numbers of one mailbox. Raises `MailboxNotFound`."""
    row = reader.one(
        f"SELECT {_COLUMNS}, recent FROM mailbox WHERE account = ? AND name = ?", (account, name)
    )
    if row is None:
        raise MailboxNotFound(f"There is no mailbox {name}")
    *columns, recent = row
    mailbox = Mailbox(*columns)
    return _status(reader, account, mailbox, recent, _counts(reader, account, mailbox.id))


def _status(
    reader: Tx | Reader, account: AccountId, mailbox: Mailbox, recent: int, counts: _Counts
) -> Status:
    fresh = 0
    if counts.messages and recent < mailbox.uidnext:
        row = reader.one(
            "SELECT count(*) FROM placement WHERE account = ? AND mailbox = ? AND uid >= ?",
            (account, mailbox.id, recent),
        )
        fresh = 0 if row is None else row[0]
    messages, unseen, deleted, size, deleted_size = counts
    return Status(mailbox, messages, unseen, deleted, fresh, size, deleted_size)


def statuses(reader: Tx | Reader, account: AccountId) -> dict[str, Status]:
    """The numbers of every mailbox, by name, in one pass (LIST-STATUS, RFC 5819)."""
    counts = {
        id: _Counts(*map(int, rest))
        for id, *rest in reader.all(
            f"SELECT mailbox, {_COUNTS} FROM placement WHERE account = ? GROUP BY mailbox", (account,)
        )
    }
    for id in wide.mailboxes(reader, account):
        counts[id] = _counts(reader, account, id)
    recents: dict[int, int] = dict(reader.all("SELECT id, recent FROM mailbox WHERE account = ?", (account,)))
    return {
        mailbox.name: _status(reader, account, mailbox, recents[mailbox.id], counts.get(mailbox.id, _NONE))
        for mailbox in every(reader, account)
    }
