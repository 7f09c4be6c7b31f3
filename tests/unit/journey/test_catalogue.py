"""Journeys are found by what people know, whether they were entered into the catalogue or have just come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.db import Database, open_database
from posthouse.journey import catalogue, record
from posthouse.mail.ids import show
from tests.databases import database_url
from tests.unit.journey.test_record import HOUR, START, id_at, steps

__all__ = ["database_url"]

Known = Callable[[], Awaitable[object]]


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(database_url, tmp_path)
    yield database
    await database.close()


@pytest.fixture(params=["just come", "entered"])
def known(request: pytest.FixtureRequest, database: Database) -> Known:
    """Enters what has come into the catalogue, or leaves it."""

    async def leave() -> None: ...

    return leave if request.param == "just come" else lambda: catalogue.enter(database)


async def add(database: Database, *journeys: tuple[int, Sequence[record.Step]]) -> None:
    await database.write([], lambda tx: record.begin(tx, journeys))


async def find(database: Database, text: str, limit: int = catalogue.FIND_LIMIT) -> list[int]:
    return await database.read(lambda reader: catalogue.find(reader, text, limit))


async def count(database: Database, table: str) -> int:
    row = await database.read(lambda reader: reader.one(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])


def sent_by(sender: str, at: float = START) -> list[record.Step]:
    return [record.sender(at, sender), record.stored(at, 1, "someone@south.test", "INBOX", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "alice@north.test",
        "ALICE@North.Test",
        " bob@south.test ",
        "bobby@south.test",
        "team@south.test",
        "<1@north.test>",
        "1@north.test",
    ],
)
async def test_a_letter_is_found_by_all_its_addresses_and_its_message_id(
    database: Database, known: Known, text: str
) -> None:
    more = [record.recipient(START, "bobby@south.test"), record.queued(START, 2, "team@south.test", "local")]
    await add(database, (id_at(START), [*steps(), *more]), (id_at(START, 2), sent_by("carol@east.test")))
    await known()
    assert await find(database, text) == [id_at(START)]


async def test_an_international_address_is_found_in_either_spelling(database: Database, known: Known) -> None:
    await add(database, (id_at(START), sent_by("jürgen@bücher.example")))
    await known()
    assert await find(database, "JÜRGEN@xn--bcher-kva.example") == [id_at(START)]


async def test_a_notification_is_found_by_whom_it_is_for(database: Database, known: Known) -> None:
    await add(database, (id_at(START), [record.written(START, 7, ["alice@north.test"])]))
    await known()
    assert await find(database, "alice@north.test") == [id_at(START)]


async def test_a_letter_is_found_by_its_id_and_by_that_of_a_recipient(database: Database) -> None:
    id = id_at(START)
    await add(database, (id, steps()))
    assert await find(database, show(id)) == [id]
    assert await find(database, f"{show(id)}/2") == [id]
    assert await find(database, show(id + 1)) == []


async def test_an_address_finds_its_letters_newest_first_and_no_more_than_asked(
    database: Database, known: Known
) -> None:
    # given letters over three weeks, in any order, and one that has just come
    ids = [id_at(START + hours * HOUR) for hours in (500, 0, 3, 2, 241, 1)]
    await add(database, *[(id, sent_by("alice@north.test")) for id in ids])
    await known()
    await add(
        database,
        (id_at(START + 4 * HOUR), sent_by("bob@south.test")),
        (id_at(START + 200 * HOUR), sent_by("alice@north.test")),
    )
    ids.append(id_at(START + 200 * HOUR))
    # then
    assert await find(database, "alice@north.test") == sorted(ids, reverse=True)
    assert await find(database, "alice@north.test", 3) == sorted(ids, reverse=True)[:3]
    assert await find(database, "carol@east.test") == []


async def test_nothing_is_found_in_an_empty_database(database: Database) -> None:
    assert await find(database, "alice@north.test") == []
    assert await catalogue.enter(database) == 0


async def test_each_journey_is_entered_once_however_often_and_in_whatever_order_they_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given more journeys than are entered together, and one of a clock that went back
    monkeypatch.setattr(catalogue, "ROUND", 300)
    await add(database, *[(id_at(START, number), sent_by(f"u{number}@x.test")) for number in range(700)])
    assert await catalogue.enter(database) == 700
    await add(database, (id_at(START - HOUR), sent_by("u3@x.test")))
    # when an earlier attempt to enter it broke off half way
    await database.write([], lambda tx: tx.run("INSERT INTO journey_new (id) VALUES (?)", (id_at(START, 3),)))
    assert await catalogue.enter(database) == 2
    # then
    assert await count(database, "journey_new") == 0
    assert await count(database, "journey_key") == 2 * 701
    assert await find(database, "u3@x.test") == [id_at(START, 3), id_at(START - HOUR)]


async def test_what_has_gone_before_it_was_entered_is_no_trouble(database: Database) -> None:
    await add(database, (id_at(START), steps()))
    await database.write([], lambda tx: tx.run("DELETE FROM journey"))
    assert await find(database, "alice@north.test") == []
    assert await catalogue.enter(database) == 1
    assert await count(database, "journey_key") == 0


async def test_old_journeys_go_in_small_batches_and_new_ones_stay(database: Database) -> None:
    # given 30 old letters of two parts each, and one new
    old = [id_at(START, counter) for counter in range(30)]
    new = id_at(START + 50 * HOUR)
    await add(database, *[(id, sent_by("alice@north.test")) for id in (*old, new)])

    def attempts(tx: Any) -> None:
        for id in (*old, new):
            record.add(tx, id, id, steps())

    await database.write([], attempts)
    await catalogue.enter(database)
    # when
    batches = []
    while gone := await database.write([], lambda tx: catalogue.expire(tx, START + 49 * HOUR, 20)):
        batches.append(gone)
    # then
    assert sum(batches) == 30 * 2 + 30 * 2
    assert max(batches) <= 41
    assert await find(database, "alice@north.test") == [new]
    assert await database.read(lambda reader: record.load(reader, old[0])) is None
    assert await database.read(lambda reader: record.load(reader, new)) is not None


@given(st.text(max_size=300))
def test_any_text_has_a_key_of_63_bits(text: str) -> None:
    assert 0 <= catalogue.key_of(text) < 2**63
    assert catalogue.key_of(text.upper()) == catalogue.key_of(text.upper().lower())
