"""VRFY, EXPN, and who may send as whom."""

from __future__ import annotations

import pytest

from posthouse.accounts import domain
from posthouse.accounts.alias import Kind as AliasKind
from posthouse.mail.address import parse_address
from posthouse.mail.reply import CANNOT_VERIFY, UTF8_NEEDS_SMTPUTF8
from posthouse.routing.router import EXPN_DENIED
from tests.unit.accounts.world import World


@pytest.fixture
async def busy(world: World) -> World:
    """A list, a forward and somebody who moved; a second bob."""
    await world.add_alias("all@example.org", "alice@example.org", "x@example.net", kind=AliasKind.LIST)
    await world.add_alias("carol@example.org", "carol@example.net", kind=AliasKind.FORWARD)
    await world.add_alias("dave@example.org", "dave@example.net", kind=AliasKind.MOVED)
    await world.add_domain("example.com")
    await world.add_account("bob@example.com")
    return world


async def test_strangers_learn_nothing(busy: World) -> None:
    for argument in ("alice", "<alice@example.org>", "nobody@example.org", "x@example.net", "", "<<"):
        assert await busy.router.verify(argument, authenticated=False) == CANNOT_VERIFY
        assert await busy.router.expand(argument, authenticated=False) == EXPN_DENIED


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("alice", "250 2.1.5 Alice <alice@example.org>"),
        ("<Alice@Example.org>", "250 2.1.5 Alice <alice@example.org>"),
        ("all@example.org", "250 2.1.5 <all@example.org>"),
        ("carol@example.org", "251 2.1.5 User not local; will forward to <carol@example.net>"),
        ("dave@example.org", "551 5.1.6 User not local; please try <dave@example.net>"),
        ("x@example.net", str(CANNOT_VERIFY)),
        ("postmaster", "250 2.1.5 <postmaster>"),
        ("bob", "553 5.1.4 User ambiguous; possibilities are bob@example.com bob@example.org"),
        ("nobody", "550 5.1.1 No such user here"),
        ("%", "550 5.1.1 No such user here"),
        ("a@b@c", "501 5.1.3 Bad recipient address syntax"),
    ],
)
async def test_users_can_verify(busy: World, argument: str, reply: str) -> None:
    assert str(await busy.router.verify(argument, authenticated=True)) == reply


async def test_users_see_the_members_of_a_list(busy: World) -> None:
    expanded = await busy.router.expand("<all@example.org>", authenticated=True)
    assert expanded.encode() == b"250-2.1.5 <alice@example.org>\r\n250 2.1.5 <x@example.net>\r\n"


async def test_a_list_is_known_by_its_name_alone(busy: World) -> None:
    by_name = await busy.router.expand("ALL", authenticated=True)
    assert by_name == await busy.router.expand("all@example.org", authenticated=True)
    await busy.add_alias("all@example.com", "bob@example.com", kind=AliasKind.LIST)
    assert (await busy.router.expand("all", authenticated=True)).code == 553
    for argument in ("alice", "nobody", "a%"):
        assert (await busy.router.expand(argument, authenticated=True)).code == 550


async def test_only_lists_are_expanded(busy: World) -> None:
    for argument in ("alice@example.org", "carol@example.org", "nobody@example.org", "x@example.net"):
        assert (await busy.router.expand(argument, authenticated=True)).code == 550


async def test_members_that_need_utf8_are_shown_only_to_who_takes_it(busy: World) -> None:
    await busy.add_alias("team@example.org", "käthe@example.net", kind=AliasKind.LIST)
    refused = await busy.router.expand("team@example.org", authenticated=True)
    assert refused == UTF8_NEEDS_SMTPUTF8
    shown = await busy.router.expand("team@example.org", authenticated=True, smtputf8=True)
    assert shown.text == "<käthe@example.net>"


async def test_a_user_owns_what_leads_to_him_alone_or_with_others(busy: World) -> None:
    await busy.add_alias("sales@example.org", "s@example.org", "bob@example.org")
    await busy.add_alias("s@example.org", "alice@example.org")
    login = "alice@example.org"
    for own in ("alice@example.org", "ALICE+x@example.org", "sales@example.org", "s@example.org"):
        assert busy.router.owns(login, parse_address(own)) is True, own
    for other in (
        "bob@example.org",
        "all@example.org",
        "carol@example.org",
        "nobody@example.org",
        "alice@example.com",
        "alice@example.net",
        "postmaster@example.org",
    ):
        assert busy.router.owns(login, parse_address(other)) is False, other


async def test_a_catch_all_owns_the_unlisted_addresses_of_its_domain(busy: World) -> None:
    await busy.change(lambda tx: domain.change(tx, "example.com", catch_all="alice@example.org"))
    assert busy.router.owns("alice@example.org", parse_address("anything@example.com")) is True
    assert busy.router.owns("alice@example.org", parse_address("bob@example.com")) is False
