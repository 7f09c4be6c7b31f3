"""Random work of several clients on one mailbox, with a model of what each has been told beside it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.store import wide
from tests.databases import fresh_url
from tests.imapclient import Told
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
            ["deliver", "add", "remove", "silent", "replace", "conditional", "uid add", "expunge",
             "uid expunge", "fetch", "uid fetch", "search", "noop", "move", "copy", "append",
             "select", "leave"]
        ),
        st.integers(0, CLIENTS - 1),
        st.integers(0, 7),
        st.sampled_from(FLAGS),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


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
    elif step.what == "replace":
        # the client knows then what they have, unless it was told otherwise
        one.flags[:] = [None] * count
        await one.do(f"STORE 1:* FLAGS.SILENT ({step.flag})", expunges=False)
        known = frozenset({step.flag})
        one.flags[:count] = [known if flags is None else flags for flags in one.flags[:count]]
    elif step.what == "conditional":
        if one.resyncs:
            await one.do(
                f"STORE {number}:* (UNCHANGEDSINCE {one.modseq}) -FLAGS ({step.flag})", expunges=False
            )
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


@given(steps, st.sampled_from([2, 256]))
@settings(max_examples=25, deadline=None)
def test_all_clients_end_up_with_the_same_and_numbers_never_lie(
    engine: str, script: list[Step], many: int
) -> None:
    """`many`: messages from which on a change of all is noted as one."""

    async def example() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with serving(Path(directory), fresh_url(engine)) as server, asyncio.timeout(60):
                for _ in range(3):
                    await server.deliver(LETTER)
                await work(server, script)

    with patch.object(wide, "MANY", many):
        asyncio.run(example())
