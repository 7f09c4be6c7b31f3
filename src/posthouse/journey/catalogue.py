"""The catalogue: journeys found by an address, a Message-ID, or the IP address of a client.

What a journey can be found by stands in its first steps. Its hashes are entered into a table ordered by
hour and hash, for many journeys at a time and in their order: hashes are scattered, so entering them
letter by letter would make each letter pay for pages of the disk that it shares with no other. Until then
a journey is among the new ones, whose steps are read whenever somebody asks. So nothing is ever missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from posthouse.journey import record
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.mail.ids import first_of, moment, parse_id

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.journey.record import Step

FIND_LIMIT = 100
"""Journeys that one search finds."""

ROUND = 20_000
"""Journeys that are entered together: the more, the more of their hashes are neighbours."""

_SLICE = 250
"""Journeys read in one go, or rows written in one transaction."""
_HOURS_AT_ONCE = 240
_ENTER = "INSERT INTO journey_key (hour, hash, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_SETTLE = "DELETE FROM journey_new WHERE id = ?"

_Entry: TypeAlias = tuple[int, int, int]
"""Hour, hash, id."""


def names(steps: Iterable[Step]) -> Iterator[str]:
    """By what a journey that begins with these steps is found; the same may come twice."""
    for step in steps:
        kind = step[0]
        if kind in (record.SENDER, record.RECIPIENT):
            yield step[2]
        elif kind in (record.STORED, record.QUEUED, record.BOUNCED, record.DISCARDED, record.CONTENT):
            yield step[3]
        elif kind == record.WRITTEN:
            yield from step[3]
        elif kind == record.REFUSED_SESSION:
            yield step[2]
            yield step[6]


def key_of(name: str) -> int:
    """A hash of 63 bits of an address or a Message-ID (angle brackets optional), without regard to case."""
    return _hash(name[: record.LINE_LIMIT])


@lru_cache(maxsize=8192)
def _hash(name: str) -> int:
    name = name.strip().removeprefix("<").removesuffix(">").lower()
    if not name.isascii():
        try:
            name = canonical(parse_address(name))
        except AddressError:
            pass  # a Message-ID, or what a stranger wrote: as it is
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


def _keys(stored: bytes | None) -> set[int]:
    """The hashes of a journey's first steps; none where they have gone meanwhile."""
    return set() if stored is None else {key_of(name) for name in names(record.decode(bytes(stored))) if name}


# ── searching ────────────────────────────────────────────────────────────────────────────────────────


def find(reader: Reader, text: str, limit: int = FIND_LIMIT) -> list[int]:
    """Ids of the journeys that `text` names, newest first, at most `limit`.

    `text` is an id, an id with a recipient's number (`ID/2`), an address, a Message-ID, or the IP
    address of a client that was refused.
    """
    text = text.strip()
    try:
        id = parse_id(text.partition("/")[0])
    except ValueError:
        pass
    else:
        if reader.one("SELECT 1 FROM journey WHERE id = ? LIMIT 1", (id,)) is not None:
            return [id]
    key = key_of(text)
    found = {id for id, stored in _each_new(reader) if key in _keys(stored)}
    found.update(_entered(reader, key, limit))
    return sorted(found, reverse=True)[:limit]


def _each_new(reader: Reader) -> Iterator[tuple[int, bytes | None]]:
    after = -1
    while rows := _new(reader, after):
        yield from rows
        after = rows[-1][0]


def _new(reader: Reader, after: int) -> list[tuple[int, bytes | None]]:
    """Some of those that are not entered yet, with the steps they begin with."""
    return reader.all(
        "SELECT n.id, j.steps FROM journey_new n LEFT JOIN journey j ON j.id = n.id AND j.part = 0"
        " WHERE n.id > ? ORDER BY n.id LIMIT ?",
        (after, _SLICE),
    )


def _entered(reader: Reader, key: int, limit: int) -> list[int]:
    """Newest first. The table is ordered by hour, so that hours are named rather than passed through."""
    first = reader.one("SELECT hour FROM journey_key ORDER BY hour LIMIT 1")
    last = reader.one("SELECT hour FROM journey_key ORDER BY hour DESC LIMIT 1")
    if first is None or last is None:
        return []
    found: list[int] = []
    for newest in range(last[0], first[0] - 1, -_HOURS_AT_ONCE):
        hours = range(newest, max(first[0] - 1, newest - _HOURS_AT_ONCE), -1)
        places = ", ".join("?" * len(hours))
        rows = reader.all(
            f"SELECT id FROM journey_key WHERE hour IN ({places}) AND hash = ? ORDER BY id DESC LIMIT ?",
            (*hours, key, limit - len(found)),
        )
        found += [id for (id,) in rows]
        if len(found) >= limit:
            break
    return found


# ── entering ─────────────────────────────────────────────────────────────────────────────────────────


async def enter(database: Database) -> int:
    """Enter what has come; how many journeys that were. One process is enough; two do no harm.

    It rests as long as it works, for it is in no hurry.
    """
    done = 0
    while True:
        ids: list[int] = []
        entries: list[_Entry] = []
        while len(ids) < ROUND:
            started = monotonic()
            rows = await database.read(partial(_new, after=ids[-1] if ids else -1))
            for id, stored in rows:
                hour = _hour(moment(id))
                ids.append(id)
                entries += [(hour, key, id) for key in _keys(stored)]
            if len(rows) < _SLICE:
                break
            await asyncio.sleep(monotonic() - started)
        if not ids:
            return done
        entries.sort()
        await _in_slices(database, _ENTER, entries)
        await _in_slices(database, _SETTLE, [(id,) for id in ids])
        done += len(ids)


async def _in_slices(database: Database, statement: str, rows: Sequence[tuple[int, ...]]) -> None:
    for start in range(0, len(rows), _SLICE):
        started = monotonic()
        await database.write([], partial(_run, statement, rows[start : start + _SLICE]))
        await asyncio.sleep(monotonic() - started)


def _run(statement: str, rows: Sequence[tuple[int, ...]], tx: Tx) -> None:
    tx.many(statement, rows)


def _hour(epoch: float) -> int:
    return int(epoch // 3600)


def expire(tx: Tx, before: float, limit: int = 500) -> int:
    """Delete journeys of letters accepted before `before`, seconds since 1970 UTC, about `limit` rows.

    Returns how many rows went; call again until none do.
    """
    gone = tx.count(
        "DELETE FROM journey WHERE id IN (SELECT id FROM journey WHERE id < ? ORDER BY id LIMIT ?)",
        (first_of(before), limit),
    )
    gone += tx.count(
        "DELETE FROM journey_key WHERE (hour, hash, id) IN"
        " (SELECT hour, hash, id FROM journey_key WHERE hour < ? ORDER BY hour, hash, id LIMIT ?)",
        (_hour(before), limit),
    )
    return gone
