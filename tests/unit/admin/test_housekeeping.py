"""Housekeeping: one process does it, and nothing that is old or half removed stays."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from posthouse.admin import housekeeping
from posthouse.db import open_database
from posthouse.db.blobs import discard, moment_of, open_blobs
from posthouse.journey import catalogue, record
from posthouse.mail.ids import first_of
from posthouse.queue import entries as queue
from posthouse.store import uploads
from posthouse.store.content import Contents, New

NOW = 1_800_000_000.0
DAY = 86_400.0
URL = "sqlite:///posthouse.db"


class Clock:
    def __init__(self, moment: float) -> None:
        self.now = lambda: moment


class House:
    """One process on the database in a directory."""

    def __init__(self, directory: Path) -> None:
        self.database = open_database(URL, directory)
        self.blobs = open_blobs("file:blobs", directory)
        self.progress = housekeeping.Progress()
        self.contents = Contents(queue.in_queue, lambda tx, names: None)

    async def round(self, now: float = NOW, *, thorough: bool = False) -> bool:
        return await housekeeping.keep_house(
            self.database,
            self.blobs,
            self.contents,
            Clock(now),
            journey_retention=30 * DAY,
            thorough=thorough,
            progress=self.progress,
        )

    async def names(self) -> list[str]:
        """Of all objects."""
        return [name async for page in self.blobs.names_before(4e9) for name in page]


@pytest.fixture
async def house(tmp_path: Path):
    house = House(tmp_path)
    yield house
    await house.database.close()
    await house.blobs.close()


async def test_what_an_interrupted_append_has_stored_goes_after_a_day(house: House) -> None:
    # given what two have stored, of which nobody will make messages any more
    for moment in (NOW - 2 * DAY, NOW - DAY / 2):
        new = New(first_of(moment), b"A: b\r\n\r\n", b"x", 9)
        await house.database.write([], partial(uploads.put, contents=[new]))
    # when the house is kept
    await house.round()
    # then the older is gone
    left = await house.database.read(lambda reader: reader.all("SELECT id FROM content"))
    assert left == [(first_of(NOW - DAY / 2),)]


async def test_only_one_process_keeps_house(house: House, tmp_path: Path) -> None:
    other = House(tmp_path)

    assert await house.round() is True
    assert await other.round() is False
    assert await house.round() is True

    await other.database.close()
    await other.blobs.close()


async def test_journeys_go_when_their_time_is_over(house: House) -> None:
    old, new = first_of(NOW - 31 * DAY), first_of(NOW - 29 * DAY)

    steps = [record.sender(NOW, "alice@north.test")]
    await house.database.write([], lambda tx: record.begin(tx, [(old, steps), (new, steps)]))

    await house.round()

    assert await house.database.read(lambda reader: catalogue.find(reader, "alice@north.test")) == [new]
    assert await house.database.read(lambda reader: record.load(reader, old)) is None


async def test_a_blob_whose_row_was_deleted_goes_when_its_readers_have_had_an_hour(house: House) -> None:
    spooled = house.blobs.spool_directory / "letter"
    spooled.write_bytes(b"large")
    name = await house.blobs.store(spooled)
    await house.database.write([], lambda tx: discard(tx, name, NOW))

    await house.round(NOW + 3599, thorough=True)
    assert await house.names() == [name]

    await house.round(NOW + 3601)
    assert await house.names() == []


async def test_a_blob_that_nobody_names_goes_in_a_thorough_round_alone(house: House) -> None:
    spooled = house.blobs.spool_directory / "letter"
    spooled.write_bytes(b"large")
    stored = moment_of(await house.blobs.store(spooled))

    await house.round(stored + 3 * DAY)
    await house.round(stored + 1 * DAY, thorough=True)
    assert len(await house.names()) == 1

    await house.round(stored + 3 * DAY, thorough=True)
    assert await house.names() == []
