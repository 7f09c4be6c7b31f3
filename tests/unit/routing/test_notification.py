"""NOTIFY and ORCPT behind an alias (RFC 3461 §5.2.7)."""

from __future__ import annotations

import pytest

from posthouse.accounts.alias import Kind as AliasKind
from posthouse.mail.address import parse_address
from posthouse.mail.envelope import Notify, Recipient
from posthouse.routing import Carried, carry_over
from tests.unit.accounts.world import World

ALL = Notify.SUCCESS | Notify.FAILURE | Notify.DELAY


def carried(world: World, address: str, notify: Notify, orcpt: str = "") -> Carried:
    return carry_over(world.resolve(address), Recipient(parse_address(address), notify, orcpt))


async def test_an_account_and_another_domain_change_nothing(world: World) -> None:
    for address in ("alice@example.org", "x@example.net"):
        for notify in (Notify.UNSTATED, Notify.NEVER, ALL):
            assert carried(world, address, notify) == Carried(notify, "", False)
            assert carried(world, address, notify, "rfc822;y@z") == Carried(notify, "rfc822;y@z", False)


@pytest.mark.parametrize("kind", [AliasKind.ALIAS, AliasKind.FORWARD])
async def test_an_alias_of_one_hands_everything_on(world: World, kind: AliasKind) -> None:
    await world.add_alias("al@example.org", "alice@phone.example", kind=kind)
    for notify in (Notify.UNSTATED, Notify.NEVER, Notify.SUCCESS, ALL):
        assert carried(world, "al@example.org", notify) == Carried(notify, "rfc822;al@example.org", False)
    assert carried(world, "al@example.org", ALL, "rfc822;first@example").orcpt == "rfc822;first@example"


@pytest.mark.parametrize(
    ("notify", "behind", "expanded"),
    [
        (Notify.UNSTATED, Notify.UNSTATED, False),
        (Notify.NEVER, Notify.NEVER, False),
        (Notify.FAILURE, Notify.FAILURE, False),
        (Notify.SUCCESS, Notify.NEVER, True),
        (ALL, Notify.FAILURE | Notify.DELAY, True),
    ],
)
async def test_of_several_success_is_reported_here_as_expanded(
    world: World, notify: Notify, behind: Notify, expanded: bool
) -> None:
    await world.add_alias("both@example.org", "alice@example.org", "bob@example.org")
    await world.add_alias("half@example.org", "alice@example.org", "gone@example.org")
    await world.add_alias("list@example.org", "alice@example.org", kind=AliasKind.LIST)
    for name in ("both", "half", "list"):
        address = f"{name}@example.org"
        assert carried(world, address, notify) == Carried(behind, f"rfc822;{address}", expanded)


async def test_an_address_that_needs_utf8_is_named_so(world: World) -> None:
    await world.add_alias("käthe@example.org", "alice@example.org")
    assert carried(world, "käthe@example.org", ALL).orcpt == "utf-8;käthe@example.org"
