"""A network that can be cut: connections to a server by way of a port of loopback, in a thread of its own.

with CutProxy(("127.0.0.1", 5432)) as proxy:      # or the path of a Unix socket
    … connect to ("127.0.0.1", proxy.port) …
    proxy.refuse()        # connections are reset, and so are new ones
    proxy.swallow()       # whatever is sent from now on vanishes, without a word; so do new connections
    proxy.drop()          # connections that stand are reset, new ones are let through
    proxy.heal()          # new connections are let through; what was swallowed stays so
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType

_LINGER_ZERO = struct.pack("ii", 1, 0)


class _Line:
    """One connection: both halves, until it is cut."""

    def __init__(self, writers: list[asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.swallowed = False

    def reset(self) -> None:
        for writer in self.writers:
            if writer.is_closing():
                continue
            opened = writer.get_extra_info("socket")
            if opened is not None and opened.family == socket.AF_INET:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            writer.transport.abort()


class CutProxy:
    """Between a client and the server at `target`."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._mode = "pass"
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.passed = 0
        """Octets that went through, both ways."""
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> CutProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end)
        self._thread.join()

    # What a test says

    def refuse(self) -> None:
        self._do(lambda: self._enter("refuse", reset=True))

    def swallow(self) -> None:
        self._do(lambda: self._enter("swallow", reset=False))

    def drop(self) -> None:
        self._do(lambda: self._enter(self._mode, reset=True))

    def heal(self) -> None:
        self._do(lambda: self._enter("pass", reset=False))

    # In the thread

    def _do(self, what) -> None:  # type: ignore[no-untyped-def]
        async def call() -> None:
            what()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    def _enter(self, mode: str, *, reset: bool) -> None:
        self._mode = mode
        for line in tuple(self._lines):
            if reset:
                line.reset()
            elif mode == "swallow":
                line.swallowed = True

    def _end(self) -> None:
        self._enter("refuse", reset=True)
        self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, sock=self._listening))
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line([writer])
        self._lines.add(line)
        try:
            if self._mode == "refuse":
                return
            if self._mode == "swallow":
                line.swallowed = True
                while await reader.read(65536):
                    pass
                return
            there, back = await self._connect()
            line.writers.append(back)
            await asyncio.gather(self._carry(line, reader, back), self._carry(line, there, writer))
        except (OSError, asyncio.CancelledError):
            return  # cut, or the end
        finally:
            self._lines.discard(line)
            line.reset()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _carry(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65536):
            if line.swallowed:
                continue
            self.passed += len(octets)
            writer.write(octets)
            await writer.drain()
        if not line.swallowed:
            with contextlib.suppress(OSError):
                writer.write_eof()
