"""A caching stub resolver: `ports.Resolver` over the name servers of the system or the configuration.

Three distinct results: found, does not exist (permanent), failed (temporary). It never raises, whatever
a server sends. Equal questions at the same time are asked once. UDP first, TCP when the answer does not
fit (RFC 7766); a server that is silent, refuses or fails is followed by the next.

Forged answers must guess the id, the port (changed every `ROTATION` questions) and the case of the
letters of the name; an answer whose letters differ only in case is asked for again over TCP. The AD bit
counts only from a server on loopback, or where the administrator says so (RFC 4035 §4.9.3).

Does not read /etc/hosts, search domains or anything but DNS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from posthouse.net import dnswire
from posthouse.net.dnscache import DnsCache, Key, Result
from posthouse.ports import Clock, Found, LookupFailed, Mx, NotFound

ROTATION = 256
TIMEOUTS = (1.0, 2.0, 4.0)
"""Seconds to wait for a server in the first, second and third round over all of them."""
TCP_TIMEOUT = 5.0
_MAX_RESTARTS = 8
"""Questions that one CNAME chain may need when a server gives it piece by piece."""
_NOERROR, _FORMERR, _NXDOMAIN, _NOTIMP = 0, 1, 3, 4
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}


class NameServer(NamedTuple):
    address: str
    port: int = 53

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class SystemDns(NamedTuple):
    """What resolv.conf(5) says that concerns us."""

    servers: tuple[NameServer, ...]
    trust_ad: bool


def system_dns(path: Path = Path("/etc/resolv.conf")) -> SystemDns:
    """The system's name servers; one on this machine when none is named (resolv.conf(5))."""
    servers: list[NameServer] = []
    trust_ad = False
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        match line.split():
            case ["nameserver", address, *_]:
                try:
                    servers.append(NameServer(str(ipaddress.ip_address(address))))
                except ValueError:
                    continue
            case ["options", *options]:
                trust_ad = trust_ad or "trust-ad" in options
    return SystemDns(tuple(servers[:3]) or (NameServer("127.0.0.1"),), trust_ad)


class StubResolver:
    """`nameservers` are asked in turn, beginning with the one that answered last; empty: the system's.

    `trust_ad`: believe the AD bit of every server, not only of those on loopback. `clock` tells when
    a TTL is over. To be used on one event loop; `close` frees the sockets.
    """

    def __init__(
        self,
        nameservers: Sequence[tuple[str, int]],
        clock: Clock,
        *,
        trust_ad: bool = False,
        timeouts: Sequence[float] = TIMEOUTS,
        cache_size: int = 20_000,
    ) -> None:
        if nameservers:
            servers = tuple(NameServer(*server[:2]) for server in nameservers)
        else:
            servers, system_trusts = system_dns()
            trust_ad = trust_ad or system_trusts
        self.cache = DnsCache(clock, cache_size)
        self._servers = [_Server(server, trust_ad or _on_loopback(server)) for server in servers]
        self._timeouts = tuple(timeouts)
        self._preferred = 0
        self._asking: dict[Key, asyncio.Task[Result]] = {}

    # ports.Resolver

    async def mx(self, name: str) -> Found[Mx] | NotFound | LookupFailed:
        result: Found[Mx] | NotFound | LookupFailed = await self.look_up(name, dnswire.MX)
        return result

    async def txt(self, name: str) -> Found[bytes] | NotFound | LookupFailed:
        result: Found[bytes] | NotFound | LookupFailed = await self.look_up(name, dnswire.TXT)
        return result

    async def ptr(self, address: str) -> Found[str] | NotFound | LookupFailed:
        try:
            name = ipaddress.ip_address(address).reverse_pointer
        except ValueError:
            return NotFound(no_such_name=True)
        result: Found[str] | NotFound | LookupFailed = await self.look_up(name, dnswire.PTR)
        return result

    async def addresses(self, name: str) -> Found[str] | NotFound | LookupFailed:
        """A, then AAAA records. One kind is enough when the other fails; none, only when both say so."""
        known = self._known(name, dnswire.A), self._known(name, dnswire.AAAA)
        if known[0] is not None and known[1] is not None:
            return _together(known[0], known[1])
        four, six = await asyncio.gather(self.look_up(name, dnswire.A), self.look_up(name, dnswire.AAAA))
        return _together(four, six)

    async def look_up(self, name: str, rdtype: int) -> Any:
        """The result for one type of `dnswire.CONVERT`."""
        known = self._known(name, rdtype)
        if known is not None:
            return known
        key = (_plain(name), rdtype)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._resolve(*key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)  # others may wait for it too

    def close(self) -> None:
        """Forget what is being asked and close all sockets."""
        for task in self._asking.values():
            task.cancel()
        for server in self._servers:
            server.close()

    def _known(self, name: str, rdtype: int) -> Found[Any] | NotFound | None:
        return self.cache.get((_plain(name), rdtype))

    # Resolving

    async def _resolve(self, name: str, rdtype: int) -> Result:
        """Ask, follow what is left of a CNAME chain, and remember."""
        current, ttl, authenticated = name, 2**31 - 1, True
        seen = {name}
        for _ in range(_MAX_RESTARTS):
            answer = await self._ask_servers(current, rdtype)
            if isinstance(answer, LookupFailed):
                return answer
            authenticated = authenticated and answer.authenticated
            ttl = min(ttl, answer.ttl)
            if answer.records or answer.negative:
                return self._remember((name, rdtype), answer._replace(ttl=ttl, authenticated=authenticated))
            if answer.name in seen:
                return LookupFailed(f"the CNAMEs of {name} form a loop")
            current = answer.name
            seen.add(current)
        return LookupFailed(f"the chain of CNAMEs of {name} is too long")

    def _remember(self, key: Key, answer: dnswire.Answer) -> Found[Any] | NotFound:
        result: Found[Any] | NotFound
        if answer.records:
            result = Found(answer.records, answer.ttl, answer.authenticated, answer.name)
        else:
            result = NotFound(answer.no_such_name, answer.authenticated)
        self.cache.put(key, result, answer.ttl)
        return result

    async def _ask_servers(self, name: str, rdtype: int) -> dnswire.Answer | LookupFailed:
        try:
            wire_name = dnswire.encode_name(name)
        except dnswire.BadName:  # no zone can have it
            return dnswire.Answer(_NXDOMAIN, (), 0, name, False, True)
        reason = "no name server"
        first = self._preferred
        for timeout in self._timeouts:
            for turn in range(len(self._servers)):
                index = (first + turn) % len(self._servers)
                server = self._servers[index]
                outcome = await _ask(server, name, wire_name, rdtype, timeout)
                if isinstance(outcome, dnswire.Answer):
                    self._preferred = index
                    return outcome
                reason = f"{server.name_server}: {outcome}"
        return LookupFailed(f"{name}: {reason}")


async def _ask(
    server: _Server, name: str, wire_name: bytes, rdtype: int, timeout: float
) -> dnswire.Answer | str:
    """Ask one server: its answer, or why there is none."""
    chance = int.from_bytes(os.urandom(8))
    section = dnswire.question(dnswire.mix_case(wire_name, chance), rdtype)
    for edns in (True, False):
        try:
            octets = await _exchange(server, section, timeout, edns=edns)
            rcode = dnswire.rcode_of(octets)
            if edns and rcode in (_FORMERR, _NOTIMP):  # an old server: RFC 6891 §7
                continue
            if rcode not in (_NOERROR, _NXDOMAIN):
                return _RCODES.get(rcode, f"response code {rcode}")
            answer = dnswire.read(octets, name, rdtype)
        except TimeoutError:
            return "no answer in time"
        except OSError as error:
            return error.strerror or str(error)
        except dnswire.Unreadable as error:
            return f"unreadable answer ({error})"
        if not answer.records and not answer.negative and answer.name == name:
            return "does not resolve for us"  # a referral: RFC 1034 §4.3.1
        return answer._replace(authenticated=answer.authenticated and server.trusted)
    return "FORMERR"


async def _exchange(server: _Server, section: bytes, timeout: float, *, edns: bool) -> bytes:
    """The octets of an answer to our very question. Raises OSError, TimeoutError, Unreadable."""
    async with asyncio.timeout(timeout):
        octets = await server.ask(section, edns=edns)
    if octets is not None and not dnswire.is_truncated(octets):
        return octets
    async with asyncio.timeout(TCP_TIMEOUT):
        octets = await _ask_by_tcp(server.name_server, section, edns=edns)
    if dnswire.is_answer_to(octets, section) is False:
        raise dnswire.Unreadable("not an answer to our question")
    return octets


async def _ask_by_tcp(server: NameServer, section: bytes, *, edns: bool) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        sent = dnswire.query(int.from_bytes(os.urandom(2)), section, edns=edns)
        writer.write(len(sent).to_bytes(2) + sent)
        length = int.from_bytes(await reader.readexactly(2))
        octets = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise dnswire.Unreadable("the connection ended before the answer did") from None
    finally:
        writer.transport.abort()
    if len(octets) < dnswire.HEADER_SIZE or octets[:2] != sent[:2]:
        raise dnswire.Unreadable("not an answer to our question")
    return octets


class _Server:
    """One name server and the UDP socket that we ask it through."""

    __slots__ = ("_port", "name_server", "trusted")

    def __init__(self, name_server: NameServer, trusted: bool) -> None:
        self.name_server = name_server
        self.trusted = trusted
        self._port: _Port | None = None

    async def ask(self, section: bytes, *, edns: bool) -> bytes | None:
        """The answer, perhaps truncated; None when it must be asked for by TCP. Raises OSError."""
        if self._port is None or self._port.worn_out:
            if self._port is not None:
                self._port.retire()
            self._port = _Port(self.name_server)
        return await self._port.ask(section, edns=edns)

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None


class _Port:
    """A UDP socket for ROTATION questions, many at a time."""

    __slots__ = ("_asked", "_loop", "_retired", "_socket", "_waiting")

    def __init__(self, server: NameServer) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes | None]]] = {}
        self._asked = 0
        self._retired = False
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(tuple(server))  # only its answers arrive, and its ICMP errors
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def worn_out(self) -> bool:
        return self._asked >= ROTATION or self._retired

    async def ask(self, section: bytes, *, edns: bool) -> bytes | None:
        identity = int.from_bytes(os.urandom(2))
        while identity in self._waiting:
            identity = int.from_bytes(os.urandom(2))
        self._asked += 1
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiting[identity] = (section, future)
        try:
            self._socket.send(dnswire.query(identity, section, edns=edns))
            return await future
        finally:
            del self._waiting[identity]
            if self._retired and not self._waiting:
                self.close()

    def retire(self) -> None:
        """Ask nothing more; close after the last answer."""
        self._retired = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        self._retired = True
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionAbortedError("the resolver was closed"))

    def _readable(self) -> None:
        for _ in range(64):
            try:
                octets = self._socket.recv(65_535)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error: nobody listens there
                for _, future in self._waiting.values():
                    if not future.done():
                        future.set_exception(error)
                return
            self._take(octets)

    def _take(self, octets: bytes) -> None:
        """Give an answer to whoever asked; what nobody asked for is dropped."""
        if len(octets) < dnswire.HEADER_SIZE:
            return
        asked = self._waiting.get(dnswire.identity_of(octets))
        if asked is None or asked[1].done():
            return
        ours = dnswire.is_answer_to(octets, asked[0])
        if ours is None:
            asked[1].set_result(None)
        elif ours or (dnswire.rcode_of(octets) == _FORMERR and len(octets) == dnswire.HEADER_SIZE):
            asked[1].set_result(octets)


def _plain(name: str) -> str:
    return name.removesuffix(".").lower()


def _on_loopback(server: NameServer) -> bool:
    return ipaddress.ip_address(server.address).is_loopback


def _together(four: Result, six: Result) -> Found[str] | NotFound | LookupFailed:
    found = [cast(Found[str], result) for result in (four, six) if isinstance(result, Found)]
    authenticated = all(not isinstance(r, LookupFailed) and r.authenticated for r in (four, six))
    if found:
        records = tuple(record for result in found for record in result.records)
        return Found(records, min(result.ttl for result in found), authenticated, found[0].name)
    for result in (four, six):
        if isinstance(result, LookupFailed):
            return result
    no_such_name = any(isinstance(result, NotFound) and result.no_such_name for result in (four, six))
    return NotFound(no_such_name, authenticated)
