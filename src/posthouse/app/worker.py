"""One worker: its road, its doors, and the round of its small duties."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from posthouse.admin import housekeeping
from posthouse.app.certificates import Certificates
from posthouse.app.doors import Doors
from posthouse.app.road import Road
from posthouse.config import Config
from posthouse.db import DatabaseError, slots
from posthouse.db.blobs import sweep_spool
from posthouse.net.limits import ConnectionLimits
from posthouse.net.listener import drain
from posthouse.net.supervisor import DRAIN_TIME
from posthouse.observe import log
from posthouse.observe.scrape import Scrape

if TYPE_CHECKING:
    from posthouse.ports import Clock, Random, Resolver


_log = log.get("app")
FLUSH_SECONDS = 1.0
"""Between two writes of what was refused."""


NEEDS_RESTART = ("data_directory", "user", "workers", "listen", "database", "dns", "metrics", "search")
"""Keys and tables of the configuration that a reload leaves as they were."""


class Worker:
    """One process's share of the program. Make it within a running loop, `start` it, `stop` it.

    `sockets`: listening sockets by name of listener; `certificates`: read already; `limits`: by what all
    workers have; the rest as for `Road`.
    """

    def __init__(
        self,
        config: Config,
        sockets: Mapping[str, Sequence[socket.socket]],
        *,
        count: int = 1,
        certificates: Certificates | None = None,
        limits: ConnectionLimits | None = None,
        clock: Clock | None = None,
        chance: Random | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.road = Road(config, count=count, clock=clock, chance=chance, resolver=resolver)
        self._certificates = Certificates(config) if certificates is None else certificates
        tls = self._certificates
        self._doors = Doors(self.road, tls.everybody, tls.users, sockets, limits or ConnectionLimits())
        self._metrics_sockets = sockets.get("metrics", ())
        self._indexer = self.road.indexer()
        self._housekeeping: asyncio.Task[None] | None = None
        self._slot_kept = -inf
        self.road.database.hold = lambda: self._doors.mid_letter.count

    async def start(self) -> None:
        """Begin to serve. While the database is away, everybody is told to come back."""
        await self._keep_slot()
        self.road.notifier.start()
        await self._doors.rehearse()
        for listener in self._doors.listeners:
            await listener.start()
        loop = asyncio.get_running_loop()
        for listening in self._metrics_sockets:
            await loop.create_server(Scrape, sock=listening)
        self.road.runner.start()
        if self._indexer is not None:
            self._indexer.start()
        self._housekeeping = loop.create_task(self._keep_house(), name="housekeeping")

    async def stop(self, seconds: float = DRAIN_TIME) -> None:
        """Stop accepting, let what is in flight finish, say goodbye, and write what is waiting."""
        await drain(self._doors.listeners, seconds * 0.6)
        if self._indexer is not None:
            await self._indexer.stop()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self.road.close(seconds * 0.3)

    def reload(self, config: Config) -> None:
        """Go by this configuration from now on, with certificates as they lie on disk.

        No connection is dropped: sessions end by the rules by which they began. What needs a restart
        (`NEEDS_RESTART`) stays as it is, and the log says so. Raises TlsProblem and OSError, and then
        nothing has changed.
        """
        self._certificates.configure(config, self.road.clock.now())
        fixed = with_fixed_parts_of(config, self.road.config)
        self.road.configure(fixed)
        self._doors.configure()
        log.configure(config.log.level, config.log.format)
        if fixed is not config:
            _log.warning(
                "some of the new configuration takes a restart", keys=", ".join(_differing(config, fixed))
            )

    async def _keep_slot(self) -> None:
        asked = time.monotonic()
        try:
            await self.road.slot.keep()
            self._slot_kept = asked
        except DatabaseError as error:
            _log.warning("the lease of ids has to wait", reason=str(error))

    async def _keep_house(self) -> None:
        """What each worker does for itself, and what only one does for all."""
        road = self.road
        last = thorough = swept = -inf
        progress = housekeeping.Progress()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            road.refusals.flush()
            now = time.monotonic()
            if now - self._slot_kept >= slots.RENEW_SECONDS:
                await self._keep_slot()
            if now - last < housekeeping.SECONDS:
                continue
            last = now
            try:
                if now - swept >= housekeeping.THOROUGH_SECONDS:
                    swept = now
                    await asyncio.to_thread(sweep_spool, road.blobs.spool_directory, road.clock.now())
                due = now - thorough >= housekeeping.THOROUGH_SECONDS
                done = await housekeeping.keep_house(
                    road.database,
                    road.blobs,
                    road.contents,
                    road.clock,
                    journey_retention=road.config.journey.retention,
                    thorough=due,
                    progress=progress,
                )
                if done and due:
                    thorough = now
            except (DatabaseError, OSError) as error:
                _log.warning("housekeeping has to wait", reason=str(error))


def _differing(one: Config, other: Config) -> list[str]:
    return [key for key in NEEDS_RESTART if getattr(one, key) != getattr(other, key)]


def with_fixed_parts_of(config: Config, before: Config) -> Config:
    """The new configuration, but for what needs a restart (`NEEDS_RESTART`)."""
    differing = _differing(config, before)
    if not differing:
        return config
    return config.model_copy(update={key: getattr(before, key) for key in differing})
