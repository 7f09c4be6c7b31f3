"""A clock that can be put forward: for servers in this process, and for those in others.

    clock = VirtualClock()
    await clock.advance(5 * 86400)          # returns when every process that follows it knows

Time goes on by itself as the machine's does, plus whatever it was put forward. A process follows it
through a Unix socket: it gets the offset at once, and each change later, which it acknowledges after
its own `on_change` callbacks ran, so whoever waits for something that became due is awake by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

_OFFSET = struct.Struct("!d")
_ACKNOWLEDGEMENT = b"."


class VirtualClock:
    """`ports.Clock` of the pocket internet."""

    def __init__(self) -> None:
        self.offset = 0.0
        """Seconds before the machine's time."""
        self._callbacks: list[Callable[[], object]] = []
        self._server: asyncio.Server | None = None
        self._followers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}

    def now(self) -> float:
        return time.time() + self.offset

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call back after each `advance`."""
        self._callbacks.append(callback)

    async def advance(self, seconds: float) -> None:
        """Put the clock forward. Returns when every follower has acknowledged it."""
        if seconds < 0:
            raise ValueError("this clock goes forward only")
        self.offset += seconds
        for callback in self._callbacks:
            callback()
        await asyncio.gather(*(self._tell(follower) for follower in list(self._followers)))

    @property
    def serving(self) -> bool:
        """Other processes can follow."""
        return self._server is not None

    async def serve(self, path: Path) -> None:
        """Let other processes follow through a Unix socket at `path`."""
        self._server = await asyncio.start_unix_server(self._follow, path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for follower in list(self._followers):
            follower.close()
        self._followers.clear()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_OFFSET.pack(self.offset))
        self._followers[writer] = reader

    async def _tell(self, follower: asyncio.StreamWriter) -> None:
        reader = self._followers[follower]
        try:
            follower.write(_OFFSET.pack(self.offset))
            await reader.readexactly(len(_ACKNOWLEDGEMENT))
        except (asyncio.IncompleteReadError, ConnectionError):  # that process has ended
            self._followers.pop(follower, None)
            follower.close()


class FollowedClock:
    """The clock of a process that follows a `VirtualClock` at `path`; connects at once, without a loop.

    Raises OSError. When the other end is gone, the last offset stays.
    """

    def __init__(self, path: Path) -> None:
        self._callbacks: list[Callable[[], object]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(5.0)
            self._socket.connect(str(path))
            self._received = b""
            while len(self._received) < _OFFSET.size:
                octets = self._socket.recv(_OFFSET.size - len(self._received))
                if not octets:
                    raise ConnectionResetError(f"{path}: the clock stopped before it told the time")
                self._received += octets
        except OSError:
            self._socket.close()
            raise
        self.offset: float = _OFFSET.unpack(self._received)[0]
        self._received = b""
        self._socket.setblocking(False)

    def now(self) -> float:
        return time.time() + self.offset

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call back after each change, before it is acknowledged."""
        self._callbacks.append(callback)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take changes from now on."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        try:
            octets = self._socket.recv(1024)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
            return
        self._received += octets
        while len(self._received) >= _OFFSET.size:
            self.offset = _OFFSET.unpack_from(self._received)[0]
            self._received = self._received[_OFFSET.size :]
            for callback in self._callbacks:
                callback()
            with contextlib.suppress(OSError):
                self._socket.send(_ACKNOWLEDGEMENT)
