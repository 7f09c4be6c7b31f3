"""The full-text index: which messages of an account hold a string, without reading them.

What is indexed is the text of `mail.text`, folded as `mail.casefold` does: the header, and the body. A
question is for a substring, of one character or many, in any script. The index knows how far it has come:
messages of a mailbox below its *mark*, a UID, are in it; UIDs are given in the order of commits, so none
below can come later. What lies beyond, or was too long to be indexed as a whole, the asker reads himself.

Beside the text lie the words that an account's messages have in their subjects, addresses and bodies, for
searches with typing errors in them (FUZZY): which words are near to one that is sought.

In the same database lie the facts of messages (`factpages`), which have marks of their own.

Where it lies is the one thing that differs between databases: `fulltext_sqlite`, `fulltext_postgres`. All
of it can be made anew from the messages; `indexer` does that in the background.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from posthouse.db.limits import USUAL, Limits
from posthouse.db.open import POSTGRESQL, open_database
from posthouse.mail import spelling
from posthouse.mail.text import header_text, part_headers
from posthouse.store import factpages
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId
    from posthouse.mail.mime import Part
    from posthouse.store.factpages import Columns, Page

LEASE = "search"
"""Who holds it, in the database of the mail, fills the index."""

_TURN = 200
"""Headers of parts that are read before others have their turn."""

WORDS = 500_000
"""Words that are kept of an account; those that come later are not found by their like."""

_NEAR = 20_000
"""Words of which the distance is found out, for one that is sought."""

FORGET = 200
"""Messages that one transaction takes out of the index."""


async def headers_text(head: bytes, root: Part) -> str:
    """The headers of a message and of its parts, in which TEXT looks for a string; not folded."""
    texts = [header_text(head)]
    for text in part_headers(root):
        texts.append(text)
        if len(texts) % _TURN == 0:
            await asyncio.sleep(0)
    return "\n".join(texts)


class Where(Enum):
    """What of a message is to hold a string."""

    HEAD = "head"
    BODY = "body"
    TEXT = "either"


class Sought(NamedTuple):
    where: Where
    text: str
    """Folded, not empty."""


class Hits(NamedTuple):
    emails: frozenset[int]
    exact: bool
    """False: some of them may not hold the string after all."""


class Found(NamedTuple):
    """What the index knows of a mailbox. All of an account's messages may be among the hits."""

    mark: int
    """It holds the messages with a UID below."""
    partial: frozenset[int]
    """Emails of which it holds only the beginning: they hold a string also where they are no hit."""
    hits: Mapping[Sought, Hits]
    """What it cannot say is not here."""


class Document(NamedTuple):
    """A message as it goes into the index."""

    email: int
    head: str
    """Folded, as `body`."""
    body: str
    partial: bool
    """The text was cut off."""
    grams: str
    """Of `Dialect.grams`."""
    words: Collection[str] = ()
    """By which it is found in spite of typing errors: `spelling.words_of`."""


class Dialect(Protocol):
    """What the databases do differently."""

    members: str
    """A table whose `value`s are those of the JSON array `?`."""
    position: str
    """The function that tells where a string has another."""

    async def note_lease(self, database: Database, ends: float) -> None:
        """Write down when the lease ends under which the index in `database` is filled from now on."""

    def grams(self, account: AccountId, head: str, body: str) -> str:
        """What a message is looked up by beside its text. That takes a while, so it is done beforehand."""

    def add(self, tx: Tx, account: AccountId, documents: Sequence[Document]) -> None:
        """Put documents in, none of which is there."""

    def remove(self, tx: Tx, account: AccountId, emails: Sequence[int]) -> None:
        """Take documents out."""

    def match(self, reader: Reader, account: AccountId, sought: Sought) -> Hits | None:
        """Emails that hold a string; None where that cannot be said."""


class FullText:
    """The index of a process. Functions that take a `reader` or `tx` want one of `database`."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self.database = database
        self._dialect = dialect

    async def close(self) -> None:
        """Write what is waiting, then let go of everything."""
        await self.database.close()

    # What a search asks

    async def look_up(self, account: AccountId, mailbox: int, sought: Iterable[Sought]) -> Found:
        """What is known of a mailbox and some strings. Raises DatabaseError."""
        wanted = set(sought)
        return await self.database.read(lambda reader: self.find(reader, account, mailbox, wanted))

    async def near_words(self, account: AccountId, word: str) -> dict[str, int]:
        """`near`. Raises DatabaseError."""
        return await self.database.read(lambda reader: self.near(reader, account, word))

    def find(self, reader: Reader, account: AccountId, mailbox: int, sought: Iterable[Sought]) -> Found:
        mark = reader.one("SELECT uid FROM search_mark WHERE account = ? AND mailbox = ?", (account, mailbox))
        if mark is None:
            return Found(0, frozenset(), {})
        partial = reader.all(
            "SELECT email FROM search_document WHERE account = ? AND partial = 1", (account,)
        )
        hits = {one: found for one in sought if (found := self._dialect.match(reader, account, one))}
        return Found(int(mark[0]), frozenset(email for (email,) in partial), hits)

    # What the indexer asks and writes

    async def note_lease(self, ends: float) -> None:
        """The lease ends then, by the database's clock: so an index that is ahead of a backup is known."""
        await self._dialect.note_lease(self.database, ends)

    def document(
        self,
        account: AccountId,
        email: int,
        head: str,
        body: str,
        words: Collection[str],
        *,
        partial: bool,
    ) -> Document:
        """A message as it goes into the index."""
        return Document(email, head, body, partial, self._dialect.grams(account, head, body), words)

    def marks(self, reader: Tx | Reader, account: AccountId) -> dict[int, int]:
        """The mark of each mailbox that has one."""
        return dict(reader.all("SELECT mailbox, uid FROM search_mark WHERE account = ?", (account,)))

    def looked_at(self, reader: Reader, accounts: Sequence[int]) -> dict[int, int]:
        """The modseq that each account had when it was last looked at; those never looked at are missing."""
        rows: list[tuple[int, int]] = []
        for condition, some in listed(accounts, "account"):
            rows += reader.all(f"SELECT account, modseq FROM search_account WHERE {condition}", some)
        return dict(rows)

    def accounts_after(self, reader: Reader, account: int, limit: int) -> list[AccountId]:
        """Accounts of which something is in the index, in order."""
        rows = reader.all(
            "SELECT account FROM search_account WHERE account > ? ORDER BY account LIMIT ?", (account, limit)
        )
        return [account for (account,) in rows]

    def known(self, reader: Tx | Reader, account: AccountId, emails: Sequence[int]) -> set[int]:
        """Those of `emails` that are in the index."""
        found: set[int] = set()
        for condition, some in listed(emails, "email"):
            rows = reader.all(
                f"SELECT email FROM search_document WHERE account = ? AND {condition}", (account, *some)
            )
            found.update(email for (email,) in rows)
        return found

    def emails_after(self, reader: Tx | Reader, account: AccountId, email: int, limit: int) -> list[int]:
        """Emails that are in the index, in order."""
        rows = reader.all(
            "SELECT email FROM search_document WHERE account = ? AND email > ? ORDER BY email LIMIT ?",
            (account, email, limit),
        )
        return [email for (email,) in rows]

    def count(self, reader: Reader, account: AccountId) -> int:
        """How many messages of the account are in the index."""
        row = reader.one("SELECT count(*) FROM search_document WHERE account = ?", (account,))
        return 0 if row is None else int(row[0])

    def advance(
        self,
        tx: Tx,
        account: AccountId,
        mailbox: int,
        mark: tuple[int, int],
        documents: Sequence[Document],
        there: Collection[int] = (),
    ) -> bool:
        """Put documents in and move the mailbox's mark; False, and nothing, where somebody else was at it.

        `mark`: as it was (0: there was none), and as it is to be. `there`: emails that were in the index
        before, and must be.
        """
        self._lock(tx, account)
        known = self.known(tx, account, [*there, *(document.email for document in documents)])
        if not known.issuperset(there):
            return False
        before, after = mark
        if before == 0:
            moved = tx.count(
                "INSERT INTO search_mark (account, mailbox, uid) VALUES (?, ?, ?)"
                " ON CONFLICT (account, mailbox) DO NOTHING",
                (account, mailbox, after),
            )
        else:
            moved = tx.count(
                "UPDATE search_mark SET uid = ? WHERE account = ? AND mailbox = ? AND uid = ?",
                (after, account, mailbox, before),
            )
        if moved:
            new = [document for document in documents if document.email not in known]
            self._dialect.add(tx, account, new)
            self._learn(tx, account, set().union(*(document.words for document in new)))
        return bool(moved)

    def _learn(self, tx: Tx, account: AccountId, words: set[str]) -> None:
        """Keep words of the account; it is locked."""
        row = tx.one("SELECT words FROM search_account WHERE account = ?", (account,))
        if not words or (row is not None and row[0] >= WORDS):
            return
        new = tx.count(
            "INSERT INTO search_word (account, word)"
            f" SELECT CAST(? AS BIGINT), value FROM {self._dialect.members} WHERE 1 = 1"
            " ON CONFLICT (account, word) DO NOTHING",
            (account, json.dumps(sorted(words))),
        )
        if new:
            tx.run("UPDATE search_account SET words = words + ? WHERE account = ?", (new, account))

    def near(self, reader: Reader, account: AccountId, word: str) -> dict[str, int]:
        """Words of the account's messages that are near to a folded word, each with its distance.

        That takes time in proportion to the words that are kept, of which there are `WORDS` at most.
        """
        pieces, most = spelling.pieces_of(word), spelling.edits_of(word)
        holds = " OR ".join([f"{self._dialect.position}(word, ?) > 0"] * len(pieces))
        rows = reader.all(
            "SELECT word FROM search_word WHERE account = ? AND length(word) BETWEEN ? AND ?"
            f" AND ({holds}) LIMIT ?",
            (account, *spelling.lengths_of(word), *pieces, _NEAR),
        )
        found = ((other, spelling.distance(word, other, most)) for (other,) in rows)
        return {other: distance for other, distance in found if distance is not None}

    def _lock(self, tx: Tx, account: AccountId) -> None:
        """One at a time changes what is indexed of an account."""
        tx.run(
            "INSERT INTO search_account (account, modseq) VALUES (?, 0) ON CONFLICT (account) DO NOTHING",
            (account,),
        )
        tx.lock("search_account", "account", [account])

    def look(self, tx: Tx, account: AccountId, modseq: int, mailboxes: Collection[int]) -> None:
        """All of the account has been looked at; it had `modseq`, and these mailboxes."""
        tx.run(
            "INSERT INTO search_account (account, modseq) VALUES (?, ?)"
            " ON CONFLICT (account) DO UPDATE SET modseq = excluded.modseq",
            (account, modseq),
        )
        for mailbox in self.marks(tx, account).keys() - set(mailboxes):
            tx.run("DELETE FROM search_mark WHERE account = ? AND mailbox = ?", (account, mailbox))
        for mailbox in factpages.marks(tx, account).keys() - set(mailboxes):
            factpages.forget_mailbox(tx, account, mailbox)

    def remove(self, tx: Tx, account: AccountId, emails: Sequence[int]) -> None:
        """Take messages out that are gone."""
        self._dialect.remove(tx, account, emails)

    def put_facts(self, tx: Tx, account: AccountId, mailbox: int, page: Page, facts: Columns) -> bool:
        """`factpages.put`, one at a time for an account."""
        self._lock(tx, account)
        return factpages.put(tx, account, mailbox, page, facts)

    def shrink_facts(
        self, tx: Tx, account: AccountId, mailbox: int, page: Page, there: Sequence[int]
    ) -> bool:
        """`factpages.shrink`, one at a time for an account."""
        self._lock(tx, account)
        return factpages.shrink(tx, account, mailbox, page, there)

    def forget(self, tx: Tx, account: AccountId) -> bool:
        """Take some of an account's messages out; with the last ones all that is known of it.

        Call it until it returns False. From the first call on nothing of the account counts as indexed.
        """
        self._lock(tx, account)
        tx.run("DELETE FROM search_mark WHERE account = ?", (account,))
        tx.run("DELETE FROM search_word WHERE account = ?", (account,))
        tx.run("UPDATE search_account SET words = 0 WHERE account = ?", (account,))
        emails = self.emails_after(tx, account, -1, FORGET)
        self._dialect.remove(tx, account, emails)
        if factpages.forget(tx, account) or len(emails) == FORGET:
            return True
        tx.run("DELETE FROM search_account WHERE account = ?", (account,))
        return False


def open_fulltext(url: str, directory: Path, limits: Limits = USUAL) -> FullText:
    """The index that belongs to the database of this URL, bound to the running loop.

    It has connections of its own, so that nobody waits for the indexer.
    """
    if url.startswith(POSTGRESQL):
        from posthouse.store.fulltext_postgres import Postgres

        database = open_database(url, directory, limits._replace(readers=1), prepared=True)
        return FullText(database, Postgres())
    from posthouse.store.fulltext_sqlite import Sqlite, open_file

    return FullText(open_file(url, directory), Sqlite())
