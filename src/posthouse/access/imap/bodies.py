"""Bodies that lie in blobs, but are short enough to be held: read whole, as if they stood in the database.

What the kernel has in memory is taken at once; for the rest one waits, for several at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.access.imap.fetch_plan import Plan
from posthouse.db import DatabaseError
from posthouse.mail.content import HEAD_LIMIT
from posthouse.store.read import Column

if TYPE_CHECKING:
    from posthouse.db.blobs import Blobs

HELD_LIMIT = HEAD_LIMIT
"""Octets of a message up to which it is held: no more than a header may have, which is held anyhow."""

Row: TypeAlias = tuple[Any, ...]


def at_hand(blobs: Blobs, wanted: Plan, rows: Sequence[Row]) -> list[Row]:
    """The rows, with the bodies that are in memory already in their place."""
    found = list(rows)
    for place, name, offset, length in _in_blobs(wanted, rows):
        body = blobs.at_hand(name, offset, length)
        if body is not None:
            found[place] = _with_body(wanted, rows[place], body)
    return found


async def held(blobs: Blobs, wanted: Plan, rows: Sequence[Row]) -> list[Row]:
    """The rows, with all bodies in their place but those that are long, or cannot be read."""
    found = at_hand(blobs, wanted, rows)
    absent = list(_in_blobs(wanted, found))
    if absent:
        reading = [_read(blobs, name, offset, length) for _, name, offset, length in absent]
        bodies = await asyncio.gather(*reading)
        for (place, *_), body in zip(absent, bodies, strict=True):
            if body is not None:
                found[place] = _with_body(wanted, found[place], body)
    return found


async def _read(blobs: Blobs, name: str, offset: int, length: int) -> bytes | None:
    try:
        body = await blobs.read(name, offset, length)
    except DatabaseError:
        return None
    return body if len(body) == length else None


def _in_blobs(wanted: Plan, rows: Sequence[Row]) -> Iterator[tuple[int, str, int, int]]:
    """Which rows have a short body in a blob: their place, and the blob's name, offset and length."""
    if not wanted.bodies or not wanted.whole:
        return
    size, head, blob = map(wanted.columns.index, (Column.CONTENT_SIZE, Column.HEAD, Column.BLOB))
    for place, row in enumerate(rows):
        if row[blob] is not None and row[size] <= HELD_LIMIT:
            yield place, row[blob], len(row[head]), row[size] - len(row[head])


def _with_body(wanted: Plan, row: Row, body: bytes | bytearray) -> Row:
    changed = list(row)
    changed[wanted.columns.index(Column.BLOB)] = None
    changed[wanted.columns.index(Column.BODY)] = body
    return tuple(changed)
