"""Messages that come from another mail system, each once, however often the import is run.

What a message was where it came from is kept as a hash beside the UID it got here. One that a user has
deleted since is not brought again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import usage
from posthouse.store import changes, mailboxes, wide
from posthouse.store.changes import Action, NewMessages
from posthouse.store.flags import ALL_FLAGS, keyword_text
from posthouse.store.mailboxes import Mailbox, MailboxNotFound, SpecialUse
from posthouse.store.uids import listed, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId


class UidsNotFree(Exception):
    """The mailbox has, or had, messages with UIDs of its own."""


class Brought(NamedTuple):
    """A message to add: `item` as of `item_of`, `uid` the one it is to have (0: the next)."""

    item: int
    uid: int
    message: NewMessages
    """One alone."""


class Marked(NamedTuple):
    """A message that is there, and the flags it is to have."""

    uid: int
    flags: int
    keywords: tuple[str, ...]


def item_of(*what: str) -> int:
    """The hash, 63 bits, of what a message was elsewhere."""
    octets = "\0".join(what).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(octets, digest_size=8).digest()) >> 1


def target(
    tx: Tx, account: AccountId, name: str, now: float, *, special: SpecialUse | None, subscribed: bool
) -> Mailbox:
    """The mailbox of this canonical name, made where it is missing. Raises MailboxError, NoSuchAccount."""
    found = mailboxes.find(tx, account, name)
    if found is None:
        if special is not None and with_special_use(tx, account, special) is not None:
            special = None
        found = mailboxes.create(tx, account, name, now, special=special)[-1]
    if subscribed:
        mailboxes.subscribe(tx, account, name)
    return found


def with_special_use(reader: Tx | Reader, account: AccountId, special: SpecialUse) -> str | None:
    """The name of the account's mailbox for this, if there is one."""
    row = reader.one("SELECT name FROM mailbox WHERE account = ? AND special = ?", (account, special.value))
    return None if row is None else str(row[0])


def keep_uids(tx: Tx, account: AccountId, mailbox: Mailbox, uidvalidity: int) -> None:
    """Give an unused mailbox the UIDVALIDITY it had elsewhere; nothing to do where it has it.

    Raises UidsNotFree.
    """
    found = mailboxes.find_id(tx, account, mailbox.id)
    if found is None:
        raise MailboxNotFound(f"There is no mailbox {mailbox.name}")
    if found.uidvalidity == uidvalidity:
        return
    if found.uidnext > 1:
        raise UidsNotFree(f"{found.name} is not new: its UIDs are its own")
    usage.never_again(tx, account, uidvalidity)
    tx.run(
        "UPDATE mailbox SET uidvalidity = ?, modseq = ? WHERE account = ? AND id = ?",
        (uidvalidity, usage.advance(tx, account), account, mailbox.id),
    )


def known(reader: Reader, account: AccountId, mailbox: int, items: Sequence[int]) -> dict[int, int]:
    """Which of these items were brought before, and the UIDs they got."""
    found: dict[int, int] = {}
    for condition, some in listed(items, "item"):
        rows = reader.all(
            f"SELECT item, uid FROM imported WHERE account = ? AND mailbox = ? AND {condition}",
            (account, mailbox, *some),
        )
        found.update((int(item), int(uid)) for item, uid in rows)
    return found


def add(
    tx: Tx, account: AccountId, mailbox: int, brought: Sequence[Brought], limit: int, now: float
) -> list[int]:
    """Add messages and remember that they were; their UIDs. `limit` as of `changes.append`.

    A UID that is taken, or below one that is, cannot be kept; the message gets the next. Raises what
    `changes.append` raises.
    """
    found = mailboxes.find_id(tx, account, mailbox)
    if found is None:
        raise MailboxNotFound("The mailbox has been deleted")
    uids = []
    for item, uid, message in brought:
        if uid:
            tx.run(
                "UPDATE mailbox SET uidnext = ? WHERE account = ? AND id = ? AND uidnext < ?",
                (uid, account, mailbox, uid),
            )
        done = changes.append(tx, account, found.name, message, limit, now)
        tx.run(
            "INSERT INTO imported (account, mailbox, item, uid) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (account, mailbox, item) DO UPDATE SET uid = excluded.uid",
            (account, mailbox, item, done.uid),
        )
        uids.append(done.uid)
    return uids


def expect_uid(tx: Tx, account: AccountId, mailbox: int, uid: int) -> None:
    """No message gets a UID below this one."""
    tx.run(
        "UPDATE mailbox SET uidnext = ? WHERE account = ? AND id = ? AND uidnext < ?",
        (uid, account, mailbox, uid),
    )


def mark(tx: Tx, account: AccountId, mailbox: int, marked: Sequence[Marked]) -> int:
    """Give messages the flags that they have elsewhere; how many had others."""
    wanted: dict[tuple[int, str], list[int]] = {}
    present = {}
    uids = [one.uid for one in marked]
    wide.settle(tx, account, mailbox, [(uid, uid) for uid in uids])
    for condition, some in listed(uids, "uid"):
        rows = tx.all(
            f"SELECT uid, flags, keywords FROM placement WHERE account = ? AND mailbox = ? AND {condition}",
            (account, mailbox, *some),
        )
        present.update({int(uid): (int(flags), str(keywords)) for uid, flags, keywords in rows})
    for uid, flags, keywords in marked:
        marks = (flags & ALL_FLAGS, keyword_text(keywords))
        if uid in present and present[uid] != marks:
            wanted.setdefault(marks, []).append(uid)
    for (flags, keywords_), some_uids in wanted.items():
        ranges = ranges_of(sorted(some_uids))
        changes.store(tx, account, mailbox, ranges, Action.SET, flags, keywords_.split())
    return sum(map(len, wanted.values()))
