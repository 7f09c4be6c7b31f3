"""PostgreSQL on several servers: standbys that have to have what was promised, and hosts of the URL."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.db import DatabaseAway, migrate, open_database
from posthouse.db.limits import Limits
from tests.databases import SETTINGS, PostgresServer, postgres
from tests.servers import until
from tests.unit.db.conftest import only_postgresql, put

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
