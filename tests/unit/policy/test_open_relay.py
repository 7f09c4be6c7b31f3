"""Not an open relay: whatever a stranger writes after RCPT TO, nothing leaves for where he wants."""

from __future__ import annotations

import pytest

from posthouse.accounts import domain
from posthouse.accounts.alias import Kind as AliasKind
from posthouse.mail.envelope import Client, Sender
from posthouse.policy import Policy, Verdict
from posthouse.protocol.smtp.grammar import Refused, parse_rcpt
from posthouse.routing import Local, Remote, Resolution
from tests.unit.accounts.world import World
from tests.unit.policy.test_rules import DNS

STRANGER = Client("192.0.2.7", helo="mx.example.com")

ATTEMPTS = [
    # plain
    "<victim@example.net>",
    "<victim@sub.example.org>",
    "<victim@example.org.example.net>",
    "<victim@xexample.org>",
    "<victim@example.net.>",
    "<victim@EXAMPLE.NET>",
    "<victim@org>",
    # source routes
    "<@example.org:victim@example.net>",
    "<@example.org,@mail.example.org:victim@example.net>",
    "<@[192.0.2.1]:victim@example.net>",
    "<@example.net:victim@example.net>",
    "<@example.org:@example.net:victim@example.net>",
    "<@branch.example:victim@example.net>",
    # percent hack, bang paths
    "<victim%example.net@example.org>",
    "<victim%example.net@branch.example>",
    "<victim%example.net@[192.0.2.1]>",
    "<victim%example.net%example.org@example.org>",
    "<victim%example.net>",
    "<example.net!victim@example.org>",
    "<example.net!victim@branch.example>",
    "<example.org!example.net!victim>",
    "<alice+victim%example.net@example.org>",
    # quoted local parts
    '<"victim@example.net"@example.org>',
    '<"victim@example.net"@branch.example>',
    '<"victim@example.net">',
    '<"victim%example.net"@example.org>',
    '<"victim%example.net"@branch.example>',
    '<"@example.net:victim"@branch.example>',
    '<"victim\\@example.net"@branch.example>',
    '<"alice@example.org"@example.net>',
    '<"alice@example.org> <victim"@example.net>',
    # more than one @, brackets in brackets
    "<victim@example.net@example.org>",
    "<victim@example.org@example.net>",
    "<<victim@example.net>@example.org>",
    "<alice@example.org><victim@example.net>",
    "<alice@example.org,victim@example.net>",
    "<alice@example.org victim@example.net>",
    # literals
    "<victim@[198.51.100.9]>",
    "<victim@[IPv6:2001:db8::9]>",
    "<victim@[IPv6:::ffff:198.51.100.9]>",
    "<victim@[127.0.0.1]>",
    "<victim@[[192.0.2.1]]>",
    "<victim@[192.0.2.1].example.net>",
    "<victim@198.51.100.9>",
    "<victim@[example.net]>",
    "<victim@[192.0.2.001]>",
    "<victim@#3325256713>",
    # UTF-8 and other octets
    "<victim@exämple.net>",
    "<victim@example\u3002net>",
    "<victim@\uff45\uff58ample.net>",
    "<victim\uff20example.net@example.org>",
    "<victim@example.org\u200b.example.net>",
    "<victim@example.org\u2024example.net>",
    "<victim@example.org\x00.example.net>",
    "<victim\uff05example.net@branch.example>",
    # control characters, comments
    "<victim@example.net\t>",
    "<victim@example.net(@example.org)>",
    "<victim(@example.org)@example.net>",
    "victim@example.net",
    "<victim@example.net> ORCPT=rfc822;alice@example.org",
    "<victim@example.net> NOTIFY=NEVER",
    # through what is configured here
    "<alias+victim%example.net@example.org>",
    "<elsewhere%example.net@example.org>",
    '<"elsewhere@example.net"@example.org>',
    "<postmaster@example.net>",
    "<postmaster%example.net@example.org>",
    "<abuse@example.net>",
]


async def configure(world: World) -> Policy:
    """An alias to the outside, a forward, a relay domain without a list of recipients, a catch-all here."""
    relay: dict[str, object] = {"branch.example": {"next_hop": "10.0.0.2:25"}}
    config = world.configure({"listen": {"smtp": ["192.0.2.1:25"]}, "smtp": {"relay_domains": relay}})
    await world.add_alias("alias@example.org", "alice@example.org")
    await world.add_alias("elsewhere@example.org", "chosen@example.net")
    await world.add_alias("gone@example.org", "chosen@example.net", kind=AliasKind.FORWARD)
    await world.change(lambda tx: domain.change(tx, "example.org", catch_all="bob@example.org"))
    return Policy(config, DNS, world.router)


def destinations(world: World, policy: Policy, argument: str, utf8: bool) -> list[Local | Remote]:
    """Where a letter to this argument of RCPT would go; nowhere where it is refused."""
    try:
        recipient = parse_rcpt(b"TO:" + argument.encode(), utf8)
    except Refused:
        return []
    resolution = world.router.resolve(recipient.address)
    assert isinstance(resolution, Resolution)
    verdict = policy.at_recipient(STRANGER, Sender(None), recipient, resolution)
    assert isinstance(verdict, Verdict)
    return [] if verdict.refused or not resolution.reply.positive else list(resolution.finals)


def test_there_are_enough_attempts() -> None:
    assert len(set(ATTEMPTS)) >= 40


@pytest.mark.parametrize("utf8", [False, True])
async def test_nothing_leaves_for_where_a_stranger_wants(world: World, utf8: bool) -> None:
    policy = await configure(world)
    for argument in ATTEMPTS:
        for final in destinations(world, policy, argument, utf8):
            assert isinstance(final, Local), argument


@pytest.mark.parametrize(
    ("argument", "where"),
    [
        ("<alice@example.org>", "alice@example.org"),
        ("<@example.net:alice@example.org>", "alice@example.org"),
        ("<elsewhere@example.org>", "chosen@example.net"),
        ("<gone@example.org>", "chosen@example.net"),
        ("<carol@branch.example>", "carol@branch.example"),
        ("<alice@[192.0.2.1]>", "alice@example.org"),
        ("<Postmaster>", "chief@example.org"),
        ("<anything%example.net@example.org>", "bob@example.org"),
    ],
)
async def test_what_the_administrator_configured_still_works(world: World, argument: str, where: str) -> None:
    policy = await configure(world)
    assert [str(final.address) for final in destinations(world, policy, argument, False)] == [where]
