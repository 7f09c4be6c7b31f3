"""Where to connect for a next hop: MX records, implicit MX, null MX, and never to ourselves (RFC 5321 §5.1).

Hosts come in the order of their preference, those of equal preference shuffled; of each its addresses,
shuffled, IPv4 and IPv6 by turns. Of "does not exist" becomes a failure, of "no answer" a deferral.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from posthouse.mail.outcome import Deferred, Failed
from posthouse.mail.reply import NO_SUCH_DOMAIN, NULL_MX, ROUTING_LOOP, Reply
from posthouse.outbound.hop import NextHop, is_ip_address
from posthouse.ports import Found, LookupFailed, Mx, NotFound, Random, Resolver

HOST_LIMIT = 20
"""Hosts of one domain that we look at."""

LOOKUP_FAILED = Reply(451, "4.4.3", "DNS look-up failed")
NO_USABLE_HOST = Reply(550, "5.4.4", "No mail host of the domain has an address")

IsUs = Callable[[str, int], bool]
"""Whether a host name or address, with a port, is this mail system itself."""


class Target(NamedTuple):
    """One address to connect to."""

    host: str
    address: str
    port: int
    preference: int = 0

    @property
    def place(self) -> str:
        """As outcomes name it: `host[address]:port`."""
        return f"{self.host}[{self.address}]:{self.port}"


class Route(NamedTuple):
    """The targets, or why there are none; and what DNS told, in words for the journey."""

    targets: tuple[Target, ...]
    answers: tuple[str, ...]
    outcome: Deferred | Failed | None = None


class _Host(NamedTuple):
    preference: int
    name: str
    addresses: tuple[str, ...]
    failed: bool


async def find_route(hop: NextHop, resolver: Resolver, random: Random, is_us: IsUs) -> Route:
    """All targets of a next hop in the order in which to try them."""
    answers: list[str] = []
    exchanges: list[Mx] = [Mx(0, hop.name)]
    implicit = True
    if hop.look_up_mx:
        found = await resolver.mx(hop.name)
        answers.append(_mx_in_words(hop.name, found))
        if isinstance(found, LookupFailed):
            reply = LOOKUP_FAILED.saying(f"MX look-up of {hop.name} failed: {found.reason}")
            return Route((), tuple(answers), Deferred(reply))
        if isinstance(found, NotFound):
            if found.no_such_name:
                reply = NO_SUCH_DOMAIN.saying(f"Domain {hop.name} not found")
                return Route((), tuple(answers), Failed(reply))
        elif all(not record.exchange for record in found.records):  # RFC 7505 §3
            return Route((), tuple(answers), Failed(NULL_MX.saying(f"{hop.name} accepts no mail (null MX)")))
        else:
            implicit = False
            exchanges = [record for record in found.records if record.exchange]
    hosts = await _resolve(_in_order(exchanges, random), resolver, random, answers)
    return _route(hop, _cut_at_ourselves(hosts, hop.port, is_us), hosts, answers, implicit=implicit)


def _route(
    hop: NextHop, better: list[_Host], hosts: list[_Host], answers: list[str], *, implicit: bool
) -> Route:
    """The targets, or the reason for having none."""
    targets = tuple(
        Target(host.name, address, hop.port, host.preference) for host in better for address in host.addresses
    )
    told = tuple(answers)
    if targets:
        return Route(targets, told)
    if any(host.failed for host in better):
        return Route((), told, Deferred(LOOKUP_FAILED.saying(f"No address of {hop.name} could be looked up")))
    if len(better) < len(hosts):
        loop = ROUTING_LOOP.saying(f"Mail for {hop.name} loops back to this host")
        return Route((), told, Failed(loop))
    if implicit:
        reply = NO_SUCH_DOMAIN.saying(f"{hop.name} has neither a mail host nor an address")
        return Route((), told, Failed(reply))
    return Route((), told, Failed(NO_USABLE_HOST.saying(f"No mail host of {hop.name} has an address")))


def _in_order(exchanges: list[Mx], random: Random) -> list[Mx]:
    """By preference, and by chance where it is equal (RFC 5321 §5.1)."""
    shuffled: list[object] = list(exchanges)
    random.shuffle(shuffled)
    mixed = [record for record in shuffled if isinstance(record, Mx)]
    return sorted(mixed, key=lambda record: record.preference)[:HOST_LIMIT]


async def _resolve(
    exchanges: list[Mx], resolver: Resolver, random: Random, answers: list[str]
) -> list[_Host]:
    """The addresses of all hosts, asked for together."""
    looked_up: list[Found[str] | NotFound | LookupFailed] = await asyncio.gather(
        *(_addresses(record.exchange, resolver) for record in exchanges)
    )
    hosts: list[_Host] = []
    for record, found in zip(exchanges, looked_up, strict=True):
        name = record.exchange
        if isinstance(found, Found):
            addresses = _mixed(found.records, random)
            if addresses != (name,):
                answers.append(f"{name}: {', '.join(addresses)}")
            hosts.append(_Host(record.preference, name, addresses, failed=False))
        else:
            failed = isinstance(found, LookupFailed)
            answers.append(f"{name}: look-up failed" if failed else f"{name}: no address")
            hosts.append(_Host(record.preference, name, (), failed))
    return hosts


def _addresses(name: str, resolver: Resolver) -> Awaitable[Found[str] | NotFound | LookupFailed]:
    return _literal(name) if is_ip_address(name) else resolver.addresses(name)


async def _literal(address: str) -> Found[str] | NotFound | LookupFailed:
    return Found((address,))


def _mixed(addresses: tuple[str, ...], random: Random) -> tuple[str, ...]:
    """Shuffled, the two families by turns: with one of them unreachable the other is soon tried."""
    shuffled: list[object] = list(addresses)
    random.shuffle(shuffled)
    four = [address for address in map(str, shuffled) if ":" not in address]
    six = [address for address in map(str, shuffled) if ":" in address]
    mixed: list[str] = []
    for place in range(max(len(four), len(six))):
        mixed += four[place : place + 1] + six[place : place + 1]
    return tuple(mixed)


def _cut_at_ourselves(hosts: list[_Host], port: int, is_us: IsUs) -> list[_Host]:
    """Without us and all hosts that are no better than we: to them we must not relay (RFC 5321 §5.1)."""
    ours = [
        host.preference
        for host in hosts
        if is_us(host.name, port) or any(is_us(address, port) for address in host.addresses)
    ]
    if not ours:
        return hosts
    return [host for host in hosts if host.preference < min(ours)]


def _mx_in_words(name: str, found: Found[Mx] | NotFound | LookupFailed) -> str:
    if isinstance(found, LookupFailed):
        return f"{name} MX: look-up failed ({found.reason})"
    if isinstance(found, NotFound):
        return f"{name} MX: no such domain" if found.no_such_name else f"{name} MX: none"
    records = ", ".join(f"{record.preference} {record.exchange or '.'}" for record in sorted(found.records))
    return f"{name} MX: {records}"
