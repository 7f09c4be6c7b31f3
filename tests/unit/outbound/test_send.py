"""One attempt, with real sockets: outcomes, the next host, TLS, pooled sessions, streams, deadlines."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from posthouse.mail.outcome import Deferred, Delivered, Failed
from posthouse.outbound.send import Sent
from posthouse.ports import Mx
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.outgoing import Timeouts
from tests.servers import eventually
from tests.unit.outbound.conftest import TEXT, World, domain, host, job

EHLO = b"250-mx\r\n250 PIPELINING\r\n"
ENVELOPE = b"250 ok\r\n250 ok\r\n354 go\r\n"


def step(sent: Sent, kind: str, which: int = 0) -> dict[str, object]:
    return [data for name, _, data in sent.steps if name == kind][which]


def replies(sent: Sent) -> list[str]:
    return [
        f"{type(outcome).__name__} {outcome.reply.code} {outcome.reply.enhanced}" for outcome in sent.outcomes
    ]


async def test_each_recipient_gets_its_own_outcome(world: World) -> None:
    house = await world.house()
    outbound = world.outbound()
    sent = await outbound.send(
        host(house.port),
        job("bob@example.org", "gone@example.org", "busy@example.org", prefix=b"Received: x\r\n"),
    )
    assert replies(sent) == ["Delivered 250 2.0.0", "Failed 550 5.1.1", "Deferred 450 4.2.0"]
    assert sent.outcomes[0].place == f"127.0.0.1[127.0.0.1]:{house.port}"
    assert house.letters == [b"Received: x\r\n" + TEXT]
    assert sent.dsn
    lines = step(sent, "dialogue")["lines"]
    assert isinstance(lines, list)
    assert [line.text for line in lines if line.direction == "C"] == [
        "EHLO me.example",
        f"MAIL FROM:<alice@example.net> SIZE={len(TEXT) + 13}",
        "RCPT TO:<bob@example.org>",
        "RCPT TO:<gone@example.org>",
        "RCPT TO:<busy@example.org>",
        f"BDAT {len(TEXT) + 13} LAST",
        f"[{len(TEXT) + 13} octets]",
    ]


async def test_sessions_are_used_again_and_let_go_with_quit(world: World) -> None:
    # given
    house = await world.house()
    outbound = world.outbound(connection_cache_time_limit=0.05)
    # when
    first = await outbound.send(host(house.port), job())
    second = await outbound.send(host(house.port), job())
    # then
    assert len(house.posts) == 1
    assert step(first, "connect")["reused"] is False
    assert step(second, "connect")["reused"] is True
    assert house.posts[0].desk.letters == [TEXT, TEXT]
    await eventually(lambda: outbound.pool.sessions == 0 and house.posts[0].session.closing)


async def test_no_more_connections_than_allowed(world: World) -> None:
    house = await world.house()
    outbound = world.outbound(destination_concurrency_limit=3)
    sent = await asyncio.gather(*(outbound.send(host(house.port), job()) for _ in range(30)))
    assert all(isinstance(one.outcomes[0], Delivered) for one in sent)
    assert len(house.letters) == 30
    assert len(house.posts) == 3


async def test_a_cancelled_attempt_gives_its_place_back(world: World) -> None:
    # given
    port, heard = await world.script(b"220 hi\r\n", EHLO, b"")
    outbound = world.outbound(destination_concurrency_limit=1)
    attempts = [asyncio.create_task(outbound.send(host(port), job())) for _ in range(2)]
    await eventually(lambda: len(heard) == 2)
    # when
    for attempt in attempts:
        attempt.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    # then
    assert outbound.pool.sessions == 0


async def test_a_session_that_died_while_idle_costs_nothing(world: World) -> None:
    # given
    house = await world.house()
    outbound = world.outbound()
    await outbound.send(host(house.port), job())
    # when
    house.posts[0].vanish()
    sent = await outbound.send(host(house.port), job())
    # then
    assert isinstance(sent.outcomes[0], Delivered)
    assert len(house.posts) == 2


# ── the next host ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "lines",
    [
        [b"554 5.3.2 not here\r\n"],
        [b"450 4.3.2 not now\r\n"],
        [b"421 4.3.2 not now\r\n"],
        [None],
        [b"nonsense\r\n"],
        [b"220 hi\r\n", None],
        [b"220 hi\r\n", b"421 4.3.2 not now\r\n"],
        [b"220 hi\r\n", EHLO, None],
        [b"220 hi\r\n", EHLO, b"421 4.3.2 not now\r\n"],
        [b"220 hi\r\n", EHLO, b"250 ok\r\n250 ok\r\n", None],
        [b"220 hi\r\n", EHLO, ENVELOPE, b"421 4.3.2 not now\r\n"],
    ],
)
async def test_the_next_host_is_tried(world: World, lines: list[bytes | None]) -> None:
    # given
    port, _ = await world.script(*lines)
    house = await world.house(host="127.0.0.2", port=port)
    world.zone.exchanges["example.org"] = [Mx(1, "mx1.example"), Mx(2, "mx2.example")]
    world.zone.hosts = {"mx1.example": ["127.0.0.1"], "mx2.example": ["127.0.0.2"]}
    # when: the script's second turn with nothing to read needs a nudge, which the connection's end gives
    settings = Timeouts(command=0.2, data=0.2, greeting=0.2, final=0.2)
    sent = await world.outbound(timeouts=settings).send(domain("example.org", port), job())
    # then
    assert replies(sent) == ["Delivered 250 2.0.0"]
    assert house.letters == [TEXT]
    assert step(sent, "route")["answers"] == (
        "example.org MX: 1 mx1.example, 2 mx2.example",
        "mx1.example: 127.0.0.1",
        "mx2.example: 127.0.0.2",
    )


async def test_a_host_that_cannot_be_reached(world: World) -> None:
    # given: a port where nobody listens
    house = await world.house()
    port, _ = await world.script()
    await world.close()
    sent = await world.outbound().send(host(port), job())
    assert replies(sent) == ["Deferred 451 4.4.1"]
    assert "refused" in sent.outcomes[0].reply.text.lower()
    assert house.letters == []


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ([b"554 5.3.2 not here\r\n"], "Deferred 554 5.3.2"),
        ([b"220 hi\r\n", b"500 what\r\n", b"550 5.7.1 not you\r\n"], "Failed 550 5.7.1"),
        ([b"220 hi\r\n", EHLO, b"550 5.1.8 bad sender\r\n503 x\r\n503 x\r\n"], "Failed 550 5.1.8"),
        ([b"220 hi\r\n", EHLO, b"250 ok\r\n250 ok\r\n451 4.3.0 later\r\n"], "Deferred 451 4.3.0"),
        ([b"220 hi\r\n", EHLO, ENVELOPE, b"552 5.3.4 too big\r\n"], "Failed 552 5.3.4"),
        ([b"220 hi\r\n", EHLO, b"250-more\r\n" * 20_000], "Deferred 451 4.5.0"),
    ],
)
async def test_replies_are_carried_unchanged(world: World, lines: list[bytes | None], outcome: str) -> None:
    port, _ = await world.script(*lines)
    sent = await world.outbound().send(host(port), job())
    assert replies(sent) == [outcome]


async def test_a_lost_reply_to_the_final_dot_is_not_tried_elsewhere(world: World) -> None:
    # given
    port, _ = await world.script(b"220 hi\r\n", EHLO, ENVELOPE, None)
    house = await world.house(host="127.0.0.2", port=port)
    world.zone.exchanges["example.org"] = [Mx(1, "mx1.example"), Mx(2, "mx2.example")]
    world.zone.hosts = {"mx1.example": ["127.0.0.1"], "mx2.example": ["127.0.0.2"]}
    # when
    sent = await world.outbound().send(domain("example.org", port), job())
    # then
    assert replies(sent) == ["Deferred 421 4.4.2"]
    assert sent.in_doubt
    assert house.letters == []


@pytest.mark.parametrize("lines", [[b""], [b"220 hi\r\n", b""], [b"220 hi\r\n", EHLO, b""]])
async def test_silence_ends_at_its_deadline(world: World, lines: list[bytes | None]) -> None:
    port, _ = await world.script(*lines)
    outbound = world.outbound(timeouts=Timeouts(0.05, 0.05, 0.05, 0.05, 0.05, 0.05))
    async with asyncio.timeout(5):
        sent = await outbound.send(host(port), job())
    assert replies(sent) == ["Deferred 421 4.4.2"]
    assert "Timed out" in sent.outcomes[0].reply.text


async def test_a_lease_that_ran_out_ends_the_attempt(world: World) -> None:
    house = await world.house()
    sent = await world.outbound().send(host(house.port), job(may_finish=lambda: False))
    assert replies(sent) == ["Deferred 451 4.3.0"]
    assert house.letters == []


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_tls_where_it_is_offered(world: World) -> None:
    house = await world.house("other.example")
    sent = await world.outbound().send(host(house.port), job())
    assert replies(sent) == ["Delivered 250 2.0.0"]
    connect = step(sent, "connect")
    assert str(connect["tls"]).startswith("TLSv1.3 ")
    assert connect["verified"] is False
    assert len(str(connect["certificate"])) == 64


async def test_plain_text_where_the_handshake_fails(world: World) -> None:
    # given: a server whose TLS we cannot speak
    house = await world.house("mx.example")
    assert house.context is not None
    house.context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert world.certificates is not None
    modern = world.certificates.opportunistic()
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    world.certificates.opportunistic = lambda: modern  # type: ignore[method-assign]
    # when
    sent = await world.outbound().send(host(house.port), job())
    strict = await world.outbound(tls_security_level="encrypt").send(host(house.port), job())
    # then
    assert replies(sent) == ["Delivered 250 2.0.0"]
    assert "tls" not in step(sent, "connect", 1)
    assert replies(strict) == ["Deferred 421 4.4.2"]
    assert "TLS handshake failed" in strict.outcomes[0].reply.text
    assert house.letters == [TEXT]


async def test_tls_demanded_and_not_offered(world: World) -> None:
    house = await world.house()
    sent = await world.outbound(tls_security_level="encrypt").send(host(house.port), job())
    assert replies(sent) == ["Deferred 451 4.7.4"]
    assert house.letters == []


@pytest.mark.parametrize(("name", "outcome"), [("mx.example", Delivered), ("other.example", Deferred)])
async def test_secure_wants_a_certificate_for_the_host(world: World, name: str, outcome: type) -> None:
    house = await world.house(name)
    world.zone.hosts["mx.example"] = ["127.0.0.1"]
    sent = await world.outbound(tls_security_level="secure").send(host(house.port, "mx.example"), job())
    assert isinstance(sent.outcomes[0], outcome)
    if outcome is Delivered:
        assert step(sent, "connect")["verified"] is True
    else:
        assert "certificate not valid" in sent.outcomes[0].reply.text


# ── the smarthost ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("password", "outcome"), [("secret", "Delivered 250 2.0.0"), ("wrong", "Deferred 535 5.7.8")]
)
async def test_the_relayhost_gets_our_password_over_tls(world: World, password: str, outcome: str) -> None:
    house = await world.house("smart.example", auth_mechanisms=("LOGIN", "PLAIN"), auth_required=True)
    hop = host(house.port)
    outbound = world.outbound(relayhost=hop, relayhost_credentials=Credentials("alice", password))
    sent = await outbound.send(hop, job())
    assert replies(sent) == [outcome]
    assert password not in repr(sent).replace("[secret]", "")


async def test_others_do_not_get_the_relayhosts_password(world: World) -> None:
    house = await world.house("smart.example", auth_mechanisms=("PLAIN",))
    outbound = world.outbound(relayhost=host(1), relayhost_credentials=Credentials("alice", "secret"))
    sent = await outbound.send(host(house.port), job())
    assert isinstance(sent.outcomes[0], Delivered)
    assert not house.posts[0].session.authenticated


# ── large letters ────────────────────────────────────────────────────────────────────────────────────


class Spool:
    """Content that is not in memory."""

    head = b"Subject: large\r\n\r\n"

    def __init__(self, pieces: int, breaks_at: int = -1) -> None:
        self._pieces = pieces
        self._breaks_at = breaks_at

    @property
    def size(self) -> int:
        return len(self.head) + self._pieces * 65_536

    async def read(self, offset: int, length: int) -> bytes:
        raise AssertionError("nobody reads at random")

    async def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        yield self.head
        for number in range(self._pieces):
            if number == self._breaks_at:
                raise OSError(5, "Input/output error")
            yield (b".line\r\n" + b"x" * 1010 + b"\r\n.\r\n") * 64 + b"12345678" * 15 + b"123456\r\n"


async def test_a_large_letter_is_streamed(world: World) -> None:
    house = await world.house()
    content = Spool(40)
    sent = await world.outbound().send(host(house.port), job(content=content, prefix=b"Received: x\r\n"))
    assert replies(sent) == ["Delivered 250 2.0.0"]
    whole = b"".join([b"Received: x\r\n", *[piece async for piece in content.chunks()]])
    assert house.letters == [whole]


async def test_content_that_cannot_be_read_is_never_half_delivered(world: World) -> None:
    house = await world.house()
    sent = await world.outbound().send(host(house.port), job(content=Spool(5, breaks_at=3)))
    assert replies(sent) == ["Deferred 451 4.3.0"]
    assert "Input/output error" in sent.outcomes[0].reply.text
    assert house.letters == []


# ── loops ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_letter_is_not_sent_to_ourselves(world: World) -> None:
    house = await world.house()
    world.ours = {("127.0.0.1", house.port)}
    sent = await world.outbound().send(host(house.port), job())
    assert isinstance(sent.outcomes[0], Failed)
    assert sent.outcomes[0].reply.enhanced == "5.4.6"
    assert house.posts == []
