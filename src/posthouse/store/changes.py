"""Changes: what a session does to messages in a mailbox (RFC 9051 §6.4, RFC 7162, RFC 6851).

Each function is for the closure of `Database.write([account], …)`. One change takes one modseq, under
the account's row, and gives it to every message it touches and to the mailbox. A change that changes
nothing leaves the mailbox's modseq as it was. Mailboxes are named by id, so that a session goes on
after a rename; the target of a copy by its canonical name, as the user said it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.accounts import usage
from posthouse.store import content, mailboxes, wide
from posthouse.store.deposit import AccountGone, Deposit, Deposited, Missing, NoMailbox, deposit
from posthouse.store.flags import ALL_FLAGS, Flag, keyword_text, with_keywords, without_keywords
from posthouse.store.mailboxes import MailboxError, MailboxNotFound
from posthouse.store.removal import bury, release_emails
from posthouse.store.uids import ALL, Ranges, conditions, listed, ranges_of
from posthouse.store.wide import Change

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.mail.envelope import AccountId


class Action(Enum):
    """What STORE does with the flags it names (RFC 9051 §6.4.6)."""

    SET = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"

    def of(self, flags: int, mask: int = ALL_FLAGS) -> Change:
        """What it does with system flags; those beyond `mask` stay as they are."""
        flags &= mask
        if self is Action.REMOVE:
            return Change(ALL_FLAGS & ~flags, 0)
        return Change(ALL_FLAGS & ~mask if self is Action.SET else ALL_FLAGS, flags)


class Stored(NamedTuple):
    modseq: int
    """Of the messages that changed; the mailbox's as it was where none did."""
    changed: int
    """How many did."""
    refused: list[int]
    """UIDs that were changed after `unchanged_since`, ascending (MODIFIED of RFC 7162 §3.1.3)."""
    before: int
    """The mailbox's modseq before: who knows it as it was then knows what it is now."""


class Seen(NamedTuple):
    """What is known of a mailbox that is to be changed."""

    modseq: int
    """Its modseq, when …"""
    changing: int
    """… so many of the messages were other than they are to be."""


class Expunged(NamedTuple):
    modseq: int
    uids: list[int]


class Copied(NamedTuple):
    """COPYUID (RFC 9051 §7.1): `sources[i]` lies in the target as `targets[i]`."""

    modseq: int
    """Of the account of the target."""
    uidvalidity: int
    sources: list[int]
    targets: list[int]
    left: int = 0
    """After a move, the modseq of the account that they left."""


class Terms(NamedTuple):
    """How copies come into a mailbox."""

    now: float
    """When, seconds since 1970 (RFC 8514)."""
    limit: int
    """Quota as in `deposit`."""
    account: AccountId | None = None
    """Whose mailbox the target is, where it is somebody else's; it is then among the keys of the write."""
    flags: int = ALL_FLAGS
    """Flags that are kept; others are dropped (RFC 4314 §4)."""
    keywords: bool = True
    """Keywords are kept."""


class AppendTarget(MailboxNotFound):
    """The mailbox to copy or append to is not there; the client may create it."""

    code = "TRYCREATE"


class QuotaExceeded(MailboxError):
    """The messages do not fit (RFC 9208 §4.3.1)."""

    code = "OVERQUOTA"


class MessageGone(MailboxError):
    """The message to be replaced has been removed."""

    code = "EXPUNGEISSUED"


class NewMessages(NamedTuple):
    """Messages to append."""

    copies: Sequence[Deposit]
    contents: Sequence[content.New]
    """Of theirs, those that are not stored yet."""


class Replaced(NamedTuple):
    """A message that another takes the place of."""

    mailbox: int
    uid: int


def _unsettled(tx: Tx, account: AccountId, mailbox: int) -> tuple[mailboxes.Mailbox, list[wide.Wide]]:
    """A mailbox, and the wide changes that its rows do not show yet. Raises `MailboxNotFound`."""
    rows, pending = tx.ask([mailboxes.finding_id(account, mailbox), wide.asking(account, mailbox)])
    found = mailboxes.of_rows(rows)
    if found is None:
        raise MailboxNotFound("The mailbox has been deleted")
    return found, wide.of_rows(pending)


def _settled(tx: Tx, account: AccountId, mailbox: int, ranges: Ranges) -> mailboxes.Mailbox:
    """A mailbox; the rows of these messages show then what they are."""
    found, pending = _unsettled(tx, account, mailbox)
    wide.apply(tx, account, mailbox, ranges, pending)
    return found


def store_many(
    tx: Tx, account: AccountId, mailbox: int, run: tuple[int, int], change: Change, seen: Seen
) -> Stored | None:
    """Change system flags of all messages in a run of UIDs, at a cost that does not grow with it.

    None, and nothing is done, where that cannot be, because the mailbox is not as it was `seen`, or too much
    is pending: do it by `store`. Raises `MailboxNotFound`.
    """
    found, pending = _unsettled(tx, account, mailbox)
    if found.modseq != seen.modseq or len(pending) >= wide.PENDING:
        return None
    if not seen.changing:
        return Stored(found.modseq, 0, [], found.modseq)
    modseq = usage.advance(tx, account)
    wide.note(tx, account, mailbox, pending, run, change, (found.modseq, modseq))
    _reach(tx, account, mailbox, modseq, flags=True)
    return Stored(modseq, seen.changing, [], found.modseq)


def store(
    tx: Tx,
    account: AccountId,
    mailbox: int,
    ranges: Ranges,
    action: Action,
    flags: int,
    words: Iterable[str] = (),
    *,
    unchanged_since: int | None = None,
    excused: Callable[[int, int, str], bool] | None = None,
    mask: int = ALL_FLAGS,
    keywords: bool = True,
) -> Stored:
    """Change flags and keywords (`words`) of the messages in `ranges`, passing over UIDs that are not there.

    `unchanged_since` leaves alone what has a greater modseq, but for what is `excused`, by UID, flags and
    keywords. Flags beyond `mask`, and all keywords where `keywords` is false, stay as they are. Raises
    `MailboxNotFound`, `BadKeyword`.
    """
    found = _settled(tx, account, mailbox, ranges)
    words = tuple(words) if keywords else ()
    refused: list[int] = []
    where = "account = ? AND mailbox = ?"
    key: tuple[int, ...] = (account, mailbox)
    scopes = [(f"{where} AND {condition}", (*key, *some)) for condition, some in conditions(ranges)]
    if unchanged_since is not None:
        later = _changed_since(tx, scopes, unchanged_since)
        spared = [uid for uid, bits, text in later if excused is not None and excused(uid, bits, text)]
        refused = sorted({uid for uid, _, _ in later}.difference(spared))
        scopes = [(f"{scope} AND modseq <= ?", (*some, unchanged_since)) for scope, some in scopes]
        scopes += [(f"{where} AND {one}", (*key, *some)) for one, some in listed(sorted(spared), "uid")]
    modseq = usage.advance(tx, account)
    changed = 0
    change = action.of(flags, mask)
    for scope in scopes:
        if action is Action.SET and keywords:
            changed += _set(tx, *scope, modseq, change, keyword_text(words))
        elif not words:
            changed += _system(tx, *scope, modseq, change)
        else:
            changed += _with_words(tx, *scope, modseq, action, change, words)
    if not changed:
        return Stored(found.modseq, 0, refused, found.modseq)
    _reach(tx, account, mailbox, modseq, flags=True)
    return Stored(modseq, changed, refused, found.modseq)


def _changed_since(
    tx: Tx, scopes: Iterable[tuple[str, tuple[int, ...]]], modseq: int
) -> list[tuple[int, int, str]]:
    """UID, flags and keywords of the messages of some scopes that have a greater modseq."""
    found: list[tuple[int, int, str]] = []
    for scope, key in scopes:
        found += tx.all(
            f"SELECT uid, flags, keywords FROM placement WHERE {scope} AND modseq > ?", (*key, modseq)
        )
    return found


def _set(tx: Tx, where: str, key: tuple[int, ...], modseq: int, change: Change, keywords: str) -> int:
    return tx.count(
        f"UPDATE placement SET flags = (flags & ?) | ?, keywords = ?, modseq = ? WHERE {where}"
        " AND ((flags & ?) | ? <> flags OR keywords <> ?)",
        (*change, keywords, modseq, *key, *change, keywords),
    )


def _system(tx: Tx, where: str, key: tuple[int, ...], modseq: int, change: Change) -> int:
    """Keywords stay as they are."""
    return tx.count(
        f"UPDATE placement SET flags = (flags & ?) | ?, modseq = ? WHERE {where}"
        " AND (flags & ?) | ? <> flags",
        (*change, modseq, *key, *change),
    )


def _with_words(
    tx: Tx,
    where: str,
    key: tuple[int, ...],
    modseq: int,
    action: Action,
    system: Change,
    words: tuple[str, ...],
) -> int:
    """Keywords are text, so what comes out of adding and removing is found message by message."""
    change: Callable[[str, Iterable[str]], str]
    change = with_keywords if action is Action.ADD else without_keywords
    rows = []
    for uid, old, present in tx.all(f"SELECT uid, flags, keywords FROM placement WHERE {where}", key):
        new = system.of(old)
        keywords = change(present, words)
        if new != old or keywords != present:
            rows.append((new, keywords, modseq, key[0], key[1], uid))
    tx.many(
        "UPDATE placement SET flags = ?, keywords = ?, modseq = ?"
        " WHERE account = ? AND mailbox = ? AND uid = ?",
        rows,
    )
    return len(rows)


def expunge(
    tx: Tx,
    contents: content.Contents,
    account: AccountId,
    mailbox: int,
    ranges: Ranges = ALL,
    *,
    deleted_only: bool = True,
) -> Expunged:
    """Remove messages for good: those with \\Deleted, or with `deleted_only` false whatever `ranges` names.

    Their octets come back to the account. Raises `MailboxNotFound`.
    """
    found = _settled(tx, account, mailbox, ranges if deleted_only else ())
    deleted = f" AND flags & {Flag.DELETED} <> 0" if deleted_only else ""
    gone: list[tuple[int, int, int]] = []
    for condition, some in conditions(ranges):
        gone += tx.all(
            f"DELETE FROM placement WHERE account = ? AND mailbox = ? AND {condition}{deleted}"
            " RETURNING uid, email, size",
            (account, mailbox, *some),
        )
    if not gone:
        return Expunged(found.modseq, [])
    modseq = usage.advance(tx, account, sum(size for _, _, size in gone))
    uids = sorted(uid for uid, _, _ in gone)
    bury(tx, account, mailbox, modseq, uids)
    _reach(tx, account, mailbox, modseq)
    release_emails(tx, contents, account, [email for _, email, _ in gone])
    return Expunged(modseq, uids)


def _reach(tx: Tx, account: AccountId, mailbox: int, modseq: int, *, flags: bool = False) -> None:
    """This is the modseq of the last change of a mailbox, and if it is one of flags, of the last such."""
    columns = "modseq = ?, changed = ?" if flags else "modseq = ?"
    values = (modseq,) * (1 + flags)
    tx.run(f"UPDATE mailbox SET {columns} WHERE account = ? AND id = ?", (*values, account, mailbox))


def copy(tx: Tx, account: AccountId, mailbox: int, ranges: Ranges, target: str, terms: Terms) -> Copied:
    """Put the messages also into `target`, by ascending UID, with flags, keywords and internal date.

    Each copy counts against the quota of the target's account, though the content is stored once. Raises
    `MailboxNotFound`, `AppendTarget`, `QuotaExceeded`.
    """
    return _copy(tx, account, mailbox, ranges, target, terms, moving=False)[1]


def move(
    tx: Tx,
    account: AccountId,
    mailbox: int,
    ranges: Ranges,
    target: str,
    terms: Terms,
    contents: content.Contents,
) -> Copied:
    """The same, and out of the mailbox they were in (RFC 6851 §3). Within one mailbox they get new UIDs."""
    rows, moved = _copy(tx, account, mailbox, ranges, target, terms, moving=True)
    if not rows:
        return moved
    elsewhere = terms.account not in (None, account)
    left = usage.advance(tx, account, sum(row[2] for row in rows)) if elsewhere else moved.modseq
    for condition, some in conditions(ranges_of(moved.sources)):
        tx.run(
            f"DELETE FROM placement WHERE account = ? AND mailbox = ? AND {condition}",
            (account, mailbox, *some),
        )
    bury(tx, account, mailbox, left, moved.sources)
    _reach(tx, account, mailbox, left)
    if elsewhere:
        release_emails(tx, contents, account, [row[1] for row in rows])
    return moved._replace(left=left)


_Row: TypeAlias = tuple[int, int, int, int, str]
"""UID, email, size, flags, keywords."""


def _copy(
    tx: Tx,
    account: AccountId,
    mailbox: int,
    ranges: Ranges,
    target: str,
    terms: Terms,
    *,
    moving: bool,
) -> tuple[list[_Row], Copied]:
    """The messages of `ranges`, and what became of their copies. Who moves within an account pays nothing."""
    _settled(tx, account, mailbox, ranges)
    owner = account if terms.account is None else terms.account
    into = mailboxes.find(tx, owner, target)
    if into is None:
        raise AppendTarget(f"There is no mailbox {target}")
    rows: list[_Row] = []
    for condition, some in conditions(ranges):
        rows += tx.all(
            "SELECT uid, email, size, flags, keywords FROM placement"
            f" WHERE account = ? AND mailbox = ? AND {condition}",
            (account, mailbox, *some),
        )
    if not rows:
        return rows, Copied(into.modseq, into.uidvalidity, [], [])
    rows.sort()
    if moving and owner == account:
        modseq = usage.advance(tx, account)
    else:
        modseq = _charge(tx, owner, sum(row[2] for row in rows), terms.limit)
    if owner != account:
        _adopt(tx, account, owner, [row[1] for row in rows])
    first = into.uidnext
    tx.run(
        "UPDATE mailbox SET uidnext = ?, modseq = ? WHERE account = ? AND id = ?",
        (first + len(rows), modseq, owner, into.id),
    )
    tx.many(
        "INSERT INTO placement (account, mailbox, uid, email, size, flags, keywords, modseq, saved)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                owner,
                into.id,
                uid,
                email,
                size,
                flags & terms.flags,
                words if terms.keywords else "",
                modseq,
                int(terms.now),
            )
            for uid, (_, email, size, flags, words) in enumerate(rows, first)
        ],
    )
    sources = [row[0] for row in rows]
    return rows, Copied(modseq, into.uidvalidity, sources, list(range(first, first + len(rows))))


def _charge(tx: Tx, account: AccountId, octets: int, limit: int) -> int:
    modseq = usage.charge(tx, account, octets, limit)
    if modseq is None:
        if not usage.exists(tx, account):
            raise usage.NoSuchAccount(account)
        raise QuotaExceeded("The quota would be exceeded")
    return modseq


def _adopt(tx: Tx, account: AccountId, owner: AccountId, emails: Sequence[int]) -> None:
    """Give `owner` emails of `account`. An id is never given twice, so one that is there is the same mail."""
    for condition, some in listed(sorted(set(emails)), "id"):
        tx.run(
            "INSERT INTO email (account, id, content, arrived, size, envelope, bodystructure, prefix)"
            " SELECT CAST(? AS BIGINT), id, content, arrived, size, envelope, bodystructure, prefix"
            f" FROM email WHERE account = ? AND {condition} ON CONFLICT (account, id) DO NOTHING",
            (owner, account, *some),
        )


def append(
    tx: Tx, account: AccountId, mailbox: str, messages: NewMessages, limit: int, now: float
) -> Deposited:
    """Append messages, all or none (RFC 9051 §6.3.12, RFC 3502); `limit` and `now` as in `Terms`.

    Returns where the first is; the others follow it. Raises `AppendTarget`, `QuotaExceeded`,
    `NoSuchAccount`; the exception undoes what went before.
    """
    first = deposit(tx, account, mailbox, messages.copies, limit, Missing.REFUSE, now)
    if isinstance(first, NoMailbox):
        raise AppendTarget(f"There is no mailbox {mailbox}")
    if isinstance(first, AccountGone):
        raise usage.NoSuchAccount(account)
    if not isinstance(first, Deposited):
        raise QuotaExceeded("The quota would be exceeded")
    content.put_all(tx, messages.contents)
    return first


def replace(
    tx: Tx,
    contents: content.Contents,
    account: AccountId,
    replaced: Replaced,
    mailbox: str,
    messages: NewMessages,
    limit: int,
    now: float,
    to: AccountId | None = None,
) -> tuple[int, Deposited]:
    """Append, and remove for good what is `replaced` (RFC 8508); what it takes up counts no more.

    `to`: whose `mailbox` is, where it is another's than `replaced`. Returns the modseq of the removal, and
    what was stored. Raises `MailboxNotFound`, `MessageGone`, and what `append` raises.
    """
    gone = expunge(
        tx, contents, account, replaced.mailbox, ((replaced.uid, replaced.uid),), deleted_only=False
    )
    if not gone.uids:
        raise MessageGone("The message to replace has been removed")
    return gone.modseq, append(tx, account if to is None else to, mailbox, messages, limit, now)


def claim_recent(tx: Tx, account: AccountId, mailbox: int) -> int:
    """Make the recent messages this session's: UIDs from the returned one on are \\Recent to it alone.

    For SELECT of IMAP4rev1 (RFC 3501 §2.3.2); EXAMINE reads `Snapshot.recent` and claims nothing. The
    account must be among the keys of the write, so that of two sessions one alone gets a message.
    """
    row = tx.one("SELECT recent, uidnext FROM mailbox WHERE account = ? AND id = ?", (account, mailbox))
    if row is None:
        raise MailboxNotFound("The mailbox has been deleted")
    recent, uidnext = row
    if recent < uidnext:
        tx.run("UPDATE mailbox SET recent = uidnext WHERE account = ? AND id = ?", (account, mailbox))
    return int(recent)


def claim_shown(tx: Tx, account: AccountId, mailbox: int, uidnext: int) -> None:
    """Messages before `uidnext` have been shown as \\Recent by a session that has the mailbox open.

    What came later stays as it is: nobody has seen it yet, so the next to see it is the first. Two
    sessions that were told of a message at the same time, before either could write so, have both shown it
    as \\Recent: RFC 3501 §2.3.2 wants that of those who cannot tell whether they are the first.
    """
    tx.run(
        "UPDATE mailbox SET recent = ? WHERE account = ? AND id = ? AND recent < ?",
        (uidnext, account, mailbox, uidnext),
    )
