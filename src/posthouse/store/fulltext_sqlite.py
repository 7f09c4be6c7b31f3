"""The full-text index on SQLite: FTS5 in a file beside the database, which can be deleted at any time.

Strings of three characters and more are phrases of trigrams, which FTS5 finds exactly, in any script. The
few characters of a word in Chinese or Japanese need more: the single characters and pairs of each message
stand, as words, in a second table. Neither table holds the text itself.

Row numbers are (number of the account) << 32 | (number of the message), so that an account's messages lie
together and a question about them never touches those of others.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.db import leases
from posthouse.db.open import database_path
from posthouse.db.rebuildable import Source, open_rebuildable
from posthouse.store.fulltext import LEASE, Document, Hits, Sought, Where
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posthouse.db import Database, Reader, Tx
    from posthouse.db.sqlite import SqliteDatabase
    from posthouse.mail.envelope import AccountId

VERSION = 5
"""Of the schema, and of what is put in: another one is an index to be made anew."""

_PUNCTUATION = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum()).replace("'", "''")
_SHORT_TOKENS = f"ascii tokenchars '{_PUNCTUATION}'".replace("'", "''")
SCHEMA = f"""
CREATE TABLE search_facts (
  account BIGINT NOT NULL, mailbox BIGINT NOT NULL, family TEXT NOT NULL, first BIGINT NOT NULL,
  below BIGINT NOT NULL, messages BIGINT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (account, mailbox, family, first)
);
CREATE TABLE search_account (
  account INTEGER PRIMARY KEY, modseq BIGINT NOT NULL, words BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE search_word (
  account BIGINT NOT NULL, word TEXT NOT NULL, PRIMARY KEY (account, word)
) WITHOUT ROWID;
CREATE TABLE search_number (account INTEGER PRIMARY KEY, number BIGINT NOT NULL UNIQUE);
CREATE TABLE search_mark (
  account BIGINT NOT NULL, mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, PRIMARY KEY (account, mailbox)
) WITHOUT ROWID;
CREATE TABLE search_document (
  id INTEGER PRIMARY KEY, account BIGINT NOT NULL, email BIGINT NOT NULL, partial BIGINT NOT NULL,
  UNIQUE (account, email)
);
CREATE INDEX search_partial ON search_document (account) WHERE partial = 1;
CREATE VIRTUAL TABLE search_text USING fts5 (
  head, body, content='', contentless_delete=1, tokenize='trigram case_sensitive 1'
);
CREATE VIRTUAL TABLE search_short USING fts5 (
  grams, content='', contentless_delete=1, detail=none, tokenize='{_SHORT_TOKENS}'
)
"""

_ACCOUNT_BITS = 32
_PHRASE = 100
"""Characters of a string that are looked up; the messages that hold so much are few."""


def open_file(url: str, directory: Path) -> SqliteDatabase:
    """The index beside the database file that `url` names."""
    path = database_path(url, directory)
    file = path.with_name(f"{path.stem}-search.db")
    return open_rebuildable(file, SCHEMA, VERSION, Source(path, LEASE))


class Sqlite:
    """See `fulltext.Dialect`."""

    members = "json_each(?)"
    position = "instr"

    async def note_lease(self, database: Database, ends: float) -> None:
        await database.write([], lambda tx: leases.note(tx, LEASE, ends))

    def grams(self, account: AccountId, head: str, body: str) -> str:
        return f"{_grams('h', head)} {_grams('b', body)}"

    def add(self, tx: Tx, account: AccountId, documents: Sequence[Document]) -> None:
        if not documents:
            return
        first = self._number(tx, account) << _ACCOUNT_BITS
        row = tx.one("SELECT max(id) FROM search_document WHERE id BETWEEN ? AND ?", (first, _last(first)))
        next = first if row is None or row[0] is None else row[0] + 1
        numbered = list(enumerate(documents, next))
        tx.many(
            "INSERT INTO search_document (id, account, email, partial) VALUES (?, ?, ?, ?)",
            [(id, account, document.email, int(document.partial)) for id, document in numbered],
        )
        tx.many(
            "INSERT INTO search_text (rowid, head, body) VALUES (?, ?, ?)",
            [(id, document.head, document.body) for id, document in numbered],
        )
        tx.many(
            "INSERT INTO search_short (rowid, grams) VALUES (?, ?)",
            [(id, document.grams) for id, document in numbered],
        )

    def remove(self, tx: Tx, account: AccountId, emails: Sequence[int]) -> None:
        ids: list[int] = []
        for condition, some in listed(emails, "email"):
            rows = tx.all(
                f"DELETE FROM search_document WHERE account = ? AND {condition} RETURNING id",
                (account, *some),
            )
            ids += (id for (id,) in rows)
        for table in ("search_text", "search_short"):
            tx.many(f"DELETE FROM {table} WHERE rowid = ?", [(id,) for id in sorted(ids)])

    def match(self, reader: Reader, account: AccountId, sought: Sought) -> Hits | None:
        row = reader.one("SELECT number FROM search_number WHERE account = ?", (account,))
        if row is None:
            return Hits(frozenset(), exact=True)
        first = row[0] << _ACCOUNT_BITS
        question = _question(sought)
        if question is None:
            return None
        table, expression = question
        emails = reader.all(
            f"SELECT d.email FROM {table} t CROSS JOIN search_document d ON d.id = t.rowid"
            f" WHERE {table} MATCH ? AND t.rowid BETWEEN ? AND ?",
            (expression, first, _last(first)),
        )
        return Hits(frozenset(email for (email,) in emails), exact=len(sought.text) <= _PHRASE)

    def _number(self, tx: Tx, account: AccountId) -> int:
        """Small, and never another account's, not even a former one's."""
        row = tx.one("SELECT number FROM search_number WHERE account = ?", (account,))
        if row is None:
            row = tx.one(
                "INSERT INTO search_number (account, number)"
                " SELECT ?, COALESCE(max(number), 0) + 1 FROM search_number RETURNING number",
                (account,),
            )
            assert row is not None
        return int(row[0])


def _last(first: int) -> int:
    return first | (1 << _ACCOUNT_BITS) - 1


def _grams(mark: str, text: str) -> str:
    """Each character and pair of neighbours as a word behind a mark; those with white space are no word."""
    pairs = set(pairwise(text))
    words = [mark + one for one in set(text) if _is_word(one)]
    words += [mark + one + other for one, other in pairs if _is_word(one) and _is_word(other)]
    return " ".join(words)


def _is_word(character: str) -> bool:
    return character > " " and character != "\x7f"


def _question(sought: Sought) -> tuple[str, str] | None:
    """The table to ask, and what; None where it cannot be asked."""
    text = sought.text[:_PHRASE].replace('"', '""')
    if len(sought.text) > 2:
        column = "" if sought.where is Where.TEXT else f"{sought.where.value} : "
        return "search_text", f'{column}"{text}"'
    if not all(map(_is_word, sought.text)):
        return None
    marks = {Where.HEAD: "h", Where.BODY: "b", Where.TEXT: "hb"}[sought.where]
    return "search_short", " OR ".join(f'"{mark}{text}"' for mark in marks)
