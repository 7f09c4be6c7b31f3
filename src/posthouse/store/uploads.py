"""Uploads: contents that are stored before the messages they belong to, while more of these come.

The transaction that stores the messages claims them. What is not claimed goes: at once where its command
fails, after a day where nobody was left to say so.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from posthouse.db.errors import DatabaseAway
from posthouse.mail.ids import first_of
from posthouse.store import content
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.store.content import Contents, New

ABANDONED_SECONDS: Final = 24 * 3600.0
BATCH: Final = 10


def put(tx: Tx, contents: Sequence[New]) -> int:
    """Store contents to which nothing refers yet; the upload's id. Raises what `content.put_all` raises."""
    content.put_all(tx, contents)
    id = contents[0].id
    tx.run(
        "INSERT INTO upload (id, contents) VALUES (?, ?)",
        (id, array("q", [new.id for new in contents]).tobytes()),
    )
    return id


def claim(tx: Tx, uploads: Sequence[int]) -> None:
    """Their contents belong to messages of this transaction. Raises DatabaseAway: they were forgotten."""
    found = [tx.count(f"DELETE FROM upload WHERE {one}", some) for one, some in listed(uploads, "id")]
    if sum(found) < len(uploads):
        raise DatabaseAway("the messages waited too long for their last")


def abandon(tx: Tx, contents: Contents, uploads: Sequence[int]) -> None:
    """Remove what has not been claimed of them, and its contents."""
    for condition, some in listed(uploads, "id"):
        for (packed,) in tx.all(f"DELETE FROM upload WHERE {condition} RETURNING contents", some):
            contents.release(tx, array("q", packed))


def sweep(tx: Tx, contents: Contents, now: float) -> bool:
    """Remove some that are older than a day; False: there is none."""
    before = first_of(now - ABANDONED_SECONDS)
    rows = tx.all("SELECT id FROM upload WHERE id < ? ORDER BY id LIMIT ?", (before, BATCH))
    abandon(tx, contents, [id for (id,) in rows])
    return bool(rows)
