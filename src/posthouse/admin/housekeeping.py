"""Housekeeping: what is done round by round, by one process for all, and waits for nobody.

New journeys are entered into the catalogue and old ones go, objects that no row names are deleted, what a
crash or an impatient administrator left half done is removed for good, and threads without messages are
forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from posthouse.admin.accounts import clear_away
from posthouse.db.blobs import collect_remembered, collect_unnamed
from posthouse.db.leases import take
from posthouse.journey import catalogue
from posthouse.store import content, removal, threads, uploads

if TYPE_CHECKING:
    from posthouse.db import Database, Tx
    from posthouse.db.blobs import Blobs
    from posthouse.ports import Clock
    from posthouse.store.content import Contents

SECONDS = 60.0
"""Between two rounds."""
THOROUGH_SECONDS = 6 * 3600.0
"""Between two rounds that look for objects in the blob store that nothing names."""
LEASE = "housekeeping"


@dataclass(slots=True)
class Progress:
    """What one process has done for all, so that it need not be done again."""

    collected: str = ""
    """Objects with lesser names have been looked at."""


async def keep_house(
    database: Database,
    blobs: Blobs,
    contents: Contents,
    clock: Clock,
    *,
    journey_retention: float,
    thorough: bool,
    progress: Progress,
) -> bool:
    """One round; False where another process does it. `journey_retention`: seconds. Raises DatabaseError."""
    if not await database.write([], partial(_is_mine, database.holder)):
        return False
    await catalogue.enter(database)
    before = clock.now() - journey_retention
    while await database.write([], partial(catalogue.expire, before=before), long=True):
        pass
    await clear_away(database, clock)
    for account in await database.read(removal.unswept):
        sweep = partial(removal.sweep, contents=contents, account=account)
        while await database.write([account], sweep, long=True) >= removal.BATCH:
            pass
    while await database.write([], partial(uploads.sweep, contents=contents, now=clock.now()), long=True):
        pass
    await collect_remembered(database, blobs, clock.now())
    if thorough:
        await _sweep_thread_keys(database)
        now = clock.now()
        found = await collect_unnamed(database, blobs, now, content.named, progress.collected)
        progress.collected = found.upto
    return True


async def _sweep_thread_keys(database: Database) -> None:
    stale = threads.Stale()
    while await database.read(stale.look):
        if stale.found:
            await database.write([stale.found[0][0]], stale.sweep)


def _is_mine(holder: int, tx: Tx) -> bool:
    return take(tx, LEASE, holder, 2 * SECONDS)
