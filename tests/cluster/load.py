"""Clients that send numbered letters through all hosts, one after the other, whatever happens to these.

No letter is sent twice, so what comes twice has not been doubled by its sender. Each letter's name tells
its kind, and the kind to whom it went.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from time import monotonic

from tests.cluster.cluster import ACCOUNTS, REFUSED, Cluster, Host
from tests.servers import Dialogue, dialogue

CLIENTS = 2
"""For each host."""
PAUSE_SECONDS = 0.02
REPLY_SECONDS = 15.0
"""A client that waits longer gives up; RFC 5321 would have it wait for minutes."""
KINDS = ("one", "two", "one", "away", "one", "large", "two", "one", "refused", "away")
LARGE = 100_000
"""Octets: such a letter becomes an object on S3."""
_firsts = itertools.count(0, 1_000_000)
"""The numbers of each load's letters are its own."""
AWAY = "dave@south.test"


def account_of(number: int, which: int = 0) -> str:
    return ACCOUNTS[(number // len(KINDS) + which) % len(ACCOUNTS)] + "@north.test"


def kind_and_number(name: str) -> tuple[str, int]:
    kind, _, number = name.partition("-")
    return kind, int(number)


def recipients_of(name: str) -> list[str]:
    kind, number = kind_and_number(name)
    match kind:
        case "two":
            return [account_of(number), account_of(number, 1)]
        case "away":
            return [AWAY]
        case "refused":
            return [REFUSED]
        case _:
            return [account_of(number)]


def sender_of(name: str) -> str:
    """Whom a bounce goes to."""
    return account_of(kind_and_number(name)[1])


def body_of(name: str) -> bytes:
    line = hashlib.sha256(name.encode()).hexdigest().encode() + b"\r\n"
    return line * (LARGE // len(line)) if name.startswith("large") else line


def letter(name: str) -> bytes:
    return f"Subject: {name}\r\nFrom: {sender_of(name)}\r\n\r\n".encode() + body_of(name)


class Load:
    """Runs from `start` to `stop`."""

    def __init__(self, cluster: Cluster) -> None:
        self.promised: dict[str, float] = {}
        """Answered 250, and when by the monotonic clock."""
        self.in_doubt: set[str] = set()
        """The final dot may have been read, and there was no 250."""
        self.answers: list[tuple[float, int]] = []
        """When a 250 came, and of which host."""
        self._hosts = cluster.hosts
        self.first = next(_firsts)
        self._numbers = itertools.count(self.first)
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for number, host in enumerate(self._hosts):
            self._tasks += [asyncio.create_task(self._run(number, host)) for _ in range(CLIENTS)]

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, number: int = 20, host: int | None = None, kind: str = "") -> None:
        """Until so many more letters have been answered 250, of any host or of one."""
        count = len(self.promised) if host is None else self._of(host)
        kinds = self._of_kind(kind)
        async with asyncio.timeout(120):
            while True:
                now = len(self.promised) if host is None else self._of(host)
                if now >= count + number and (not kind or self._of_kind(kind) > kinds):
                    return
                await asyncio.sleep(0.02)
                for task in self._tasks:
                    if task.done():
                        task.result()

    def _of(self, host: int) -> int:
        return sum(number == host for _, number in self.answers)

    def _of_kind(self, kind: str) -> int:
        return sum(name.startswith(f"{kind}-") for name in self.promised)

    def longest_gap(self, began: float, ended: float, host: int | None = None) -> float:
        """Seconds without a 250 in between, of any host or of one."""
        moments = [moment for moment, number in self.answers if host is None or number == host]
        before = max((moment for moment in moments if moment < began), default=began)
        after = min((moment for moment in moments if moment > ended), default=ended)
        within = [before, *(moment for moment in moments if began <= moment <= ended), after]
        return max(later - earlier for earlier, later in itertools.pairwise(within))

    async def _run(self, number: int, host: Host) -> None:
        while not self._stopping:
            try:
                async with dialogue(host.address(), host.place.client) as client:
                    async with asyncio.timeout(REPLY_SECONDS):
                        await client.expect(220)
                        await client.command("EHLO client.test")
                    while not self._stopping:
                        await self._send(client, number)
                        await asyncio.sleep(PAUSE_SECONDS)
            except (OSError, AssertionError, TimeoutError):
                await asyncio.sleep(0.05)  # the host is away, or says so

    async def _send(self, client: Dialogue, host: int) -> None:
        number = next(self._numbers)
        name = f"{KINDS[number % len(KINDS)]}-{number}"
        async with asyncio.timeout(REPLY_SECONDS):
            replies = await client.envelope(sender_of(name), recipients_of(name))
            if any(not reply.startswith("250") for reply in replies):
                await client.command("RSET")
                return
            if not (await client.command("DATA")).startswith("354"):
                return
            self.in_doubt.add(name)
            await client.raw(letter(name) + b".\r\n")
            reply = await client.reply()
        if not reply:
            raise ConnectionError("no reply")
        # After 451 it may be there all the same: the answer to COMMIT may have been lost (promise 2).
        if reply.startswith("250"):
            self.in_doubt.discard(name)
            moment = monotonic()
            self.promised[name] = moment
            self.answers.append((moment, host))
