"""Moving everything from one database to another, while the first is written to and the mover is killed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.db import DatabaseAway, DatabaseError, migrate, open_database
from posthouse.db.blobs import open_blobs
from posthouse.db.generations import STANDSTILL
from posthouse.db.tables import Table, all_tables
from posthouse.db.transfer import (
    Mismatch,
    ObjectColumns,
    SourceMoved,
    StillBusy,
    Transfer,
    TransferProblem,
    give_up,
)
from posthouse.db.transfer_end import End, open_end
from posthouse.db.transfer_objects import Objects
from posthouse.store.content import BLOBS
from tests.databases import KEY, SECRET, object_store, postgres

SQLITE_A, SQLITE_B = "sqlite:///a.db", "sqlite:///b.db"
COLUMNS = ObjectColumns(*BLOBS)
TABLES = all_tables()
BY_NAME = {table.name: table for table in TABLES}


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite"])
def urls(request) -> tuple[str, str]:
    other = postgres().fresh()
    return (SQLITE_A, other) if request.param.startswith("sqlite") else (other, SQLITE_B)


class Silent:
    """Progress that calls somebody whenever it hears of something."""

    def __init__(self) -> None:
        self.then: Callable[[], None] = lambda: None
        self.stages: list[str] = []

    def stage(self, name: str, total: int) -> None:
        self.stages.append(name)
        self.then()

    def advance(self, rows: int) -> None:
        self.then()


class Both:
    """A source and a target, and a hand that writes to the source beside the transfer."""

    def __init__(self, urls: tuple[str, str], directory: Path) -> None:
        self.urls = urls
        self.directory = directory
        for url in urls:
            migrate(url, directory)
        self.hand = open_end(urls[0], directory)
        self.progress = Silent()
        self.busy = 0
        self.objects: Objects | None = None
        self.ends: list[End] = []

    def transfer(self, wrap: Callable[[End], End] = lambda end: end) -> Transfer:
        for end in self.ends:
            end.close()
        self.ends = [open_end(url, self.directory) for url in self.urls]
        source, target = map(wrap, self.ends)
        return Transfer(
            source,
            target,
            source_url=self.urls[0],
            target_url=self.urls[1],
            columns=COLUMNS,
            objects=self.objects,
            busy=lambda end: self.busy,
            progress=self.progress,
        )

    async def move(self, **options):
        transfer = self.transfer()
        transfer.begin(**options)
        await transfer.copy()
        return await transfer.switch(0.0)

    def rows(self, side: int, table: Table):
        sql, params = table.after(None, 1_000_000)
        if side == 0:
            return self.hand.all(sql, params)
        end = open_end(self.urls[1], self.directory)
        rows = end.all(sql, params)
        end.close()
        return rows

    def require_same(self) -> None:
        for table in TABLES:
            if table.name != "generation":
                assert self.rows(0, table) == self.rows(1, table), table.name

    def close(self) -> None:
        for end in (self.hand, *self.ends):
            end.close()


@pytest.fixture
def both(urls, tmp_path) -> Iterator[Both]:
    both = Both(urls, tmp_path)
    yield both
    both.close()


def value(chance: random.Random, kind: str, name: str):
    if kind == "BIGINT":
        return chance.choice([chance.randrange(2**62), -chance.randrange(2**40)])
    if kind == "DOUBLE":
        return chance.choice([chance.random() * 1e9, 0.0, 1.0, 1e300, 0.1])
    if kind == "BLOB":
        return chance.randbytes(chance.choice([0, 1, 100, 3000]))
    return "".join(chance.choices("aé✉𝄞'\"%?\\ \n\t-", k=8)) + str(chance.randrange(10**9))


def row(chance: random.Random, table: Table):
    """One of random values; objects are named by nobody here."""
    return tuple(
        None if (table.name, column.name) == ("content", "blob") else value(chance, column.type, column.name)
        for column in table.columns
    )


def fill(end: End, chance: random.Random, rows: int) -> None:
    """Rows in every table."""
    with end.transaction():
        for table in TABLES:
            if table.name != "generation":
                end.many(table.insert, [row(chance, table) for _ in range(rows)])


def change(end: End, chance: random.Random) -> None:
    """Something is inserted, changed, deleted or gets another key, in one table or another."""
    table = chance.choice([table for table in TABLES if table.name != "generation"])
    keys = [table.key_of(found) for found in end.all(*table.after(None, 1000))]
    new = row(chance, table)
    assign = ", ".join(f"{column.name} = ?" for column in table.columns)
    with end.transaction(), contextlib.suppress(DatabaseError):
        match chance.choice(["insert", "update", "delete", "rekey"]) if keys else "insert":
            case "insert":
                end.run(table.insert, new)
            case "delete":
                end.run(table.delete, chance.choice(keys))
            case "update":
                key = chance.choice(keys)
                kept = dict(zip(table.key, key, strict=True))
                values = [kept.get(position, given) for position, given in enumerate(new)]
                end.run(f"UPDATE {table.name} SET {assign} WHERE {table.is_key}", [*values, *key])
            case "rekey":
                key = chance.choice(keys)
                end.run(f"UPDATE {table.name} SET {assign} WHERE {table.is_key}", [*new, *key])


async def test_every_table_of_the_schema_arrives_whole(both, monkeypatch):
    monkeypatch.setattr("posthouse.db.transfer.NARROW_ROWS", 7)
    monkeypatch.setattr("posthouse.db.transfer.WIDE_ROWS", 3)
    fill(both.hand, random.Random(1), 30)

    report = await both.move()

    both.require_same()
    assert set(report.rows) == {table.name for table in TABLES}
    assert all(count == 30 for name, count in report.rows.items() if name != "generation")
    assert {"account", "placement", "queue_entry", "journey"} <= set(report.rows)


def test_every_table_has_a_key_to_be_copied_by():
    for table in TABLES:
        assert table.key, table.name
        assert {column.type for column in table.columns} <= {"BIGINT", "DOUBLE", "TEXT", "BLOB"}, table.name
        assert {column.type for column in table.key_columns} <= {"BIGINT", "TEXT"}, table.name


@pytest.mark.parametrize("seed", range(3))
async def test_changes_of_each_kind_during_the_copy_are_brought(both, seed, monkeypatch):
    monkeypatch.setattr("posthouse.db.transfer.NARROW_ROWS", 5)
    monkeypatch.setattr("posthouse.db.transfer.WIDE_ROWS", 4)
    monkeypatch.setattr("posthouse.db.transfer.FEW", 3)
    chance = random.Random(seed)
    fill(both.hand, chance, 8)
    left = itertools.count(150, -1)

    def meddle() -> None:
        if both.progress.stages[-1] in OPEN and next(left) > 0:
            change(both.hand, chance)

    both.progress.then = meddle
    report = await both.move()

    both.require_same()
    assert report.changed > 20


OPEN = ("copy", "follow", "verify")


async def test_unique_rows_that_change_places_arrive(both, monkeypatch):
    monkeypatch.setattr("posthouse.db.transfer.NARROW_ROWS", 1)
    both.hand.many(
        "INSERT INTO account (id, address, created) VALUES (?, ?, 0)",
        [(1, "a@x"), (2, "b@x"), (3, "c@x"), (4, "d@x")],
    )
    shifts = itertools.count()

    def shift() -> None:
        if both.progress.stages[-1] in OPEN and next(shifts) < 60:
            names = ["a@x", "b@x", "c@x", "d@x"]
            random.Random(next(shifts)).shuffle(names)
            with both.hand.transaction():
                both.hand.many(
                    "UPDATE account SET address = ? WHERE id = ?", [(f"~{n}", n) for n in range(1, 5)]
                )
                both.hand.many(
                    "UPDATE account SET address = ? WHERE id = ?", zip(names, range(1, 5), strict=True)
                )

    both.progress.then = shift
    await both.move()
    both.require_same()


# A mover that dies


async def test_a_move_is_not_given_up_when_the_target_may_be_the_store(both):
    """Given a mover killed around the moment of the switch, when it is given up, then only one side opens."""
    for step in itertools.count():
        lifetime = [1_000_000]
        transfer = both.transfer(lambda end, lifetime=lifetime: Mortal(end, lifetime))
        transfer.begin()
        await transfer.copy()
        lifetime[0] = 60 + 4 * step
        try:
            await transfer.switch(0.0)
        except Killed:
            pass
        else:
            break
        for end in both.ends:
            end.close()
        both.ends = [open_end(url, both.directory) for url in both.urls]
        complete = both.ends[1].one("SELECT value FROM transfer WHERE name = 'from.state'") == ("complete",)
        closed = both.hand.one("SELECT value FROM transfer WHERE name = 'to.state'") == ("closed",)
        if closed:
            with pytest.raises(TransferProblem, match="--to"):
                give_up(both.hand)
        if complete:
            with pytest.raises(TransferProblem, match="nothing to give up"):
                give_up(both.hand, both.ends[1])
        else:
            assert give_up(both.hand, both.ends[1])
            both.hand.run("DELETE FROM alias")


class Killed(BaseException):
    """The process ends here: nothing that it meant to do afterwards happens."""


class Mortal:
    """An end that dies at a certain statement or commit, and does nothing from then on."""

    def __init__(self, end: End, lifetime: list[int]) -> None:
        self._end = end
        self._lifetime = lifetime

    def _live(self) -> None:
        self._lifetime[0] -= 1
        if self._lifetime[0] < 0:
            raise Killed

    @contextlib.contextmanager
    def transaction(self):
        self._live()
        with self._end.transaction():
            yield
            self._live()
        self._live()

    def __getattr__(self, name):
        method = getattr(self._end, name)

        def call(*arguments):
            self._live()
            return method(*arguments)

        return call


@pytest.mark.parametrize("seed", range(4))
async def test_a_mover_killed_anywhere_goes_on_and_nothing_is_lost(both, seed, monkeypatch):
    monkeypatch.setattr("posthouse.db.transfer.NARROW_ROWS", 5)
    monkeypatch.setattr("posthouse.db.transfer.WIDE_ROWS", 5)
    chance = random.Random(seed)
    fill(both.hand, chance, 6)
    runs = 0
    while True:
        runs += 1
        lifetime = [chance.choice([30, 100, 300] if runs == 1 else [30, 100, 300, 400 * runs])]
        transfer = both.transfer(lambda end, lifetime=lifetime: Mortal(end, lifetime))
        try:
            transfer.begin()
            await transfer.copy()
            await transfer.switch(0.0)
        except Killed:
            # Whoever writes now is either taken, and brought later, or told that it is not possible.
            with contextlib.suppress(DatabaseAway):
                change(both.hand, chance)
        except SourceMoved:
            break  # it was killed when all was done
        else:
            break
    assert runs > 1
    both.require_same()


async def test_a_second_run_copies_only_what_the_first_did_not(both, monkeypatch):
    monkeypatch.setattr("posthouse.db.transfer.WIDE_ROWS", 10)
    both.hand.many(BY_NAME["content_body"].insert, [(n, b"x") for n in range(100)])
    first = both.transfer()
    first.begin()
    seen = itertools.count()

    def stop() -> None:
        if next(seen) == 6:
            raise Killed

    both.progress.then = stop
    with pytest.raises(Killed):
        await first.copy()
    both.progress.then = lambda: None

    report = await both.move()

    assert report.rows["content_body"] == 100
    assert 0 < report.copied < 100


# The switch


async def test_the_source_refuses_every_writer_after_the_switch_and_the_target_none(both, tmp_path):
    both.hand.run("INSERT INTO account (id, address, created) VALUES (1, 'a@x', 0)")
    writer = open_database(both.urls[0], tmp_path)
    await both.move()

    for statement in (
        "INSERT INTO alias (address, kind, created) VALUES ('a', 'alias', 0)",
        "UPDATE account SET used = 1 WHERE id = 1",
        "DELETE FROM account WHERE id = 1",
    ):
        with pytest.raises(DatabaseAway):
            await writer.write([], lambda tx, statement=statement: tx.run(statement))
    await writer.close()
    with pytest.raises(DatabaseError, match="has moved to"):
        open_database(both.urls[0], tmp_path)

    database = open_database(both.urls[1], tmp_path)
    await database.write([1], lambda tx: tx.run("UPDATE account SET used = 7 WHERE id = 1"))
    assert await database.read(lambda reader: reader.one("SELECT used FROM account")) == (7,)
    assert database.generation(STANDSTILL) % 2 == 0
    await database.close()


async def test_nobody_opens_a_target_that_is_not_complete(both, tmp_path):
    transfer = both.transfer()
    transfer.begin()
    await transfer.copy()

    with pytest.raises(DatabaseError, match="is being filled"):
        open_database(both.urls[1], tmp_path)


async def test_attempts_under_way_are_waited_for_and_else_the_source_opens_again(both, tmp_path):
    both.busy = 3
    with pytest.raises(StillBusy, match="3 attempts"):
        await both.move()

    database = open_database(both.urls[0], tmp_path)
    assert database.generation(STANDSTILL) % 2 == 0
    await database.write([], lambda tx: tx.run("DELETE FROM alias"))
    await database.close()
    both.busy = 0
    await both.move()
    both.require_same()


async def test_an_attempt_that_begins_as_the_source_closes_is_waited_for(both):
    answers = iter([0, 1, 1, 0, 0])
    transfer = both.transfer()
    transfer._busy = lambda end: next(answers)
    transfer.begin()
    await transfer.copy()
    await transfer.switch(10.0)

    assert next(answers, None) is None
    both.require_same()


@pytest.mark.parametrize("when", ["verify", "count"])
async def test_a_difference_stops_the_switch_and_the_source_goes_on(both, tmp_path, when):
    fill(both.hand, random.Random(5), 5)

    def spoil() -> None:
        if both.progress.stages[-1] == when:
            both.progress.then = lambda: None
            with both.ends[1].transaction():
                both.ends[1].run("DELETE FROM journey")

    both.progress.then = spoil
    with pytest.raises(Mismatch, match="journey"):
        await both.move()

    database = open_database(both.urls[0], tmp_path)
    await database.write([], lambda tx: tx.run("DELETE FROM journey"))
    await database.close()


async def test_a_target_with_mail_of_its_own_is_refused(both):
    end = open_end(both.urls[1], both.directory)
    end.run("INSERT INTO domain (name, created) VALUES ('x.test', 0)")
    end.close()

    with pytest.raises(TransferProblem, match=r"not empty.*domain"):
        await both.move()


async def test_a_move_that_was_begun_is_not_sent_elsewhere_until_it_is_given_up(both, tmp_path):
    transfer = both.transfer()
    transfer.begin()
    await transfer.copy()
    other = Both((both.urls[0], "sqlite:///c.db"), tmp_path)
    with pytest.raises(TransferProblem, match="was begun"):
        await other.move()

    assert give_up(other.hand)
    await other.move()

    other.require_same()
    with pytest.raises(TransferProblem, match="nothing to give up"):
        give_up(other.hand)
    other.close()


async def test_there_and_back_again(both, tmp_path):
    fill(both.hand, random.Random(9), 4)
    await both.move()
    back = Both.__new__(Both)
    back.__dict__.update(both.__dict__)
    back.urls, back.ends = both.urls[::-1], []
    back.hand = open_end(back.urls[0], tmp_path)
    back.hand.run("INSERT INTO domain (name, created) VALUES ('new.test', 0)")
    with pytest.raises(TransferProblem, match="not empty"):
        await back.move()

    await back.move(replace=True)

    back.require_same()
    database = open_database(both.urls[0], tmp_path)
    await database.write([], lambda tx: tx.run("INSERT INTO domain (name, created) VALUES ('z.test', 0)"))
    await database.close()
    back.close()


# Objects


@pytest.fixture
def s3(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return object_store().url(tmp_path.name)


async def put(both: Both, blobs, id: int, octets: bytes) -> str:
    path = blobs.spool_directory / f"arriving{id}"
    path.write_bytes(octets)
    name = await blobs.store(path)
    digest = hashlib.blake2b(octets, digest_size=32).digest()
    both.hand.run(BY_NAME["content"].insert, (id, len(octets), digest, name, b"Subject: x\r\n\r\n"))
    return name


@pytest.mark.parametrize("to_s3", [True, False], ids=["to s3", "to files"])
async def test_objects_are_brought_under_their_names(tmp_path, s3, to_s3):
    both = Both((SQLITE_A, SQLITE_B), tmp_path)
    stores = [open_blobs(url, tmp_path / url[:2]) for url in (("file:x", s3) if to_s3 else (s3, "file:x"))]
    both.objects = Objects(*stores)
    names = [await put(both, stores[0], n, bytes([n]) * (70_000 + n)) for n in range(5)]
    gone = await put(both, stores[0], 99, b"not for long")
    await stores[0].delete(gone)
    both.progress.then = lambda: both.hand.run("DELETE FROM content WHERE id = 99")

    report = await both.move()

    for n, name in enumerate(names):
        assert b"".join([chunk async for chunk in stores[1].chunks(name)]) == bytes([n]) * (70_000 + n)
    assert (report.objects, report.octets) == (5, sum(70_000 + n for n in range(5)))
    assert not list(stores[1].spool_directory.iterdir())
    both.require_same()
    both.close()
    for store in stores:
        await store.close()


@pytest.mark.parametrize("what", ["missing", "altered"])
async def test_an_object_that_is_not_what_its_row_says_stops_the_transfer(tmp_path, what):
    both = Both((SQLITE_A, SQLITE_B), tmp_path)
    stores = [open_blobs(url, tmp_path) for url in ("file:x", "file:y")]
    both.objects = Objects(*stores)
    name = await put(both, stores[0], 1, b"x" * 70_000)
    path = tmp_path / "x" / name[-2:] / name
    if what == "missing":
        path.unlink()
    else:
        path.write_bytes(b"y" * 70_000)

    with pytest.raises(DatabaseError, match=name):
        await both.move()

    assert not [page async for page in stores[1].names_before(1e12)]
    both.close()
    for store in stores:
        await store.close()
