"""Move everything from one database to another while servers go on writing to the first.

    begin ── copy ── verify ── follow ──┐                       the servers serve
                                  stand still ── close ── last changes ── count ── complete ── moved

- **begin** marks the target as being filled (nobody but a transfer opens it then) and has each table of the
  source *watched*: triggers note the key of each row that changes, whoever changes it. There is one note
  for a key, with a version that grows, so the notes of a table are never more than its rows.
- **copy** reads each table in the order of its key, in batches. The position is written with the batch, in
  the target, so an interrupted copy goes on where it was. Objects come before the rows that name them.
- **verify** reads both sides in the same order and compares every row, octet by octet. Where they differ
  the row must have changed since, so a note must be there; otherwise the transfer fails.
- **follow** brings the rows that were noted, compares them as they lie in the target, and drops the notes
  whose version is still the one that was read. A key without a row is a deletion. It is repeated until
  little is left. From here on, target = source but for what is noted: each row was compared after it was
  last written.
- **stand still**: a generation of the source becomes odd; runners of the queue then begin no attempt, so
  that none is under way, with its outcome unrecorded, when the source is closed. Mail is accepted still.
- **close**: triggers refuse every change of the source with DatabaseAway: 451 to SMTP. Changes under way
  are finished first. If an attempt was begun meanwhile, it is opened again and waited for.
- **last changes** are brought, the rows of every table are counted on both sides. Then one transaction
  makes the target **complete**; then the source is marked **moved**, stays closed for good, and is
  refused by whoever opens it, with the place where the mail is now.

A crash, at any point, leaves the mail in one place. Before *complete* that is the source: a second run goes
on, or opens it again (`give_up`). After it, it is the target: a second run marks the source. An error
before *complete* opens the source again at once. Where the answer to that one COMMIT is lost, the source
stays closed, and a second run finds out.

Tables come from the schema (`db.tables`); none is named here. Two unique rows that change places may be in
each other's way in the target for a while: whoever cannot be inserted keeps its note.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from posthouse.db import generations
from posthouse.db.errors import DatabaseError
from posthouse.db.interface import Row
from posthouse.db.tables import TRANSFER, Table, all_tables, schema_version
from posthouse.db.transfer_end import End
from posthouse.db.transfer_objects import Objects, Wanted

NARROW_ROWS: Final = 5_000
WIDE_ROWS: Final = 500
"""Rows in a batch: a body may have 64 KiB."""
FEW: Final = 500
"""Rows that changed during the last round: then it is time to close the source."""
ROUNDS: Final = 20
"""More than it takes to bring the rest when nothing changes any more."""
POLL_SECONDS: Final = 0.05


class TransferProblem(DatabaseError):
    """The transfer cannot be, or go on; the text says why."""


class SourceMoved(TransferProblem):
    """The source's mail lies elsewhere already."""


class Mismatch(TransferProblem):
    """The two sides differ where they must not."""


class StillBusy(TransferProblem):
    """Attempts were under way for all the time that was given to them; the source is open again."""


class ObjectColumns(NamedTuple):
    """Which column of which table names objects, and where the row says what they hold."""

    table: str
    name: str
    size: str
    hash: str


class Progress(Protocol):
    """Told what is being done."""

    def stage(self, name: str, total: int) -> None:
        """Something else begins; `total` rows are expected, 0: nobody knows."""

    def advance(self, rows: int) -> None: ...


class Report(NamedTuple):
    """What was done. `closed`: for how many seconds the source took no mail before the target was ready."""

    rows: dict[str, int]
    """The rows of each table, equal on both sides."""
    copied: int
    """Rows that this run copied."""
    changed: int
    """Rows that it brought again because they had changed."""
    objects: int
    octets: int
    seconds: float
    closed: float


class Transfer:
    """From `source` to `target`, which have their tables already; `source_url` and `target_url` for people.

    objects: None where both sides use the same store. busy: how many attempts are under way at a side.
    """

    def __init__(
        self,
        source: End,
        target: End,
        *,
        source_url: str,
        target_url: str,
        columns: ObjectColumns,
        objects: Objects | None,
        busy: Callable[[End], int],
        progress: Progress,
    ) -> None:
        self._source = source
        self._target = target
        self._source_url = source_url
        self._target_url = target_url
        self._columns = columns
        self._objects = objects
        self._busy = busy
        self._progress = progress
        self._tables = all_tables()
        self._started = time.monotonic()
        self._copied = self._changed = 0
        self._decided = False
        """The target may be complete: the source must not be opened any more."""

    # What one calls

    def begin(self, *, replace: bool = False) -> None:
        """Begin, or find what an earlier run has begun. `replace`: the target may hold mail that has moved
        away from it, and is emptied. Raises TransferProblem."""
        source, target = _notes(self._source), _notes(self._target)
        if source.get("to.state") == "moved":
            raise SourceMoved(f"the mail of {self._source_url} has moved to {source['to.url']} already")
        if source.get("from.state") == "filling":
            raise TransferProblem(f"{self._source_url} is itself being filled, from {source['from.url']}")
        if "to.id" in source and source["to.id"] == target.get("from.id"):
            if target["from.state"] == "complete" or target["from.schema"] == str(schema_version()):
                self._watch()
                return
        elif "to.id" in source:
            raise TransferProblem(
                f"a move of {self._source_url} to {source['to.url']} was begun; finish it, or give it up"
            )
        self._require_empty(target, replace)
        self._start_afresh()

    def _watch(self) -> None:
        for table in self._tables:
            self._source.watch(table)

    def _start_afresh(self) -> None:
        move = secrets.token_hex(16)
        target = self._target
        target.open_tables(self._tables)
        with target.transaction():
            for table in self._tables:
                target.run(f"DELETE FROM {table.name}")
            target.run(f"DELETE FROM {TRANSFER}")
            _note(target, "from.id", move)
            _note(target, "from.url", self._source_url)
            _note(target, "from.schema", str(schema_version()))
            _note(target, "from.state", "filling")
        with self._source.transaction():
            _note(self._source, "to.id", move)
            _note(self._source, "to.url", self._target_url)
            _note(self._source, "to.state", "copying")
        self._watch()

    def _require_empty(self, notes: dict[str, str], replace: bool) -> None:
        """What a migration puts into a new database is nothing to lose."""
        if notes.get("from.state") == "filling" or (replace and notes.get("to.state") == "moved"):
            return
        used = [
            table.name
            for table in self._tables
            if table.name not in generations.MADE_BY_MIGRATION
            and self._target.one(f"SELECT 1 FROM {table.name} LIMIT 1") is not None
        ]
        if used:
            raise TransferProblem(f"{self._target_url} is not empty: there are rows in {', '.join(used[:5])}")

    async def copy(self) -> None:
        """Copy and verify what is not yet, and follow what changes meanwhile; the source stays open."""
        if _notes(self._target)["from.state"] == "complete":
            return
        await self._each("copy", self._copy)
        await self._follow()
        await self._each("verify", self._verify)
        await self._follow()

    async def switch(self, patience: float) -> Report:
        """Close the source, bring the rest, and make the target the one. `patience`: seconds that attempts
        under way are waited for. Raises StillBusy, Mismatch."""
        closed = time.monotonic()
        counts: dict[str, int] = {}
        if _notes(self._target)["from.state"] != "complete":
            try:
                closed = await self._close(patience)
                self._progress.stage("last changes", 0)
                await self._bring_the_rest()
                self._progress.stage("count", 0)
                counts = self._count()
                self._complete()
            except BaseException:
                if not self._decided:
                    self._open_again()
                raise
        took = time.monotonic() - closed
        _note(self._source, "to.state", "moved")
        self._source.close_tables(self._tables)
        for table in self._tables:
            self._source.unwatch(table)
        objects = self._objects
        return Report(
            counts or self._count(),
            self._copied,
            self._changed,
            objects.brought if objects else 0,
            objects.octets if objects else 0,
            time.monotonic() - self._started,
            took,
        )

    # Every table in turn

    async def _each(self, what: str, work: Callable[[Table], object]) -> None:
        total = 0
        waiting = []
        for table in self._tables:
            if _notes(self._target).get(f"{what}.{table.name}") != "done":
                row = self._source.one(f"SELECT count(*) FROM {table.name}")
                total += int(row[0]) if row else 0
                waiting.append(table)
        self._progress.stage(what, total)
        for table in waiting:
            step = work(table)
            if asyncio.iscoroutine(step):
                await step
            _note(self._target, f"{what}.{table.name}", "done")
        self._target.tidy()

    def _position(self, what: str, table: Table) -> Row | None:
        found = _notes(self._target).get(f"{what}.{table.name}")
        return tuple(json.loads(found)) if found else None

    async def _copy(self, table: Table) -> None:
        limit = _limit(table)
        key = self._position("copy", table)
        since_tidy = 0
        while True:
            await asyncio.sleep(0)  # an interrupt takes effect here
            rows = self._source.all(*table.after(key, limit))
            if not rows:
                return
            key = table.key_of(rows[-1])
            kept = await self._with_objects(table, rows)
            with self._target.transaction():
                # A row that another one is in the way of has changed since, or the other has: it is noted.
                self._target.add(table, kept)
                _note(self._target, f"copy.{table.name}", json.dumps(key))
            self._copied += len(kept)
            self._progress.advance(len(rows))
            since_tidy += 1
            if not since_tidy % 20:
                self._target.tidy()

    async def _with_objects(self, table: Table, rows: list[Row]) -> list[Row]:
        """Rows whose objects, if they name any, are in place. One that was deleted meanwhile is left out."""
        if table.name != self._columns.table or self._objects is None:
            return rows
        name, size, hash = map(table.position, self._columns[1:])
        missing = await self._objects.bring(
            [Wanted(row[name], row[size], bytes(row[hash])) for row in rows if row[name] is not None]
        )
        kept = []
        for row in rows:
            if row[name] in missing:
                if self._source.all(*table.among([table.key_of(row)])):
                    raise Mismatch(f"{table.name} names the object {row[name]}, which does not exist")
            else:
                kept.append(row)
        return kept

    async def _verify(self, table: Table) -> None:
        limit = _limit(table)
        key = self._position("verify", table)
        more = True
        while more:
            await asyncio.sleep(0)
            rows = self._source.all(*table.after(key, limit))
            more = len(rows) == limit
            last = table.key_of(rows[-1]) if more else None
            copies = self._target.all(*table.between(key, last))
            if rows != copies:
                self._require_noted(table, _differing(table, rows, copies))
            key = last
            if more:
                _note(self._target, f"verify.{table.name}", json.dumps(key))
            self._progress.advance(len(rows))

    def _require_noted(self, table: Table, keys: Sequence[Row]) -> None:
        for key in keys:
            if self._source.one(f"SELECT 1 FROM {table.notes} WHERE {table.is_key}", key) is None:
                raise Mismatch(f"{table.name} {key} is not the same on both sides")

    # What has changed

    async def _follow(self) -> None:
        """Until little is left, or each round leaves as much as the one before."""
        self._progress.stage("follow", 0)
        before = math.inf
        while True:
            brought = await self._bring_noted()
            if brought < FEW or brought > before * 0.7:
                return
            before = brought

    async def _bring_noted(self) -> int:
        """Bring what is noted; how many rows."""
        total = 0
        for table in self._tables:
            key: Row | None = None
            while noted := self._source.all(*table.changed(key, _limit(table))):
                await self._bring_some(table, noted)
                total += len(noted)
                key = noted[-1][1 : 1 + len(table.key)]
                await asyncio.sleep(0)
        return total

    async def _bring_some(self, table: Table, noted: list[Row]) -> None:
        width = 1 + len(table.key)
        keys = [row[1:width] for row in noted]
        rows = [row[width:] for row in noted if row[width + table.key[0]] is not None]
        rows = await self._with_objects(table, rows)
        target = self._target
        with target.transaction():
            target.many(table.delete, keys)
            left = {table.key_of(row) for row in target.add(table, rows)}
            wanted = {table.key_of(row): row for row in rows if table.key_of(row) not in left}
            found = {table.key_of(row): row for row in target.all(*table.among(keys))}
            if found != wanted:
                raise Mismatch(f"rows of {table.name} are not in the target as they were written")
        done = [(*row[1:width], row[0]) for row in noted if row[1:width] not in left]
        self._source.forget(table, done)
        self._changed += len(done)
        self._progress.advance(len(done))

    # The switch

    async def _close(self, patience: float) -> float:
        """Close the source at a moment at which no attempt is under way; that moment, monotonic."""
        self._progress.stage("wait for attempts", 0)
        deadline = time.monotonic() + patience
        source = self._source
        stand_still(source, True)
        while True:
            while (busy := self._busy(source)) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)  # another process ends it
            if busy:
                raise StillBusy(f"{busy} attempts to pass letters on are still under way")
            closed = time.monotonic()
            _note(source, "to.state", "closed")
            source.close_tables(self._tables)
            if not self._busy(source):
                return closed
            source.open_tables(self._tables)

    async def _bring_the_rest(self) -> None:
        for _ in range(ROUNDS):
            if not await self._bring_noted():
                return
        raise Mismatch("some rows are in each other's way and cannot be brought")

    def _open_again(self) -> None:
        self._source.open_tables(self._tables)
        stand_still(self._source, False)
        _note(self._source, "to.state", "copying")

    def _count(self) -> dict[str, int]:
        counts = {}
        for table in self._tables:
            sql = f"SELECT count(*) FROM {table.name}"
            ours, theirs = self._source.one(sql), self._target.one(sql)
            assert ours is not None
            if ours != theirs and not self._decided:
                raise Mismatch(f"{table.name} has {ours} rows here and {theirs} rows there")
            counts[table.name] = int(ours[0])
        return counts

    def _complete(self) -> None:
        target = self._target
        target.tidy()
        with target.transaction():
            stand_still(target, False)
            target.run(f"DELETE FROM {TRANSFER} WHERE name NOT LIKE 'from.%'")
            _note(target, "from.state", "complete")
            self._decided = True


def give_up(source: End, target: End | None = None) -> bool:
    """Open a source again and forget the move that was begun; False where none was.

    A source that is closed may have a target that is complete: then `target` is looked at. Raises
    TransferProblem where the mail has moved, or where nobody can tell.
    """
    notes = _notes(source)
    theirs = {} if target is None else _notes(target)
    is_complete = theirs.get("from.state") == "complete" and theirs.get("from.id") == notes.get("to.id")
    if notes.get("to.state") == "moved" or ("to.id" in notes and is_complete):
        raise TransferProblem(f"the mail has moved to {notes['to.url']}: there is nothing to give up")
    if notes.get("to.state") == "closed" and target is None:
        raise TransferProblem(
            f"the source is closed, and the mail may be in {notes['to.url']} already: name that with --to"
        )
    tables = all_tables()
    source.open_tables(tables)
    for table in tables:
        source.unwatch(table)
    stand_still(source, False)
    source.run(f"DELETE FROM {TRANSFER} WHERE name LIKE 'to.%'")
    return "to.id" in notes


def stand_still(end: End, still: bool) -> None:
    """Have the runners of the queue begin no more attempts, or have them begin again."""
    row = end.one(generations.READ, (generations.STANDSTILL,))
    if generations.stands_still(0 if row is None else int(row[0])) != still:
        end.run(generations.BUMP, (generations.STANDSTILL,))


def _notes(end: End) -> dict[str, str]:
    return {str(name): str(value) for name, value in end.all(f"SELECT name, value FROM {TRANSFER}")}


def _note(end: End, name: str, value: str) -> None:
    end.run(
        f"INSERT INTO {TRANSFER} (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _limit(table: Table) -> int:
    return WIDE_ROWS if table.is_wide else NARROW_ROWS


def _differing(table: Table, rows: list[Row], copies: list[Row]) -> list[Row]:
    ours = {table.key_of(row): row for row in rows}
    theirs = {table.key_of(row): row for row in copies}
    return [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
