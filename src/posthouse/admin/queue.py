"""The queue: look at it, hold, release, retry and delete what waits to leave.

All of it works with and without a running server, on the same database. What changes an entry stands in
the letter's journey; a running server is told by a datagram, and finds out by itself within a second.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from posthouse.db.blobs import discard
from posthouse.journey import record
from posthouse.mail.ids import SLOTS, LetterIds, parse_id
from posthouse.queue import entries, operations
from posthouse.queue.entries import QueueLetter
from posthouse.queue.operations import Listed, Selection, Touched
from posthouse.store import content as contents
from posthouse.store.notify import QUEUE, tell

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.db.blobs import Blobs

PAGE = 500


class NoSuchQueueEntry(LookupError):
    """Nothing like that is in the queue."""


class QueuedLetter(NamedTuple):
    """A letter of the queue, its header section and its entries."""

    letter: QueueLetter
    head: bytes
    entries: list[Listed]


class Order(NamedTuple):
    """Who wants it, and when; whether journeys are kept; where running workers are told."""

    who: str
    now: float
    keep_journeys: bool
    run_directory: Path


def selection_of(id: str) -> Selection:
    """`ID` for all recipients of a letter, `ID/2` for one. Raises ValueError."""
    letter, slash, number = id.partition("/")
    if slash and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{id!r} is no queue id: it looks like {letter}/1")
    return Selection(letter=parse_id(letter), number=int(number) if slash else None)


async def listing(database: Database, selection: Selection, limit: int = 0) -> list[Listed]:
    """What is selected, oldest first; at most `limit`, 0: all of it."""
    found: list[Listed] = []
    while True:
        size = min(PAGE, limit - len(found)) if limit else PAGE
        after = (found[-1].letter, found[-1].number) if found else (0, 0)
        page = await database.read(partial(_page, selection=selection, size=size, after=after))
        found += page
        if len(page) < size or len(found) == limit:
            return found


def _page(reader: Reader, selection: Selection, size: int, after: tuple[int, int]) -> list[Listed]:
    return operations.listing(reader, selection, size, after)


async def show(database: Database, blobs: Blobs, id: str) -> QueuedLetter:
    """One letter with its recipients. Raises NoSuchQueueEntry, ValueError."""
    selection = selection_of(id)

    def look(reader: Reader) -> QueuedLetter:
        listed = operations.listing(reader, selection, PAGE)
        if not listed:
            raise NoSuchQueueEntry(f"{id} is not in the queue")
        letter = entries.find_letter(reader, listed[0].letter)
        return QueuedLetter(letter, contents.find(reader, blobs, letter.content).head, listed)

    return await database.read(look)


async def hold(database: Database, selection: Selection, order: Order) -> list[Touched]:
    """Nothing selected is tried until it is released."""
    return await _do(database, operations.hold, "held", selection, order)


async def release(database: Database, selection: Selection, order: Order) -> list[Touched]:
    """End the hold, and try at once."""
    touched = await _do(database, partial(operations.release, now=order.now), "released", selection, order)
    tell(order.run_directory, {}, [QUEUE])
    return touched


async def retry(database: Database, selection: Selection, order: Order) -> list[Touched]:
    """Try what is selected, and not held, at once."""
    touched = await _do(database, partial(operations.retry, now=order.now), "retried", selection, order)
    tell(order.run_directory, {}, [QUEUE])
    return touched


async def delete(database: Database, selection: Selection, order: Order) -> list[Touched]:
    """Remove what is selected for good; nobody is told but the journey."""

    def remember(tx: Tx, names: Sequence[str]) -> None:
        for name in names:
            discard(tx, name, order.now)

    release_content = contents.Contents(entries.in_queue, remember).release
    operation = partial(operations.delete, release_content=release_content)
    return await _do(database, operation, "deleted", selection, order)


async def _do(
    database: Database,
    operation: Callable[[Tx, Selection], list[Touched]],
    action: str,
    selection: Selection,
    order: Order,
) -> list[Touched]:
    ids = LetterIds(secrets.randbelow(SLOTS), lambda: int(order.now * 1000))

    def work(tx: Tx) -> list[Touched]:
        touched = operation(tx, selection)
        for letter, some in groupby(touched, key=lambda one: one.letter):
            steps = [record.administrator(order.now, action, one.number, order.who) for one in some]
            if order.keep_journeys:
                record.add(tx, letter, ids.new(), steps)
        return touched

    return await database.write([], work, long=True)
