"""An IMAP client that speaks line by line, and what such a client knows of a mailbox from what it is told."""

from __future__ import annotations

import asyncio
import re
from types import TracebackType

from tests.servers import PATIENCE


class ImapClient:
    """A client that says exactly what it is told, and hears exactly what is said."""

    def __init__(self, port: int, login: str, password: str) -> None:
        self._port = port
        self._login = login
        self._password = password
        self._count = 0

    @property
    def tag(self) -> str:
        """Of the last command."""
        return f"t{self._count}"

    async def __aenter__(self) -> ImapClient:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self.line()
        await self.do(f'LOGIN {self._login} "{self._password}"')
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")

    def send(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")

    async def do(self, command: str) -> list[str]:
        """All lines up to and with the tagged one, without its tag."""
        self._count += 1
        tag = self.tag
        self.send(f"{tag} {command}")
        lines = []
        while not (line := await self.line()).startswith(tag + " "):
            lines.append(line)
        return [*lines, line.removeprefix(tag + " ")]


class Told:
    """What one client knows: the UID (0: not told yet) and flags (None: not told yet) of each number.

    One that resynchronises (RFC 7162) keeps what it knows while it is away, and asks for the rest.
    """

    def __init__(self, client: ImapClient, *, resyncs: bool) -> None:
        self.client = client
        self.resyncs = resyncs
        self.away = False
        self.validity = 0
        self.modseq = 0
        self.uids: list[int] = []
        self.flags: list[frozenset[str] | None] = []

    async def do(self, command: str, *, expunges: bool = True) -> list[str]:
        lines = await self.client.do(command)
        for line in lines[:-1]:
            self.hear(line, expunges)
        assert lines[-1].startswith("OK") or "EXPUNGEISSUED" in lines[-1], (command, lines)
        if self.resyncs and 0 in self.uids:
            # who is told of UIDs that vanish has to know them
            await self.do(f"FETCH {self.uids.index(0) + 1}:* (UID FLAGS)", expunges=False)
        return lines

    def hear(self, line: str, expunges: bool) -> None:
        if found := re.fullmatch(r"\* (\d+) EXISTS", line):
            more = int(found[1]) - len(self.uids)
            assert more >= 0, "EXISTS must not shrink"
            self.uids += [0] * more
            self.flags += [None] * more
        elif found := re.fullmatch(r"\* (\d+) EXPUNGE", line):
            assert expunges, "EXPUNGE where it must not be said"
            del self.uids[int(found[1]) - 1]
            del self.flags[int(found[1]) - 1]
        elif found := re.fullmatch(r"\* VANISHED ([\d:,]+)", line):
            assert expunges
            assert self.resyncs
            for uid in each(found[1]):
                at = self._place_of(uid)
                del self.uids[at], self.flags[at]
        elif found := re.search(r"UIDVALIDITY (\d+)", line):
            self.validity = int(found[1])
        elif found := re.search(r"HIGHESTMODSEQ (\d+)", line):
            self.modseq = int(found[1])
        elif found := re.fullmatch(r"\* (\d+) FETCH \((.*)\)", line):
            at = int(found[1]) - 1
            if uid := re.search(r"UID (\d+)", found[2]):
                assert self.uids[at] in (0, int(uid[1])), "a number has changed its message"
                self.uids[at] = int(uid[1])
            if flags := re.search(r"FLAGS \((.*?)\)", found[2]):
                self.flags[at] = frozenset(flags[1].split()) - {"\\Recent"}
            if modseq := re.search(r"MODSEQ \((\d+)\)", found[2]):
                self.modseq = max(self.modseq, int(modseq[1]))

    def _place_of(self, uid: int) -> int:
        """Where a UID stands that vanishes: it is known, or one of those that were told of without UIDs."""
        if uid in self.uids:
            return self.uids.index(uid)
        unknown = [
            at
            for at, known in enumerate(self.uids)
            if not known
            and max(self.uids[:at], default=0) < uid
            and all(after > uid for after in self.uids[at + 1 :] if after)
        ]
        assert unknown, "what this client cannot know cannot vanish"
        return unknown[0]

    async def select(self) -> None:
        self.uids, self.flags = [], []
        await self.do("SELECT INBOX")

    async def leave(self) -> None:
        await self.do("NOOP")
        if self.uids:
            await self.do("FETCH 1:* (UID FLAGS MODSEQ)", expunges=False)
        await self.do("UNSELECT")
        self.away = True

    async def come_back(self) -> None:
        """RFC 7162 §3.2.5: all that is known is kept, but for what has vanished or changed."""
        known = dict(zip(self.uids, self.flags, strict=True))
        lines = await self.client.do(f"SELECT INBOX (QRESYNC ({self.validity} {self.modseq}))")
        self.away = False
        for line in lines:
            if found := re.fullmatch(r"\* VANISHED \(EARLIER\) ([\d:,]+)", line):
                for uid in each(found[1]):
                    known.pop(uid, None)
            elif found := re.fullmatch(r"\* (\d+) EXISTS", line):
                exists = int(found[1])
            elif found := re.fullmatch(r"\* \d+ FETCH \(UID (\d+) MODSEQ \(\d+\) FLAGS \((.*)\)\)", line):
                known[int(found[1])] = frozenset(found[2].split()) - {"\\Recent"}
            elif found := re.search(r"HIGHESTMODSEQ (\d+)", line):
                self.modseq = int(found[1])
        assert len(known) == exists
        self.uids = sorted(known)
        self.flags = [known[uid] for uid in self.uids]


def each(numbers: str) -> list[int]:
    found: list[int] = []
    for piece in numbers.split(","):
        first, _, last = piece.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found
