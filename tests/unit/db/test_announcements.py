"""Announcements: what one process says on PostgreSQL, the others hear; nobody needs them."""

from __future__ import annotations

import pytest
import pytest_asyncio

from posthouse.db import announcements, migrate, open_announcements
from posthouse.db.limits import USUAL
from tests.databases import postgres
from tests.servers import eventually
from tests.unit.db.conftest import only_postgresql

pytestmark = only_postgresql


class Ear:
    """One process with its announcements, and what it has heard."""

    def __init__(self, url: str) -> None:
        made = open_announcements(url, USUAL)
        assert made is not None
        self.announcements = made
        self.heard: list[str] = []
        self.say = made.say

    async def start(self) -> Ear:
        self.announcements.start(self.heard.append)
        await eventually(lambda: self.announcements.listening)
        return self


@pytest_asyncio.fixture
async def ears(database_url, tmp_path):
    """A way to make more processes on the same database, or another."""
    migrate(database_url, tmp_path)
    made = []

    async def ear(url: str = database_url) -> Ear:
        made.append(Ear(url))
        return await made[-1].start()

    yield ear
    for one in made:
        await one.announcements.close()


async def test_all_others_hear_what_one_says_in_its_order(ears):
    one, two, three = [await ears() for _ in range(3)]
    said = [f"A{number:x}.1" for number in range(50)]
    for text in said:
        one.say(text)
    await eventually(lambda: len(two.heard) == len(three.heard) == 50)
    assert two.heard == three.heard == said
    assert one.heard == []


async def test_the_longest_announcement_arrives(ears):
    one, two = await ears(), await ears()
    one.say("x" * announcements.MOST)
    await eventually(lambda: two.heard)
    assert len(two.heard[0]) == announcements.MOST


async def test_another_mail_system_in_the_same_database_hears_nothing(ears, tmp_path):
    elsewhere = postgres().fresh()
    migrate(elsewhere, tmp_path)
    ours, theirs, also_ours = await ears(), await ears(elsewhere), await ears()
    ours.say("ours")
    theirs.say("theirs")
    await eventually(lambda: also_ours.heard)
    assert also_ours.heard == ["ours"]
    assert theirs.heard == ours.heard == []


async def test_a_connection_that_broke_is_made_again(ears, psycopg_session, monkeypatch):
    from posthouse.db import postgres_announcements

    monkeypatch.setattr(postgres_announcements, "AGAIN_SECONDS", 0.0)
    one, two = await ears(), await ears()
    # Given that the server ends the connection of the one who listens,
    psycopg_session.all("SELECT pg_terminate_backend(CAST(? AS INTEGER))", (two.announcements._ours,))
    psycopg_session.settle()
    await eventually(lambda: not two.announcements.listening)
    await eventually(lambda: two.announcements.listening)
    # when something is said, then it is heard.
    one.say("again")
    await eventually(lambda: two.heard)
    assert two.heard == ["again"]


@pytest.fixture
def psycopg_session(database_url):
    from posthouse.db.postgres_session import PostgresSession

    session = PostgresSession(database_url)
    session.open()
    yield session
    session.close()


async def test_a_server_that_has_no_listen_is_asked_once(database_url, monkeypatch, caplog):
    from psycopg.errors import FeatureNotSupported

    from posthouse.db import postgres_announcements

    asked = []

    async def refuse(self):
        asked.append(1)
        raise FeatureNotSupported("LISTEN is not supported")

    monkeypatch.setattr(postgres_announcements.PostgresAnnouncements, "_serve", refuse)
    made = open_announcements(database_url, USUAL)
    made.start(print)
    await eventually(lambda: made._task.done())
    made.say("to nobody")
    await made.close()
    assert asked == [1]


async def test_what_is_said_to_a_server_that_is_away_is_forgotten_and_costs_no_memory(ears, monkeypatch):
    made = open_announcements("postgresql://nobody@127.0.0.1:1/none", USUAL)
    made.start(print)
    for number in range(10_000):
        made.say(str(number))
    assert len(made._waiting) <= 64
    await made.close()
