"""Whatever a client says, in whatever pieces: no exception, nothing left behind, every 250 kept.

The real core and the real driver, over a real road and database; only the socket is missing.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posthouse.acceptance.intake import Intake
from posthouse.inbound.session import SmtpSession
from posthouse.mail.ids import parse_id
from posthouse.net.session import Peer
from posthouse.protocol.smtp import events
from tests.servers import PASSWORD, InProcess

SIZE_LIMIT = 400_000
LOGIN = base64.b64encode(f"\0alice@north.test\0{PASSWORD}".encode())
BODY = b"Subject: x\r\n\r\n" + b"0123456789" * 5 + b"\r\n"
LARGE = (
    b"Subject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
    + (b"y" * 70 + b"\r\n") * 1100
)
TOO_LARGE = b"Subject: too large\r\n\r\n" + (b"z" * 998 + b"\r\n") * (SIZE_LIMIT // 1000 + 1)

COMMANDS = [
    b"EHLO c.test", b"HELO c.test", b"LHLO c.test", b"STARTTLS", b"AUTH PLAIN " + LOGIN, b"AUTH PLAIN ???",
    b"AUTH LOGIN", b"*", b"MAIL FROM:<alice@north.test>", b"MAIL FROM:<>",
    b"MAIL FROM:<x@east.test> SIZE=99999999",
    b"MAIL FROM:<x@east.test> BODY=8BITMIME RET=HDRS ENVID=e+3D", b"MAIL FROM:<x@east.test> SMTPUTF8",
    b"RCPT TO:<alice@north.test>", b"RCPT TO:<bob@north.test> NOTIFY=SUCCESS,FAILURE",
    b"RCPT TO:<full@north.test>", b"RCPT TO:<nobody@north.test>", b"RCPT TO:<team@north.test>",
    b"RCPT TO:<away@south.test> NOTIFY=NEVER", b"RCPT TO:<@a,@b:alice@north.test>", b"DATA", b".", b"..",
    b"BDAT 5", b"BDAT 0 LAST", b"BDAT 99999999", b"BDAT x", b"RSET", b"NOOP", b"QUIT", b"VRFY alice",
    b"EXPN team", b"HELP", b"", b"Subject: x", b"x" * 600, "RCPT TO:<\u00e9@north.test>".encode(),
]  # fmt: skip
OPENINGS = [b"EHLO c.test\r\n", b"LHLO c.test\r\n", b"EHLO c.test\r\nAUTH PLAIN " + LOGIN + b"\r\n"]
CONTENTS = [BODY, LARGE, TOO_LARGE, b"", b"A\nB\r\n", b"Delivered-To: bob@north.test\r\n\r\n", LARGE[:70_000]]
LETTERS = [
    b"MAIL FROM:<alice@north.test>\r\nRCPT TO:<bob@north.test>\r\nDATA\r\n" + content + b".\r\n"
    for content in CONTENTS
] + [
    b"MAIL FROM:<alice@north.test>\r\nRCPT TO:<bob@north.test>\r\nRCPT TO:<full@north.test>\r\n"
    + b"BDAT %d\r\n%bBDAT %d LAST\r\n%b" % (len(first), first, len(last), last)
    for first, last in ((BODY, BODY), (LARGE, b""), (BODY, LARGE))
]  # fmt: skip

line = st.tuples(
    st.sampled_from(COMMANDS), st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"", b"\0\r\n"])
).map(b"".join)
piece = st.one_of(line, line, line, st.sampled_from(LETTERS), st.binary(max_size=40), st.just(b"\r\n.\r\n"))
conversation = st.tuples(st.sampled_from([b"", *OPENINGS, *OPENINGS]), st.lists(piece, max_size=25)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)


class Pump(NamedTuple):
    """What the driver wants of a connection."""

    peer: Peer


class World:
    """The worker, and what its sessions have said."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.server = InProcess(
            directory,
            {"smtp": {"message_size_limit": SIZE_LIMIT}},
            accounts={"alice": 0, "bob": 0, "full": 300},
            aliases={"team": ["bob", "gone@north.test"]},
            listeners=("smtp", "submission", "lmtp"),
        )
        self.runner.run(self.server.__aenter__())
        doors = self.server.worker._doors
        self.sessions = {listener.name: listener._session for listener in doors.listeners}
        self.mid_letter = doors.mid_letter
        self.spool = self.server.worker.road.blobs.spool_directory
        self.promised: set[int] = set()

    def close(self) -> None:
        self.runner.run(self.server.__aexit__(None, None, None))
        self.runner.close()

    async def converse(self, listener: str, octets: bytes, cut: int) -> None:
        core, driver = self.sessions[listener]()
        driver.connected(Pump(Peer("127.0.0.1", 4711)))
        said = bytearray()
        await self._decide(core, driver, said)
        for start in range(0, len(octets), cut):
            if core.closing:
                break
            core.receive(octets[start : start + cut])
            await self._decide(core, driver, said)
            if core.wants_tls:
                core.tls_started("TLSv1.3 TLS_AES_256_GCM_SHA384")
        if not core.closing:
            core.receive_eof()
            await self._decide(core, driver, said)
        driver.closed("eof")
        self._check(bytes(said))
        assert driver._intake is None

    async def _decide(self, core: Any, driver: Any, said: bytearray) -> None:
        while (event := core.next_event()) is not None:
            decision = driver.handle(event)
            if inspect.isawaitable(decision):
                assert not isinstance(event, events.Chunk)
                decision = await asyncio.wait_for(decision, 20)
            core.answer(decision)
        said += core.take_output()

    def _check(self, said: bytes) -> None:
        assert self.mid_letter.count == 0
        assert list(self.spool.iterdir()) == []
        for reply in said.splitlines(keepends=True):
            assert re.fullmatch(rb"[2345][0-5]\d[ -][^\r\n]*\r\n", reply), reply
        self.promised |= {parse_id(id.decode()) for id in re.findall(rb"queued as (\w{13})", said)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.mark.timeout(240)
def test_thousands_of_random_sessions_end_well(world: World) -> None:
    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(world.sessions)), conversation, st.sampled_from([1, 3, 100, 65_536, 10**9]))
    def play(listener: str, octets: bytes, cut: int) -> None:
        cut = max(cut, len(octets) // 2000, 1)
        world.runner.run(world.converse(listener, octets, cut))

    play()
    gc.collect()
    alive = [type(thing) for thing in gc.get_objects() if isinstance(thing, SmtpSession | Intake)]
    assert alive == []
    kept = {id for (id,) in world.runner.run(world.server.rows("SELECT id FROM content"))}
    assert len(world.promised) > 100, "hardly a letter was accepted: these sessions show nothing"
    assert world.promised <= kept
