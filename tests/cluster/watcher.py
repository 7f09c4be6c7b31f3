"""An IMAP client that keeps a copy of a mailbox, as mail programs do: IDLE, QRESYNC, and changes of its own.

It never looks at the whole mailbox again once it knows it: after a connection has broken it asks only for
what changed since. So whatever a host forgets to tell leaves its view wrong for good, and `wrong` notes
what no client may ever see: a UID that comes late or again, a modseq that goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

from tests.cluster.cluster import Host
from tests.servers import PASSWORD

IDLE_SECONDS = 1.5
"""After which it ends IDLE by itself, as mail programs do, and changes something."""
COMMAND_SECONDS = 30.0

_FETCH = re.compile(rb"\* \d+ FETCH \((.*)\)\r\n")
_UID = re.compile(rb"UID (\d+)")
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_VANISHED = re.compile(rb"\* VANISHED (?:\(EARLIER\) )?(\S+)\r\n")
_CODE = re.compile(rb"\[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]")


class Message(NamedTuple):
    flags: frozenset[str]
    modseq: int


class Refused(Exception):
    """The host said NO or BYE."""


class Watcher:
    """Watches INBOX of `account`; tries `hosts` in their order."""

    def __init__(self, account: str, hosts: list[Host], *, changes: bool = True) -> None:
        self.account = account
        self.view: dict[int, Message] = {}
        self.wrong: list[str] = []
        self.told = 0
        """How often something was told during IDLE."""
        self.is_idling = False
        self.sessions = 0
        self._hosts = hosts
        self._changes = changes
        self._uidvalidity = 0
        self._highest = 0
        """What is known is at least as new as this."""
        self._complete = 0
        """All messages up to this UID have been asked for."""
        self._greatest = 0
        self._gone: set[int] = set()
        self._tags = itertools.count(1)
        self._stopping = False
        self._rounds = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def rest(self) -> None:
        """Change nothing any more."""
        self._changes = False
        rounds = self._rounds
        await self.until(lambda: self._rounds > rounds)

    async def stop(self) -> None:
        """Look one last time, and end."""
        self._stopping = True
        assert self._task is not None
        await self._task

    async def until(self, condition: Callable[[], bool]) -> None:
        """Ask again until `condition` is true; raises what ended this client."""
        assert self._task is not None
        async with asyncio.timeout(COMMAND_SECONDS):
            while not condition():
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.002)

    async def _run(self) -> None:
        for host in itertools.cycle(self._hosts):
            try:
                async with self._connected(host):
                    self.sessions += 1
                    while not self._stopping:
                        self._rounds += 1
                        await self._idle()
                        await self._look()
                        if self._changes and self.view:
                            await self._change()
                    await self._look()
                    await self._look()
                    return
            except (OSError, TimeoutError, Refused):
                await asyncio.sleep(0.1)
            finally:
                self.is_idling = False

    # A session

    @contextlib.asynccontextmanager
    async def _connected(self, host: Host) -> AsyncIterator[None]:
        async with asyncio.timeout(COMMAND_SECONDS):
            self._reader, self._writer = await asyncio.open_connection(
                *host.address("imap"), local_addr=(host.place.client, 0)
            )
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                await self._reader.readline()
            await self._command(f'LOGIN {self.account}@north.test "{PASSWORD}"')
            await self._command("ENABLE QRESYNC")
            if self._uidvalidity:
                await self._command(f"SELECT INBOX (QRESYNC ({self._uidvalidity} {self._highest}))")
            else:
                await self._command("SELECT INBOX")
            await self._look()
            yield
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _look(self) -> None:
        """What is new: messages are asked for, flags come by themselves.

        A change of flags may be told before we have asked for the message, and for those before it; so we
        ask from the greatest UID that we knew when we looked the last time.
        """
        await self._command(f"UID FETCH {self._complete + 1}:* (FLAGS MODSEQ)")
        await self._command("NOOP")
        self._complete, self._greatest = self._greatest, max([self._greatest, *self.view])
        self._highest = max([self._highest, *(message.modseq for message in self.view.values())])

    async def _change(self) -> None:
        uid = random.choice(list(self.view))
        match random.randrange(4):
            case 0:
                with contextlib.suppress(Refused):  # another client may have been faster
                    await self._command(f"UID MOVE {uid} Archive")
            case 1:
                await self._command(f"UID STORE {uid} -FLAGS (\\Seen)")
            case _:
                await self._command(f"UID STORE {uid} +FLAGS (\\Seen kept)")

    async def _idle(self) -> None:
        tag = self._send("IDLE")
        await self._until(b"+ ")
        self.is_idling = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                if not self._stopping:
                    self._take(await self._line())
                    self.told += 1
        self.is_idling = False
        self._writer.write(b"DONE\r\n")
        await self._until(tag)

    async def _command(self, words: str) -> None:
        await self._until(self._send(words))

    def _send(self, words: str) -> bytes:
        tag = b"t%d " % next(self._tags)
        self._writer.write(tag + words.encode() + b"\r\n")
        return tag

    async def _until(self, start: bytes) -> None:
        async with asyncio.timeout(COMMAND_SECONDS):
            while not (line := await self._line()).startswith(start):
                self._take(line)
        if not line.startswith((b"+ ", start + b"OK")):
            raise Refused(line)

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the connection has ended")
        return line

    # The view

    def _take(self, line: bytes) -> None:
        if line.startswith(b"* BYE"):
            raise Refused(line)
        for name, value in _CODE.findall(line):
            if name == b"UIDVALIDITY":
                if self._uidvalidity not in (0, int(value)):
                    self.wrong.append(f"UIDVALIDITY {self._uidvalidity} became {int(value)}")
                self._uidvalidity = int(value)
        if found := _FETCH.fullmatch(line):
            self._fetched(found[1])
        elif found := _VANISHED.fullmatch(line):
            for uid in _uids(found[1]):
                self.view.pop(uid, None)
                self._gone.add(uid)

    def _fetched(self, items: bytes) -> None:
        uid, modseq = (int(_item(pattern, items)) for pattern in (_UID, _MODSEQ))
        flags = frozenset(_item(_FLAGS, items).decode().split()) - {"\\Recent"}
        before = self.view.get(uid)
        if before is None:
            if uid in self._gone:
                self.wrong.append(f"UID {uid} came again")
            elif uid <= self._complete:
                self.wrong.append(f"UID {uid} came after all up to {self._complete}")
        if modseq < (before.modseq if before else 0):
            self.wrong.append(f"modseq of {uid} went back from {before} to {modseq}")
        if before not in (None, (flags, modseq)) and modseq <= self._highest:
            self.wrong.append(
                f"modseq {modseq} of {uid} ({before}) is not above {self._highest}, known before"
            )
        self.view[uid] = Message(flags, modseq)


async def stop(watchers: Sequence[Watcher]) -> None:
    """End all, each with a last look after the last change of any."""
    for watcher in watchers:
        await watcher.rest()
    for watcher in watchers:
        await watcher.stop()


def _item(pattern: re.Pattern[bytes], items: bytes) -> bytes:
    found = pattern.search(items)
    assert found is not None, items
    return found[1]


def _uids(text: bytes) -> Iterator[int]:
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        yield from range(int(first), int(last or first) + 1)
