"""PostgreSQL on several servers: standbys that have to have what was promised, and hosts of the URL."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.db import DatabaseAway, migrate, open_database
from posthouse.db.errors import reply_to
from posthouse.db.limits import Limits
from tests.databases import SETTINGS, PostgresServer, postgres
from tests.servers import until
from tests.unit.db.conftest import names, only_postgresql, put

pytestmark = only_postgresql


@pytest.fixture(autouse=True)
def _on_postgresql(engine):
    """Left out where there is none."""


@pytest.fixture
def without_standby(engine) -> Iterator[PostgresServer]:
    """A server that waits for a synchronous standby which nobody has ever seen."""
    server = PostgresServer(postgres().programs, {**SETTINGS, "synchronous_standby_names": "nobody"})
    migrate(f"{server.url}&options=-csynchronous_commit%3Dlocal", Path())
    yield server
    server.process.kill()  # in good order it would wait for the COMMIT
    server.stop()


WAITING = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
END_WAITS = f"SELECT CAST(count(pg_cancel_backend(pid)) AS INT) {WAITING}"


def tell(server: PostgresServer, sql: str) -> int:
    """A number that a bystander gets."""
    from posthouse.db.postgres_session import PostgresSession

    session = PostgresSession(server.url)
    session.open()
    row = session.one(sql)
    session.close()
    return int(row[0])


async def test_no_timeout_makes_a_promise_that_no_standby_has(tmp_path, monkeypatch, without_standby):
    from posthouse.db import postgres_writer

    # Given a database that lets a statement take a second,
    monkeypatch.setattr(postgres_writer, "LEARN_SECONDS", 0.0)
    database = open_database(without_standby.url, tmp_path, Limits(statement_timeout=1.0))
    try:
        # when a COMMIT has waited for the standby for longer, then nothing is claimed about it.
        with pytest.raises(DatabaseAway):
            await database.write([], put("promised"))
    finally:
        await database.close()


async def test_who_ends_the_wait_for_a_standby_by_hand_makes_no_promise(
    tmp_path, monkeypatch, without_standby
):
    from posthouse.db import postgres_writer

    # Given somebody who ends every wait for the standby, so that the server says it has committed, and warns,
    monkeypatch.setattr(postgres_writer, "LEARN_SECONDS", 0.5)
    database = open_database(without_standby.url, tmp_path, Limits(statement_timeout=1.0))
    try:
        written = database.write([], put("promised"))
        ended = 0
        while not written.done():
            ended += await asyncio.to_thread(tell, without_standby, END_WAITS)
        # then neither that COMMIT is answered nor any that asks what became of it.
        with pytest.raises(DatabaseAway):
            await written
        assert ended
    finally:
        await database.close()


async def test_without_standbys_nobody_waits_for_long_and_what_waits_does_not_grow(
    tmp_path, monkeypatch, without_standby
):
    from posthouse.db import postgres_writer

    # Given two hosts,
    monkeypatch.setattr(postgres_writer, "LEARN_SECONDS", 0.0)
    limits = Limits(statement_timeout=1.0)
    hosts = [open_database(without_standby.url, tmp_path, limits) for _ in range(2)]
    try:
        # when letters come again and again, then everybody gets an answer, and it is no;
        for attempt in range(3):
            letters = [
                host.write([], put(f"{host.holder}.{attempt}.{n}")) for n in range(50) for host in hosts
            ]
            answers = await asyncio.gather(*letters, return_exceptions=True)
            assert {reply_to(answer).code for answer in answers} == {451}
            # no more than one COMMIT of each waits in the server, and all can be read.
            assert tell(without_standby, f"SELECT CAST(count(*) AS INT) {WAITING}") <= len(hosts)
            assert await hosts[0].read(names) == set()
    finally:
        for host in hosts:
            await host.close()


async def test_a_host_that_hangs_up_does_not_keep_us_from_the_next(database_url):
    from posthouse.db.postgres_session import PostgresSession

    # Given a URL whose first host takes connections and ends them at once, as a proxy does,
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        hang_up = threading.Thread(target=_hang_up, args=(proxy,), daemon=True)
        hang_up.start()
        server = postgres().directory
        hosts = f"host=127.0.0.1,{server}&port={proxy.getsockname()[1]},5432"
        session = PostgresSession(database_url.replace(f"host={server}", hosts))

        def opens() -> bool:
            try:
                session.open()
            except DatabaseAway:
                return False
            return True

        # when we try again, then the second host is found.
        until(opens, what="a connection to the second host")
        assert session.one("SELECT 1") == (1,)
        session.close()
        proxy.shutdown(socket.SHUT_RDWR)
        hang_up.join()


def _hang_up(proxy: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            proxy.accept()[0].close()
