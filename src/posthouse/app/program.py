"""The program: sockets, privileges and workers by the supervisor; what each worker process does."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from posthouse.app.certificates import Certificates, certificate
from posthouse.app.doors import SERVED
from posthouse.app.worker import Worker, with_fixed_parts_of
from posthouse.config import Config, ConfigError, load
from posthouse.config.load import Problem
from posthouse.db import migrate
from posthouse.db.errors import DatabaseAway
from posthouse.db.open import POSTGRESQL
from posthouse.machine import MachineClock
from posthouse.net import supervisor
from posthouse.net.limits import ConnectionCounts, ConnectionLimits
from posthouse.net.sockets import ListenerSpec
from posthouse.net.supervisor import WorkerContext
from posthouse.net.tls import TlsProblem
from posthouse.observe import log, metrics

_log = log.get("app")
GC_THRESHOLD = 10_000
"""New objects before a look for cycles: a thousand sessions in the middle of a letter are none."""
DATABASE_WAIT = 60.0
"""Seconds that the start waits for a server of the database …"""
DATABASE_PAUSE = 2.0
"""… which it asks as often."""
SUBMISSION_MODE = 0o666
"""Any user of the machine may submit by the Unix socket; who he is, the kernel says."""


def serve(
    config: Config, path: Path, explain: Callable[[Exception], tuple[int, str] | None] = lambda error: None
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. `path` is the file that SIGHUP reads again.

    `explain` gives exit status and remedy of an error, or None for a defect of ours.
    """
    log.configure(config.log.level, config.log.format)
    certificates: Certificates | None = None
    counts = ConnectionCounts(supervisor.worker_count(config.workers))

    def read() -> None:
        """In the supervisor: certificates, which workers that start later may find no more."""
        nonlocal certificates
        now = MachineClock().now()
        if certificates is None:
            certificates = Certificates(config)
            if problem := certificates.expired(now):
                _log.error("mail programs will refuse the certificate", reason=problem)
            return
        with suppress(ConfigError, TlsProblem, OSError):  # the workers say so
            certificates.configure(load(path), now)

    def work(context: WorkerContext) -> None:
        metrics.take_row(context.index + 1)
        # What the database does in its thread and what sessions do in the loop take turns quickly.
        sys.setswitchinterval(0.0005)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            make = partial(
                Worker,
                sockets=context.sockets,
                count=context.count,
                certificates=certificates,
                limits=ConnectionLimits(counts=counts, worker=context.index),
            )
            runner.run(_serve(_as_of_now(config, path), path, context, make))

    listeners = list(_listener_specs(config, path))
    return supervisor.run(config, listeners, work, lambda: _prepare(config), read=read, explain=explain)


def _as_of_now(config: Config, path: Path) -> Config:
    """The configuration for a worker that starts late, after others have reloaded theirs."""
    try:
        return with_fixed_parts_of(load(path), config)
    except ConfigError as error:
        _log.error("cannot read the configuration; starting as before", reason=str(error))
        return config


def _prepare(config: Config) -> None:
    """In a child, before the first worker: what all of them need."""
    _migrate(config)
    certificate(config)


def _migrate(config: Config) -> None:
    """Wait some time for a server of the database, which may start together with this one."""
    waited = 0.0
    while True:
        try:
            migrate(config.database.url, config.data_directory)
            return
        except DatabaseAway as error:
            if not config.database.url.startswith(POSTGRESQL) or waited >= DATABASE_WAIT:
                raise
            _log.warning("waiting for the database", reason=str(error), waited=waited, longest=DATABASE_WAIT)
            time.sleep(DATABASE_PAUSE)
            waited += DATABASE_PAUSE


def _listener_specs(config: Config, path: Path) -> Iterator[ListenerSpec]:
    listen = config.listen
    for name in SERVED:
        mode = SUBMISSION_MODE if name == "submission" else 0o660
        yield ListenerSpec(name, getattr(listen, name), mode)
    yield ListenerSpec("metrics", config.metrics.listen)
    for name in ("managesieve", "http", "https"):
        if getattr(listen, name):
            what = "is not served by this version; leave the list empty"
            raise ConfigError(str(path), (Problem(0, f"listen.{name}", what),))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    config: Config, path: Path, context: WorkerContext, make: Callable[[Config], Worker]
) -> None:
    stopped = asyncio.Event()
    worker = make(config)
    worker.road.database.on_fatal = _end_worker

    def reload() -> None:
        try:
            worker.reload(load(path))
        except (ConfigError, TlsProblem, OSError) as error:
            _log.error("cannot reload; going on as before", reason=str(error))

    context.attach(asyncio.get_running_loop(), reload=reload, stop=stopped.set)
    await worker.start()
    # What lives as long as the worker need not be looked through for garbage again and again.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    context.ready()
    await stopped.wait()
    await worker.stop()


def _end_worker(error: BaseException) -> None:
    """Nothing may be answered any more: what was not committed was not promised (250 means durable)."""
    _log.critical("the database cannot be written; this worker ends", reason=str(error))
    os._exit(os.EX_IOERR)
