"""The full-text index on PostgreSQL: arrays of n-grams under a GIN index, and the folded text beside them.

The array holds a hash for each distinct run of one, two and three characters of a message. A string's own
runs narrow the messages down, and the text decides. That needs no extension, no dictionary and no locale
(pg_trgm knows no characters beyond ASCII in many a locale, and no strings of two), only what every server
has that understands arrays. The account is hashed with each run, so that a question never touches the
messages of others.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

from posthouse.store.fulltext import Document, Hits, Sought, Where
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from posthouse.db import Database, Reader, Tx
    from posthouse.mail.envelope import AccountId

_LONGEST = 3
_ASKED = 16
"""Runs of a long string that are looked up."""
# The planner does not know what it costs to unpack arrays and texts, and would rather read all of an account
# (hence its `+ 0` below) or of the table. The setting ends with the transaction.
_BY_GRAMS = "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'enable_seqscan'"
_HOLDS = {
    Where.HEAD: "strpos(head, ?) > 0",
    Where.BODY: "strpos(body, ?) > 0",
    Where.TEXT: "(strpos(head, ?) > 0 OR strpos(body, ?) > 0)",
}


class Postgres:
    """See `fulltext.Dialect`."""

    members = "json_array_elements_text(CAST(? AS JSON)) AS member (value)"
    position = "strpos"

    async def note_lease(self, database: Database, ends: float) -> None:
        """It stands in the same database, with which it is restored."""

    def grams(self, account: AccountId, head: str, body: str) -> str:
        return _array(account, _runs(head) | _runs(body))

    def add(self, tx: Tx, account: AccountId, documents: Sequence[Document]) -> None:
        tx.many(
            "INSERT INTO search_document (account, email, partial, head, body, grams)"
            " VALUES (?, ?, ?, ?, ?, CAST(? AS INTEGER[])) ON CONFLICT (account, email) DO NOTHING",
            [
                (account, email, int(partial), head, body, grams)
                for email, head, body, partial, grams, _ in documents
            ],
        )

    def remove(self, tx: Tx, account: AccountId, emails: Sequence[int]) -> None:
        for condition, some in listed(emails, "email"):
            tx.run(f"DELETE FROM search_document WHERE account = ? AND {condition}", (account, *some))

    def match(self, reader: Reader, account: AccountId, sought: Sought) -> Hits | None:
        text = sought.text
        length = min(len(text), _LONGEST)
        runs = [text[at : at + length] for at in range(len(text) - length + 1)]
        asked = runs[:: max(1, len(runs) // _ASKED)]
        holds = _HOLDS[sought.where]
        reader.all(_BY_GRAMS)
        rows = reader.all(
            "SELECT email FROM search_document WHERE account + 0 = ? AND grams @> CAST(? AS INTEGER[])"
            f" AND {holds}",
            (account, _array(account, asked), *[text] * holds.count("?")),
        )
        return Hits(frozenset(email for (email,) in rows), exact=True)


def _runs(text: str) -> set[str]:
    """All runs of one, two and three characters."""
    found = set(text)
    found.update(map("".join, set(pairwise(text))))
    found.update(map("".join, set(zip(text, text[1:], text[2:], strict=False))))
    return found


def _array(account: AccountId, runs: Iterable[str]) -> str:
    seed = crc32(b"%d" % account)
    hashes = {crc32(run.encode(), seed) - 0x80000000 for run in runs}
    return "{" + ",".join(map(str, sorted(hashes))) + "}"
