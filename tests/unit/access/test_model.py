"""Random work of several clients on one mailbox, with a model of what each has been told beside it."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.access.conftest import Server, serving
from tests.unit.access.test_sessions import LETTER, Client

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$Work")
CLIENTS = 3


class Step(NamedTuple):
    what: str
    who: int
    number: int
    flag: str


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["deliver", "add", "remove", "silent", "uid add", "expunge", "uid expunge", "fetch", "uid fetch",
             "search", "noop", "move", "copy", "append", "select", "leave"]
        ),
        st.integers(0, CLIENTS - 1),
        st.integers(0, 7),
        st.sampled_from(FLAGS),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


class Told:
    """What one client knows: the UID (0: not told yet) and flags (None: not told yet) of each number.

    One that resynchronises (RFC 7162) keeps what it knows while it is away, and asks for the rest.
    """

    def __init__(self, client: Client, *, resyncs: bool) -> None:
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
                at = self.uids.index(uid)  # only what this client knows can vanish
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


async def work(server: Server, script: list[Step]) -> None:
    clients = [Client(server) for _ in range(CLIENTS)]
    for client in clients:
        await client.__aenter__()
    told = [Told(client, resyncs=number != 1) for number, client in enumerate(clients)]
    for one in told:
        if one.resyncs:
            await one.do("ENABLE QRESYNC")
    await told[-1].do("ENABLE IMAP4rev2")
    for one in told:
        await one.select()
    for step in script:
        if told[step.who].away:
            await told[step.who].come_back()
        await perform(server, told[step.who], step)
    # at the end all see the same, and what each was told is so
    seen = []
    for one in told:
        if one.away:
            await one.come_back()
        await one.do("NOOP")
        known = list(one.flags)
        if one.uids:
            await one.do("FETCH 1:* (UID FLAGS)")
        for was, now in zip(known, one.flags, strict=True):
            assert was in (None, now), "a change of flags was never told"
        seen.append(list(zip(one.uids, one.flags, strict=True)))
        assert 0 not in one.uids
        assert one.uids == sorted(set(one.uids))
    assert all(view == seen[0] for view in seen)
    for client in clients:
        await client.__aexit__(None, None, None)


async def perform(server: Server, one: Told, step: Step) -> None:
    count = len(one.uids)
    number = step.number % count + 1 if count else 0
    if step.what == "deliver":
        await server.deliver(LETTER)
    elif step.what == "append":
        await one.do(f"APPEND INBOX ({step.flag}) {{{len(LETTER)}+}}\r\n{LETTER.decode()}")
    elif step.what == "noop":
        await one.do("NOOP")
    elif step.what == "expunge":
        await one.do("EXPUNGE")
    elif step.what == "select":
        await one.select()
    elif step.what == "leave":
        if one.resyncs:
            await one.leave()
    elif step.what == "uid expunge":
        await one.do(f"UID EXPUNGE {step.number + 1}:*")
    elif step.what == "uid add":
        await one.do(f"UID STORE {step.number + 1}:* +FLAGS.SILENT ({step.flag})")
        await one.do("UID FETCH 1:* (FLAGS)")
    elif step.what == "uid fetch":
        await one.do(f"UID FETCH {step.number + 1}:* (FLAGS)")
    elif not number:
        return
    elif step.what in ("add", "remove"):
        sign = "+" if step.what == "add" else "-"
        await one.do(f"STORE {number}:* {sign}FLAGS ({step.flag})", expunges=False)
    elif step.what == "silent":
        await one.do(f"FETCH {number} (UID FLAGS)", expunges=False)
        before = one.flags[number - 1]
        await one.do(f"STORE {number} +FLAGS.SILENT ({step.flag})", expunges=False)
        # the client adds the flag itself, unless it was told otherwise
        if one.flags[number - 1] == before and before is not None:
            one.flags[number - 1] = before | {step.flag}
    elif step.what == "fetch":
        await one.do(f"FETCH {number} (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER])", expunges=False)
    elif step.what == "search":
        lines = await one.do("SEARCH ALL", expunges=False)
        if "ESEARCH" in lines[0]:
            assert lines[0].endswith(f"ALL 1:{count}" if count > 1 else "ALL 1")
        else:
            assert lines[0] == "* SEARCH" + "".join(f" {n}" for n in range(1, count + 1))
    elif step.what == "copy":
        await one.do(f"COPY {number} INBOX")
    elif step.what == "move":
        await one.do(f"MOVE {number} INBOX")


@given(steps)
@settings(max_examples=25, deadline=None)
def test_all_clients_end_up_with_the_same_and_numbers_never_lie(script: list[Step]) -> None:
    async def example() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with serving(Path(directory)) as server, asyncio.timeout(60):
                for _ in range(3):
                    await server.deliver(LETTER)
                await work(server, script)

    asyncio.run(example())
