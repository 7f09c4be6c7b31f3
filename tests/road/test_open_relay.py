"""Not an open relay: a stranger tries over a real connection, and nothing leaves for where he wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from posthouse.accounts.alias import Kind
from posthouse.pocket.peer import ScriptedPeer
from tests.servers import HOSTNAME, STRANGER, InProcess, dialogue

HELLO = "EHLO stranger.test"
MAIL = "MAIL FROM:<x@east.test>"

RECIPIENTS = [
    # plain
    "<victim@south.test>",
    "<victim@SOUTH.TEST>",
    "<victim@south.test.>",
    "<victim@sub.north.test>",
    "<victim@xnorth.test>",
    "<victim@north.test.south.test>",
    "<victim@test>",
    "<victim@sub.branch.test>",
    # source routes
    "<@north.test:victim@south.test>",
    "<@north.test,@mail.north.test:victim@south.test>",
    "<@branch.test:victim@south.test>",
    "<@[127.0.0.1]:victim@south.test>",
    "<@south.test:victim@south.test>",
    # percent hack, bang paths
    "<victim%south.test@north.test>",
    "<victim%south.test@mail.north.test>",
    "<victim%south.test@branch.test>",
    "<victim%south.test%branch.test@north.test>",
    "<victim%south.test@[127.0.0.1]>",
    "<south.test!victim@north.test>",
    "<south.test!victim@branch.test>",
    "<south.test!victim>",
    "<alice+victim%south.test@branch.test>",
    # quoted local parts
    '<"victim@south.test"@north.test>',
    '<"victim@south.test"@branch.test>',
    '<"victim@south.test">',
    '<"victim%south.test"@branch.test>',
    '<"@south.test:victim"@branch.test>',
    '<"victim\\@south.test"@branch.test>',
    '<"alice@north.test"@south.test>',
    '<"alice@north.test> RCPT TO:<victim"@south.test>',
    # more than one @, brackets, more than one path
    "<victim@south.test@north.test>",
    "<victim@north.test@south.test>",
    "<<victim@south.test>@north.test>",
    "<alice@north.test><victim@south.test>",
    "<alice@north.test,victim@south.test>",
    "<alice@north.test> <victim@south.test>",
    "victim@south.test",
    "<victim@south.test",
    # literals
    "<victim@[127.0.0.2]>",
    "<victim@[IPv6:::ffff:127.0.0.2]>",
    "<victim@127.0.0.2>",
    "<victim@[south.test]>",
    # UTF-8 and other octets
    "<victim@s\u00f6uth.test>",
    "<victim@south\u3002test>",
    "<victim@\uff53outh.test>",
    "<victim\uff20south.test@north.test>",
    "<victim\uff05south.test@branch.test>",
    "<victim@north.test\u200b.south.test>",
    "<victim@north.test\x00.south.test>",
    # parameters
    "<victim@south.test> NOTIFY=NEVER ORCPT=rfc822;alice@north.test",
    # an alias that refuses, with an address elsewhere
    "<left@north.test>",
]

SESSIONS: dict[str, list[str]] = {
    "a sender of ours": [HELLO, "MAIL FROM:<alice@north.test>", "RCPT TO:<victim@south.test>"],
    "our postmaster": [HELLO, "MAIL FROM:<postmaster@north.test>", "RCPT TO:<victim@south.test>"],
    "the null sender": [HELLO, "MAIL FROM:<>", "RCPT TO:<victim@south.test>"],
    "the sender is the victim": [HELLO, "MAIL FROM:<victim@south.test>", "RCPT TO:<victim@south.test>"],
    "a sender with our address literal": [HELLO, "MAIL FROM:<x@[127.0.0.1]>", "RCPT TO:<victim@south.test>"],
    "AUTH as a parameter of MAIL": [HELLO, f"{MAIL} AUTH=alice@north.test", "RCPT TO:<victim@south.test>"],
    "our name in HELO": [f"HELO {HOSTNAME}", MAIL, "RCPT TO:<victim@south.test>"],
    "localhost in HELO": ["HELO localhost", MAIL, "RCPT TO:<victim@south.test>"],
    "a trusted literal in EHLO": ["EHLO [127.0.0.1]", MAIL, "RCPT TO:<victim@south.test>"],
    "no HELO at all": [MAIL, "RCPT TO:<victim@south.test>"],
    "after a letter for ours was begun": [HELLO, MAIL, "RCPT TO:<alice@north.test>", "RSET", MAIL,
                                          "RCPT TO:<victim@south.test>"],
    "XCLIENT": [HELLO, "XCLIENT ADDR=127.0.0.1 LOGIN=alice", MAIL, "RCPT TO:<victim@south.test>"],
    "XFORWARD": [HELLO, "XFORWARD ADDR=127.0.0.1", MAIL, "RCPT TO:<victim@south.test>"],
    "a PROXY header from nobody we trust": ["PROXY TCP4 127.0.0.1 127.0.0.1 4711 25", HELLO, MAIL,
                                            "RCPT TO:<victim@south.test>"],
    "AUTH where none is offered": [HELLO, "AUTH PLAIN AGFsaWNlQG5vcnRoLnRlc3QAeA==", MAIL,
                                   "RCPT TO:<victim@south.test>"],
    "ETRN": [HELLO, "ETRN south.test"],
    "SEND, SOML and SAML": [HELLO, "SEND FROM:<x@east.test>", "SOML FROM:<x@east.test>",
                            "SAML FROM:<x@east.test>", "RCPT TO:<victim@south.test>"],
}  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[InProcess]:
    settings = {"smtp": {"relay_domains": {"branch.test": {}}}}
    aliases: dict[str, Any] = {"left": (Kind.MOVED, ["victim@south.test"])}
    async with InProcess(tmp_path, settings, aliases=aliases) as world:
        yield world


async def attempt(world: InProcess, lines: list[str]) -> list[str]:
    """A stranger's session, which ends with DATA and a letter whatever the answers were; all replies."""
    replies = []
    async with dialogue(world.address(), STRANGER) as client:
        await client.expect(220)
        for line in lines:
            replies.append(await client.command(line))
            if not replies[-1]:
                return replies
        replies.append(await client.command("DATA"))
        if replies[-1].startswith("354"):
            await client.raw(b"Subject: buy\r\n\r\nBuy!\r\n.\r\n")
            replies.append(await client.reply())
    return replies


async def nothing_left(world: InProcess, victim: ScriptedPeer) -> None:
    assert await world.rows("SELECT 1 FROM content UNION ALL SELECT 1 FROM queue_entry") == []
    assert victim.sessions == []


async def test_no_recipient_elsewhere_is_taken_from_a_stranger(world: InProcess) -> None:
    victim = await world.peer("south.test")
    for recipient in RECIPIENTS:
        replies = await attempt(world, [HELLO, MAIL, f"RCPT TO:{recipient}"])
        assert replies[2][:1] == "5", (recipient, replies)
        assert not any(reply.startswith("354") for reply in replies), (recipient, replies)
        # The same address needs SMTPUTF8 to be looked at as one.
        replies = await attempt(world, [HELLO, f"{MAIL} SMTPUTF8", f"RCPT TO:{recipient}"])
        assert replies[2][:1] == "5", (recipient, replies)
    await nothing_left(world, victim)
    assert len(set(RECIPIENTS)) >= 40


@pytest.mark.parametrize("name", SESSIONS)
async def test_no_session_of_a_stranger_relays(world: InProcess, name: str) -> None:
    victim = await world.peer("south.test")
    replies = await attempt(world, SESSIONS[name])
    assert not any(reply.startswith("354") for reply in replies), replies
    await nothing_left(world, victim)


async def test_a_pipelined_stranger_reaches_only_ours(world: InProcess) -> None:
    """Given one recipient here and one elsewhere in one packet, then the letter goes to the one here."""
    victim = await world.peer("south.test")
    async with world.client(stranger=True) as client:
        lines = [MAIL, "RCPT TO:<victim@south.test>", "RCPT TO:<alice@north.test>", "DATA", ""]
        await client.raw("\r\n".join(lines).encode())
        codes = [(await client.reply())[:3] for _ in range(4)]
        assert codes == ["250", "550", "250", "354"] or codes == ["250", "554", "250", "354"], codes
        await client.raw(b"To: victim@south.test\r\nBcc: victim@south.test\r\n\r\nBuy!\r\n.\r\n")
        await client.expect(250)
    assert len(await world.mailbox("alice")) == 1
    assert await world.queue() == []
    assert victim.sessions == []


async def test_a_stranger_may_not_submit(world: InProcess) -> None:
    victim = await world.peer("south.test")
    for user in (STRANGER, "127.0.0.1"):
        async with dialogue(world.address("submission"), user) as client:
            await client.expect(220)
            await client.command(HELLO)
            for line in (MAIL, "MAIL FROM:<alice@north.test>", "RCPT TO:<victim@south.test>", "DATA"):
                assert (await client.command(line)).startswith("5"), line
    await nothing_left(world, victim)


async def test_a_client_behind_a_trusted_proxy_is_a_stranger_by_his_own_address(tmp_path: Path) -> None:
    """Given a proxy in mynetworks, then its header decides who relays, and not its address."""
    settings = {"smtp": {"proxy_trusted": ["127.0.0.1/32"], "mynetworks": ["127.0.0.0/8", "192.0.2.1/32"]}}
    async with InProcess(tmp_path, settings, listeners=("smtp",)) as world:
        victim = await world.peer("south.test")
        for address, code in (("198.51.100.7", "5"), ("192.0.2.1", "2")):
            async with dialogue(world.address()) as client:
                await client.raw(f"PROXY TCP4 {address} 127.0.0.1 4711 25\r\n".encode())
                await client.expect(220)
                await client.command(HELLO)
                await client.command(MAIL)
                reply = await client.command("RCPT TO:<victim@south.test>")
                assert reply.startswith(code), (address, reply)
        assert victim.sessions == []


async def test_mynetworks_and_users_do_relay(world: InProcess) -> None:
    """Without which all of the above would be no wonder."""
    victim = await world.peer("south.test")
    assert (await attempt_from_here(world)).startswith("250")
    await victim.letter(0)


async def attempt_from_here(world: InProcess) -> str:
    async with world.client() as client:
        return (await client.letter("x@east.test", ["victim@south.test"], b"Subject: hi\r\n\r\nhi\r\n"))[-1]
