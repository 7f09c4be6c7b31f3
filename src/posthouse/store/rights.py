"""Rights: who may do what in a mailbox, beside its owner (RFC 4314).

The owner of an account has every right in its mailboxes, always. Others have what they were granted, by
name or as `anyone`, without what was taken from them (negative entries, which win). `anyone` means the
users of the owner's own domain: a server may have domains that are strangers to each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from posthouse.accounts import usage
from posthouse.mail.envelope import AccountId
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx

Rights: TypeAlias = frozenset[str]

ORDER: Final = "lrswipkxtea"
"""lookup, read, seen, write, insert, post, create (k), delete mailbox (x), delete messages (t), expunge,
administer (RFC 4314 §2.1). Nothing is posted to mailboxes yet: p is kept and has no effect."""

EVERY: Final = frozenset(ORDER)
NONE: Final[Rights] = frozenset()
_UNIONS: Final = {"c": "kx", "d": "te"}
"""What programs of RFC 2086 say (RFC 4314 §2.1.1)."""

ANYONE: Final = AccountId(0)

ENTRIES_LIMIT = 1000
"""Entries of one mailbox at most."""


class BadRights(ValueError):
    """There is no such right."""


class TooManyEntries(Exception):
    """A mailbox has `ENTRIES_LIMIT` entries already."""


class Entry(NamedTuple):
    """What one identifier may do, or may not."""

    grantee: AccountId
    """`ANYONE`, or one account."""
    negative: bool
    rights: Rights


class How(Enum):
    """What is done with the rights that an identifier has already."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


def parse(text: str) -> Rights:
    """Rights as a client writes them. Raises BadRights."""
    found: set[str] = set()
    for letter in text:
        if letter not in EVERY and letter not in _UNIONS:
            raise BadRights(f"There is no right {letter!r}")
        found.update(_UNIONS.get(letter, letter))
    return frozenset(found)


def show(rights: Rights) -> str:
    """Rights as a client reads them, the old unions among them (RFC 4314 §2.1.1)."""
    letters = [letter for letter in ORDER if letter in rights]
    letters += [union for union, members in _UNIONS.items() if rights.intersection(members)]
    return "".join(letters)


def entries(reader: Tx | Reader, account: AccountId, mailbox: int) -> list[Entry]:
    """All entries of a mailbox."""
    rows = reader.all(
        "SELECT grantee, negative, rights FROM acl WHERE account = ? AND mailbox = ?"
        " ORDER BY grantee, negative",
        (account, mailbox),
    )
    return [Entry(AccountId(grantee), bool(negative), frozenset(text)) for grantee, negative, text in rows]


def held(found: Iterable[Entry]) -> Rights:
    """What comes of the entries that concern somebody."""
    given: set[str] = set()
    taken: set[str] = set()
    for entry in found:
        (taken if entry.negative else given).update(entry.rights)
    return frozenset(given - taken)


def of(reader: Tx | Reader, account: AccountId, mailbox: int, grantees: Collection[AccountId]) -> Rights:
    """What a user may do in another's mailbox; `grantees`: his account, and ANYONE where it covers him."""
    rows: list[Entry] = []
    for condition, some in listed(sorted(grantees), "grantee"):
        rows += (
            Entry(AccountId(grantee), bool(negative), frozenset(text))
            for grantee, negative, text in reader.all(
                "SELECT grantee, negative, rights FROM acl"
                f" WHERE account = ? AND mailbox = ? AND {condition}",
                (account, mailbox, *some),
            )
        )
    return held(rows)


def granted(reader: Reader, grantee: AccountId) -> list[tuple[AccountId, int, Entry]]:
    """Where an account, or ANYONE, is named: whose mailbox, which, and what."""
    rows = reader.all(
        "SELECT account, mailbox, negative, rights FROM acl WHERE grantee = ? ORDER BY account, mailbox",
        (grantee,),
    )
    return [
        (AccountId(account), mailbox, Entry(grantee, bool(negative), frozenset(text)))
        for account, mailbox, negative, text in rows
    ]


def change(
    tx: Tx, account: AccountId, mailbox: int, grantee: AccountId, negative: bool, how: How, rights: Rights
) -> int:
    """Change one entry; without rights it goes. Returns the account's modseq: watchers look again.

    Raises TooManyEntries, NoSuchAccount.
    """
    key = (account, mailbox, grantee, int(negative))
    if how is not How.REPLACE:
        row = tx.one(f"SELECT rights FROM acl WHERE {_KEY}", key)
        had: Rights = NONE if row is None else frozenset(row[0])
        rights = had | rights if how is How.ADD else had - rights
    modseq = usage.advance(tx, account)
    tx.run(f"DELETE FROM acl WHERE {_KEY}", key)
    if rights:
        row = tx.one("SELECT count(*) FROM acl WHERE account = ? AND mailbox = ?", (account, mailbox))
        if row is not None and row[0] >= ENTRIES_LIMIT:
            raise TooManyEntries
        text = "".join(letter for letter in ORDER if letter in rights)
        tx.run(
            "INSERT INTO acl (account, mailbox, grantee, negative, rights) VALUES (?, ?, ?, ?, ?)",
            (*key, text),
        )
    return modseq


_KEY = "account = ? AND mailbox = ? AND grantee = ? AND negative = ?"


def inherit(tx: Tx, account: AccountId, parent: int, mailbox: int) -> None:
    """Give a new mailbox the entries of its parent (RFC 4314 §4, of CREATE)."""
    tx.run(
        "INSERT INTO acl (account, mailbox, grantee, negative, rights)"
        " SELECT account, CAST(? AS BIGINT), grantee, negative, rights FROM acl"
        " WHERE account = ? AND mailbox = ?",
        (mailbox, account, parent),
    )


def forget(tx: Tx, account: AccountId, mailbox: int) -> None:
    """The mailbox is gone."""
    tx.run("DELETE FROM acl WHERE account = ? AND mailbox = ?", (account, mailbox))
