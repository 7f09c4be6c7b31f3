"""Where a letter goes: RFC 5321 §5.1, case by case."""

from __future__ import annotations

import pytest

from posthouse.mail.outcome import Deferred, Failed
from posthouse.outbound.hop import NextHop, parse_next_hop
from posthouse.outbound.mx import Route, Target, find_route
from posthouse.ports import Mx
from tests.unit.outbound.conftest import Dice, Zone, domain


@pytest.fixture
def zone() -> Zone:
    zone = Zone()
    zone.hosts = {
        "mx1.example": ["192.0.2.1"],
        "mx2.example": ["192.0.2.2", "2001:db8::2"],
        "mx3.example": ["192.0.2.3"],
        "bare.example": ["192.0.2.4"],
        "broken.example": "SERVFAIL",
    }
    return zone


async def route(zone: Zone, *, seed: int = 1, ours: tuple[str, ...] = (), name: str = "example.org") -> Route:
    return await find_route(
        domain(name, 25), zone, Dice(seed), lambda host, port: host in ours and port == 25
    )


def hosts(found: Route) -> list[str]:
    return [target.host for target in found.targets]


async def test_hosts_in_the_order_of_their_preference(zone: Zone) -> None:
    zone.exchanges["example.org"] = [Mx(20, "mx2.example"), Mx(5, "mx3.example"), Mx(10, "mx1.example")]
    found = await route(zone)
    assert found.targets == (
        Target("mx3.example", "192.0.2.3", 25, 5),
        Target("mx1.example", "192.0.2.1", 25, 10),
        Target("mx2.example", "192.0.2.2", 25, 20),
        Target("mx2.example", "2001:db8::2", 25, 20),
    )
    assert found.answers[0] == "example.org MX: 5 mx3.example, 10 mx1.example, 20 mx2.example"


async def test_equal_preferences_are_shuffled(zone: Zone) -> None:
    zone.exchanges["example.org"] = [Mx(5, "mx1.example"), Mx(5, "mx3.example")]
    first = {hosts(await route(zone, seed=seed))[0] for seed in range(20)}
    assert first == {"mx1.example", "mx3.example"}


async def test_without_mx_the_domain_is_its_own_host(zone: Zone) -> None:
    assert (await route(zone, name="bare.example")).targets == (Target("bare.example", "192.0.2.4", 25, 0),)


async def test_null_mx(zone: Zone) -> None:
    zone.exchanges["example.org"] = [Mx(0, "")]
    outcome = (await route(zone)).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reply.code, outcome.reply.enhanced) == (556, "5.1.10")


async def test_no_such_domain(zone: Zone) -> None:
    zone.exchanges["example.org"] = None
    outcome = (await route(zone)).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reply.code, outcome.reply.enhanced) == (550, "5.1.2")


async def test_neither_mx_nor_address(zone: Zone) -> None:
    outcome = (await route(zone, name="nothing.example")).outcome
    assert isinstance(outcome, Failed)
    assert outcome.reply.enhanced == "5.1.2"


@pytest.mark.parametrize("exchange", ["gone.example", "broken.example"])
async def test_mail_hosts_without_address(zone: Zone, exchange: str) -> None:
    zone.exchanges["example.org"] = [Mx(1, exchange)]
    outcome = (await route(zone)).outcome
    if exchange == "broken.example":
        assert isinstance(outcome, Deferred)
        assert outcome.reply.enhanced == "4.4.3"
    else:
        assert isinstance(outcome, Failed)
        assert outcome.reply.enhanced == "5.4.4"


async def test_a_failed_look_up_defers(zone: Zone) -> None:
    zone.exchanges["example.org"] = "SERVFAIL"
    outcome = (await route(zone)).outcome
    assert isinstance(outcome, Deferred)
    assert outcome.reply.enhanced == "4.4.3"
    assert "SERVFAIL" in outcome.reply.text


async def test_one_broken_host_does_not_hide_the_others(zone: Zone) -> None:
    zone.exchanges["example.org"] = [Mx(1, "broken.example"), Mx(2, "mx1.example")]
    assert hosts(await route(zone)) == ["mx1.example"]


@pytest.mark.parametrize("ours", ["mx1.example", "192.0.2.1"])
async def test_we_relay_only_to_hosts_better_than_ourselves(zone: Zone, ours: str) -> None:
    zone.exchanges["example.org"] = [Mx(5, "mx3.example"), Mx(10, "mx1.example"), Mx(10, "mx2.example")]
    assert hosts(await route(zone, ours=(ours,))) == ["mx3.example"]


async def test_mail_that_leads_back_to_us_fails(zone: Zone) -> None:
    zone.exchanges["example.org"] = [Mx(5, "mx1.example"), Mx(10, "mx2.example")]
    outcome = (await route(zone, ours=("mx1.example",))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.reply.enhanced == "5.4.6"


async def test_a_host_in_brackets_is_not_looked_up_as_a_domain(zone: Zone) -> None:
    hop = parse_next_hop("[mx1.example]:587", 25)
    found = await find_route(hop, zone, Dice(), lambda host, port: False)
    assert found.targets == (Target("mx1.example", "192.0.2.1", 587, 0),)
    assert zone.asked == []


async def test_an_address_needs_no_look_up(zone: Zone) -> None:
    hop = parse_next_hop("[IPv6:2001:db8::9]", 25)
    found = await find_route(hop, zone, Dice(), lambda host, port: False)
    assert found.targets == (Target("2001:db8::9", "2001:db8::9", 25, 0),)


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("example.org", NextHop("example.org", 25, True)),
        ("Example.org:2525", NextHop("example.org", 2525, True)),
        ("[mx.example]", NextHop("mx.example", 25, False)),
        ("[mx.example]:587", NextHop("mx.example", 587, False)),
        ("[192.0.2.1]", NextHop("192.0.2.1", 25, False)),
        ("[2001:db8::1]:26", NextHop("2001:db8::1", 26, False)),
    ],
)
def test_next_hops_are_read(text: str, hop: NextHop) -> None:
    assert parse_next_hop(text, 25) == hop


@pytest.mark.parametrize(
    "text", ["", "[]", "[mx", "[mx]25", "mx:", "mx:0", "mx:65536", "mx:x", "[mx]:", "[IPv6:x]"]
)
def test_what_is_no_next_hop(text: str) -> None:
    with pytest.raises(ValueError):
        parse_next_hop(text, 25)
