"""The stub resolver against a server that it cannot trust to behave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.net import dnswire
from posthouse.net.dns import ROTATION, NameServer, StubResolver, system_dns
from posthouse.net.dnscache import LONGEST, DnsCache
from posthouse.pocket.dns import Fault, PocketDns
from posthouse.ports import Found, LookupFailed, Mx, NotFound


class HandClock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time


class Net:
    def __init__(self, servers: int = 1) -> None:
        self.clock = HandClock()
        self.servers = [PocketDns() for _ in range(servers)]
        self.dns = self.servers[0]

    def resolver(self, **options: Any) -> StubResolver:
        addresses = [(server.address, server.port) for server in self.servers]
        options = {"timeouts": (10.0,)} | options
        self.made = StubResolver(addresses, self.clock, **options)
        return self.made


@contextlib.asynccontextmanager
async def pocket(servers: int = 1) -> AsyncIterator[Net]:
    net = Net(servers)
    for server in net.servers:
        await server.start()
    net.dns.add("north.test", "MX", "20 mx2.north.test", "10 MX1.North.Test")
    net.dns.add("mx1.north.test", "A", "127.0.0.2")
    net.dns.add("mx1.north.test", "AAAA", "::1")
    net.dns.add("north.test", "TXT", '"v=spf1 " "-all"')
    try:
        yield net
    finally:
        net.made.close()
        for server in net.servers:
            await server.close()


def test_each_kind_of_record_is_found(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.add("2.0.0.127.in-addr.arpa", "PTR", "mx1.north.test")
            net.dns.add("null.test", "MX", "0 .")
            resolver = net.resolver()
            mx = await resolver.mx("North.TEST.")
            assert isinstance(mx, Found)
            assert sorted(mx.records) == [Mx(10, "mx1.north.test"), Mx(20, "mx2.north.test")]
            assert mx.ttl == 300
            addresses = await resolver.addresses("mx1.north.test")
            assert isinstance(addresses, Found)
            assert addresses.records == ("127.0.0.2", "::1")
            txt = await resolver.txt("north.test")
            assert isinstance(txt, Found)
            assert txt.records == (b"v=spf1 -all",)
            ptr = await resolver.ptr("127.0.0.2")
            assert isinstance(ptr, Found)
            assert ptr.records == ("mx1.north.test",)
            null = await resolver.mx("null.test")
            assert isinstance(null, Found)
            assert null.records == (Mx(0, ""),)

    run(scene())


def test_does_not_exist_and_has_none_are_permanent_and_a_failure_is_neither(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            for fault in (Fault.SERVFAIL, Fault.REFUSED, Fault.SILENT, Fault.GARBAGE, Fault.REFERRAL):
                net.dns.fail(f"{fault.name.lower()}.test".replace("_", "-"), fault)
            resolver = net.resolver()
            assert await resolver.mx("nowhere.test") == NotFound(no_such_name=True)
            assert await resolver.mx("mx1.north.test") == NotFound(no_such_name=False)
            assert await resolver.mx("test") == NotFound(no_such_name=False)
            assert await resolver.addresses("north.test") == NotFound(no_such_name=False)
            impatient = net.resolver(timeouts=(0.05, 0.05))
            for name in ("servfail", "refused", "silent", "garbage", "referral"):
                result = await (impatient if name == "silent" else resolver).mx(f"{name}.test")
                assert isinstance(result, LookupFailed), name
                assert net.dns.endpoint in result.reason
            assert isinstance(await resolver.addresses("servfail.test"), LookupFailed)
            net.dns.fail("servfail.test", None)
            assert await resolver.mx("servfail.test") == NotFound(no_such_name=True)
            resolver.close()

    run(scene())


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64 + ".test", "a." * 127 + "toolong", "bücher.test"])
def test_a_name_that_dns_cannot_hold_is_not_asked_for(run: Any, name: str) -> None:
    async def scene() -> None:
        async with pocket() as net:
            result = await net.resolver().txt(name)
            assert isinstance(result, NotFound)
            if name not in ("", "."):
                assert net.dns.questions == []
            assert await net.made.ptr("not an address") == NotFound(no_such_name=True)

    run(scene())


def test_answers_are_kept_as_long_as_their_ttl_and_count_down(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            await resolver.mx("north.test")
            net.clock.time += 100
            again = await resolver.mx("north.test")
            assert isinstance(again, Found)
            assert (again.ttl, net.dns.asked("north.test", "MX")) == (200, 1)
            net.clock.time += 201
            await resolver.mx("north.test")
            assert net.dns.asked("north.test", "MX") == 2

    run(scene())


def test_there_is_none_is_remembered_as_long_as_the_soa_says(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            await resolver.mx("later.test")
            net.dns.add("later.test", "MX", "10 mx1.north.test")
            net.clock.time += 59
            assert await resolver.mx("later.test") == NotFound(no_such_name=True)
            net.clock.time += 2
            assert isinstance(await resolver.mx("later.test"), Found)
            assert net.dns.asked("later.test", "MX") == 2

    run(scene())


def test_a_failure_is_not_remembered(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            net.dns.fail("north.test", Fault.SERVFAIL)
            assert isinstance(await resolver.mx("north.test"), LookupFailed)
            net.dns.fail("north.test", None)
            assert isinstance(await resolver.mx("north.test"), Found)

    run(scene())


def test_equal_questions_at_the_same_time_are_asked_once(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            impatient = asyncio.ensure_future(resolver.mx("north.test"))
            others = [asyncio.ensure_future(resolver.mx("NORTH.test")) for _ in range(50)]
            await asyncio.sleep(0)
            impatient.cancel()  # must not take the answer from the others
            assert all(isinstance(result, Found) for result in await asyncio.gather(*others))
            assert net.dns.asked("north.test", "MX") == 1

    run(scene())


def test_what_does_not_fit_in_udp_is_asked_for_by_tcp(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.add("big.test", "TXT", *[f'"{index:0250}"' for index in range(40)])
            net.dns.fail("north.test", Fault.TRUNCATED)
            resolver = net.resolver()
            big = await resolver.txt("big.test")
            assert isinstance(big, Found)
            assert len(big.records) == 40
            assert isinstance(await resolver.mx("north.test"), Found)
            assert [q.transport for q in net.dns.questions] == ["udp", "tcp", "udp", "tcp"]

    run(scene())


def test_an_answer_in_another_case_is_not_believed_before_tcp_confirms_it(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.fail("north.test", Fault.WRONG_CASE)
            assert isinstance(await net.resolver().mx("north.test"), Found)
            assert [q.transport for q in net.dns.questions] == ["udp", "tcp"]

    run(scene())


def test_a_server_without_edns_is_asked_again_without(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.fail("north.test", Fault.FORMERR_ON_EDNS)
            assert isinstance(await net.resolver().mx("north.test"), Found)
            assert net.dns.asked("north.test", "MX") == 2

    run(scene())


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.SERVFAIL, Fault.GARBAGE, Fault.REFERRAL])
def test_the_next_server_answers_when_the_first_does_not_and_is_preferred(run: Any, fault: Fault) -> None:
    async def scene() -> None:
        async with pocket(servers=2) as net:
            net.servers[1].add("north.test", "MX", "10 mx1.north.test")
            net.servers[1].add("north.test", "TXT", "hello")
            net.dns.fail("north.test", fault)
            resolver = net.resolver(timeouts=(1.0, 5.0) if fault is Fault.SILENT else (10.0,))
            assert isinstance(await resolver.mx("north.test"), Found)
            asked = len(net.dns.questions)
            assert isinstance(await resolver.txt("north.test"), Found)
            assert len(net.dns.questions) == asked

    run(scene())


def test_a_server_that_is_not_there_costs_no_time(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            with socket.socket(type=socket.SOCK_DGRAM) as closed:
                closed.bind(("127.0.0.1", 0))
                gone = closed.getsockname()
            resolver = StubResolver([gone, (net.dns.address, net.dns.port)], net.clock, timeouts=(15.0,))
            net.made = resolver
            assert isinstance(await resolver.mx("north.test"), Found)

    run(scene())


def test_cname_chains_are_followed_to_their_end_and_not_beyond_reason(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.add("www.test", "CNAME", "Alias.test", ttl=30)
            net.dns.add("alias.test", "CNAME", "mx1.north.test")
            net.dns.add("link.test", "CNAME", "link2.test")
            net.dns.add("link2.test", "CNAME", "mx1.north.test")
            net.dns.add("dangling.test", "CNAME", "nowhere.test")
            net.dns.add("loop.test", "CNAME", "pool.test")
            net.dns.add("pool.test", "CNAME", "loop.test")
            for index in range(30):
                net.dns.add(f"c{index}.long.test", "CNAME", f"c{index + 1}.long.test")
            for name in ("link.test", "link2.test"):
                net.dns.fail(name, Fault.PARTIAL_CNAME)
            resolver = net.resolver()
            found = await resolver.addresses("www.test")
            assert found == Found(("127.0.0.2", "::1"), 30, False, "mx1.north.test")
            partial = await resolver.addresses("link.test")
            assert isinstance(partial, Found)
            assert partial.name == "mx1.north.test"
            assert await resolver.addresses("dangling.test") == NotFound(no_such_name=True)
            assert isinstance(await resolver.mx("loop.test"), LookupFailed)
            assert isinstance(await resolver.mx("c0.long.test"), LookupFailed)

    run(scene())


def test_half_an_address_is_enough_but_half_a_no_is_not(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            real = resolver.look_up

            async def six_fails(name: str, rdtype: int) -> Any:
                return LookupFailed("silent") if rdtype == dnswire.AAAA else await real(name, rdtype)

            resolver.look_up = six_fails  # type: ignore[method-assign]
            found = await resolver.addresses("mx1.north.test")
            assert isinstance(found, Found)
            assert found.records == ("127.0.0.2",)
            assert isinstance(await resolver.addresses("nowhere.test"), LookupFailed)

    run(scene())


def test_the_ad_bit_counts_only_from_servers_that_are_trusted(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            net.dns.authenticated = True
            trusted = await net.resolver().mx("north.test")
            assert isinstance(trusted, Found)
            assert trusted.authenticated
            net.made.close()
            strange = net.resolver()
            strange._servers[0].trusted = False
            found, missing = await strange.mx("north.test"), await strange.mx("nowhere.test")
            assert not found.authenticated
            assert missing == NotFound(True, authenticated=False)

    run(scene())


def test_the_port_changes_and_nothing_is_left_open(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            resolver = net.resolver()
            await resolver.mx("a0.test")
            first = resolver._servers[0]._port
            assert first is not None
            for index in range(1, ROTATION + 1):
                await resolver.mx(f"a{index}.test")
            assert resolver._servers[0]._port is not first
            assert first._socket.fileno() == -1

    run(scene())


def test_forged_answers_with_other_ids_or_questions_are_ignored(run: Any) -> None:
    async def scene() -> None:
        async with pocket() as net:
            real = net.dns.answer

            def forging(octets: bytes, transport: str) -> bytes | None:
                answer = real(octets, transport)
                assert answer is not None
                other = bytes([answer[0] ^ 1]) + answer[1:]
                another = bytearray(answer)
                another[15] ^= 3
                for forged in (b"", b"x", other, bytes(another)):
                    net.dns._udp.sendto(forged, client)  # type: ignore[union-attr]
                return answer

            resolver = net.resolver()
            await resolver.mx("north.test")
            port = resolver._servers[0]._port
            assert port is not None
            client = port._socket.getsockname()
            net.dns.answer = forging  # type: ignore[method-assign]
            found = await resolver.txt("north.test")
            assert isinstance(found, Found)
            assert found.records == (b"v=spf1 -all",)

    run(scene())


def test_the_cache_is_bounded_in_size_and_in_time() -> None:
    clock = HandClock()
    cache = DnsCache(clock, size=10)
    for index in range(100):
        cache.put((f"{index}.test", 1), NotFound(True), 60)
    assert len(cache) == 10
    assert cache.get(("99.test", 1)) == NotFound(True)
    assert cache.get(("0.test", 1)) is None
    cache.put(("long.test", 1), Found(("127.0.0.1",)), 10**9)
    found = cache.get(("long.test", 1))
    assert isinstance(found, Found)
    assert found.ttl == LONGEST
    clock.time -= 10 * LONGEST
    assert cache.get(("long.test", 1)) is None


QUESTION = dnswire.question(dnswire.encode_name("a.test"), dnswire.MX)


@given(st.binary(max_size=600), st.sampled_from([dnswire.MX, dnswire.A, dnswire.TXT]))
def test_any_octets_are_an_answer_or_unreadable(octets: bytes, rdtype: int) -> None:
    for data in (octets, b"\x00\x01\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + QUESTION + octets):
        with contextlib.suppress(dnswire.Unreadable):
            assert isinstance(dnswire.read(data, "a.test", rdtype), dnswire.Answer)
        dnswire.is_answer_to(data, QUESTION)


ANSWERING = PocketDns()
ANSWERING.add("a.test", "MX", "10 mx.a.test", "20 mx2.a.test")


@given(st.lists(st.tuples(st.integers(12, 90), st.integers(0, 255)), max_size=6), st.integers(0, 90))
def test_a_damaged_answer_is_an_answer_or_unreadable(damage: list[tuple[int, int]], cut: int) -> None:
    whole = ANSWERING.answer(dnswire.query(1, QUESTION, edns=True), "udp")
    assert whole is not None
    octets = bytearray(whole)
    for place, value in damage:
        octets[place % len(octets)] = value
    with contextlib.suppress(dnswire.Unreadable):
        assert isinstance(dnswire.read(bytes(octets[cut:]), "a.test", dnswire.MX), dnswire.Answer)


def test_resolv_conf_names_the_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# comment\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver 2001:db8::1\n"
        "search example.org\noptions edns0 trust-ad\n"
    )
    assert system_dns(file) == ((NameServer("192.0.2.1"), NameServer("2001:db8::1")), True)
    assert system_dns(tmp_path / "none") == ((NameServer("127.0.0.1"),), False)
