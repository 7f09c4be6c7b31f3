"""A program for test_supervisor: `supervised.py DATA_DIRECTORY [MODE]` serves a few lines per connection.

Each worker answers a connection with `INDEX PID RELOADS`, and takes a line `hold` as a wish to be
waited for: it answers when it gets SIGTERM. MODE makes something go wrong.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from posthouse.config.endpoint import parse_endpoint
from posthouse.net import supervisor
from posthouse.net.sockets import CannotListen, ListenerSpec

DIRECTORY = Path(sys.argv[1])
MODE = sys.argv[2] if len(sys.argv) > 2 else ""
supervisor.LOCK_WAIT = 0.2


def worker(context: supervisor.WorkerContext) -> None:
    if MODE == "bad worker":
        sys.exit(os.EX_CONFIG)
    asyncio.run(serve(context))


async def serve(context: supervisor.WorkerContext) -> None:
    stopping = asyncio.Event()
    reloads = 0

    def reload() -> None:
        nonlocal reloads
        reloads += 1

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{context.index} {os.getpid()} {reloads}\n".encode())
        line = await reader.readline()
        if line == b"die\n":
            os._exit(1)
        if line == b"hold\n":
            writer.write(b"holding\n")
            await stopping.wait()
            writer.write(b"done\n")
        writer.close()

    servers = [
        await asyncio.start_server(session, sock=listening)
        for listening in [*context.sockets["smtp"], *context.sockets["submission"]]
        if listening.family.name != "AF_UNIX"
    ]
    context.attach(asyncio.get_running_loop(), reload=reload, stop=stopping.set)
    context.ready()
    await stopping.wait()
    for server in servers:
        server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)


def migrate() -> None:
    (DIRECTORY / "migrated").write_text(str(os.getpid()))
    if MODE == "bad migration":
        sys.exit(os.EX_DATAERR)


if __name__ == "__main__":
    endpoint = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1:0"
    specs = [
        ListenerSpec("smtp", (parse_endpoint(endpoint),)),
        ListenerSpec("submission", (parse_endpoint(f"unix:{DIRECTORY}/run/submission"),), 0o666),
    ]
    config = SimpleNamespace(data_directory=DIRECTORY, user="", workers=2)
    try:
        sys.exit(supervisor.run(config, specs, worker, migrate))
    except (CannotListen, supervisor.AlreadyRunning) as problem:
        print(problem, file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)
