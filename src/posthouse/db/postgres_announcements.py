"""Announcements by LISTEN and NOTIFY, on a connection that does nothing else and never waits for a disk.

NOTIFY takes a lock that all who use it share, and so has no place in a transaction that writes. It is not
needed: where a server has no LISTEN (or a pooler in between lends connections for one transaction only),
everybody finds out by looking, once a second.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import FeatureNotSupported, SyntaxError, UndefinedFunction

from posthouse.db.limits import Limits
from posthouse.db.postgres_conninfo import conninfo
from posthouse.observe import log

AGAIN_SECONDS: Final = 1.0
"""Between two attempts to connect, half as much more or less by chance."""
ALIVE_SECONDS: Final = 15.0
"""A connection on which nothing was said for so long is tried."""
ANSWER_SECONDS: Final = 5.0
WAITING: Final = 64
"""Texts that wait to be said; older ones are dropped."""

_SETTINGS: Final = "SET synchronous_commit = off; SET statement_timeout = '5s'"
# Channels are the database's; those of other schemas are other mail systems.
_CHANNEL: Final = "SELECT 'posthouse.' || md5(current_schema())"
_NOTIFY: Final = "SELECT pg_notify(%s, said) FROM unnest(%s::text[]) AS said"
_REFUSED: Final = (FeatureNotSupported, SyntaxError, UndefinedFunction)

_log = log.get("db")


class PostgresAnnouncements:
    """See `posthouse.db.announcements.Announcements`."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._conninfo = conninfo(url, limits)
        self._connect_timeout = limits.connect_timeout
        self._heard: Callable[[str], object] | None = None
        self._waiting: deque[str] = deque(maxlen=WAITING)
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.listening = False
        """Whether what others say is heard."""

    def start(self, heard: Callable[[str], object]) -> None:
        self._heard = heard
        self._task = asyncio.get_running_loop().create_task(self._run(), name="announcements")

    def say(self, text: str) -> None:
        self._waiting.append(text)
        self._woken.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        told = False
        while True:
            try:
                await self._serve()
            except _REFUSED as error:
                _log.warning("the database carries no announcements; every host looks once a second instead",
                             reason=_first_line(error))  # fmt: skip
                return
            except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
                if self.listening or not told:
                    told = True
                    _log.warning("announcements have to wait", reason=_first_line(error))
            finally:
                self.listening = False
            # What was to be said meanwhile is known to the others by now: they look for themselves.
            self._waiting.clear()
            await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))

    async def _serve(self) -> None:
        """Listen and talk, until the connection breaks."""
        async with asyncio.timeout(2 * self._connect_timeout):
            connection: AsyncConnection[Any] = await AsyncConnection.connect(
                self._conninfo, autocommit=True, prepare_threshold=None
            )
        try:
            connection.add_notify_handler(self._take)
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute(_SETTINGS)
                row = await (await connection.execute(_CHANNEL)).fetchone()
                assert row is not None
                channel = str(row[0])
                await connection.execute(f'LISTEN "{channel}"')  # no parameter may stand here
            self.listening = True
            self._ours = connection.info.backend_pid
            while True:
                await self._turn(connection, channel)
        finally:
            await connection.close()

    async def _turn(self, connection: AsyncConnection[Any], channel: str) -> None:
        """Say what waits, or wait for something to hear or to say."""
        if self._waiting:
            said = list(self._waiting)
            self._waiting.clear()
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute(_NOTIFY, (channel, said))
        elif not await self._ready(connection.fileno()):
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute("SELECT 1")
        pgconn = connection.pgconn
        pgconn.consume_input()
        while (notify := pgconn.notifies()) is not None:
            self._hear(notify.be_pid, notify.extra.decode("utf-8", "replace"))

    async def _ready(self, descriptor: int) -> bool:
        """Wait until the server has said something or we have something to say; False: neither for long."""
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._woken.set)
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
        self._woken.clear()
        return True

    def _take(self, notify: psycopg.Notify) -> None:
        self._hear(notify.pid, notify.payload)

    def _hear(self, process: int, text: str) -> None:
        if process != self._ours and self._heard is not None:
            self._heard(text)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
