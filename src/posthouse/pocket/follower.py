"""`python -m posthouse.pocket.follower CONFIG CLOCK`: `posthouse serve` on the clock of a pocket internet.

CLOCK is the Unix socket at which a `VirtualClock` serves. All else is as in the real program: supervisor,
forked workers, sockets, signals (but for SIGHUP, which is ignored).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvloop

from posthouse.app import Worker
from posthouse.config import Config, load
from posthouse.db import migrate
from posthouse.net import supervisor
from posthouse.net.sockets import ListenerSpec
from posthouse.net.supervisor import WorkerContext
from posthouse.observe import log
from posthouse.pocket.clock import FollowedClock
from posthouse.pocket.server import SERVICES


def serve(config: Config, clock_path: Path) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    log.configure(config.log.level, config.log.format)

    def work(context: WorkerContext) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(config, clock_path, context))

    specs = [ListenerSpec(name, getattr(config.listen, name)) for name in SERVICES]
    return supervisor.run(config, specs, work, lambda: migrate(config.database.url, config.data_directory))


async def _work(config: Config, clock_path: Path, context: WorkerContext) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    clock = FollowedClock(clock_path)
    worker = Worker(config, context.sockets, count=context.count, clock=clock)
    worker.road.database.on_fatal = lambda error: os._exit(os.EX_IOERR)
    clock.on_change(worker.road.runner.wake)
    clock.watch(loop)
    context.attach(loop, reload=lambda: None, stop=stopped.set)
    await worker.start()
    context.ready()
    await stopped.wait()
    await worker.stop()
    clock.close()


if __name__ == "__main__":
    sys.exit(serve(load(Path(sys.argv[1])), Path(sys.argv[2])))
