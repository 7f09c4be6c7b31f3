"""An authoritative DNS server on loopback, for all names at once, whose records and faults Python sets.

    dns = PocketDns()
    await dns.start()
    dns.add("north.test", "MX", "10 mx.north.test")
    dns.add("mx.north.test", "A", "127.0.0.2")
    dns.fail("south.test", Fault.SERVFAIL)

It answers over UDP and TCP on one port, follows CNAMEs, tells NXDOMAIN from NODATA, and says in its SOA
how long that may be remembered. Every question asked of it is in `questions`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from enum import Enum
from typing import NamedTuple, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

_MAX_CHAIN = 20
_IN = dns.rdataclass.IN


class Fault(Enum):
    """What goes wrong with the questions for a name."""

    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    SILENT = "no answer at all"
    SILENT_UDP = "no answer over UDP"
    TRUNCATED = "an empty truncated answer over UDP"
    GARBAGE = "octets that are no message behind the right id and question"
    FORMERR_ON_EDNS = "a server that does not know EDNS"
    WRONG_CASE = "a server that changes the case of the question over UDP"
    REFERRAL = "a server that does not recurse"
    PARTIAL_CNAME = "a server that gives a chain of CNAMEs link by link"


class Question(NamedTuple):
    """A question that was asked. `transport` is udp or tcp."""

    name: str
    rdtype: str
    transport: str


class PocketDns:
    """`ttl` is for records added without one, `negative_ttl` for NXDOMAIN and NODATA; both in seconds."""

    def __init__(self, *, ttl: int = 300, negative_ttl: int = 60) -> None:
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self.authenticated = False
        """Set the AD bit, as a validating resolver does."""
        self.questions: list[Question] = []
        self.address = ""
        self.port = 0
        self._records: dict[tuple[dns.name.Name, int], dns.rrset.RRset] = {}
        self._faults: dict[dns.name.Name, Fault] = {}
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        """`127.0.0.1:5353`, as [dns] nameservers takes it."""
        return f"{self.address}:{self.port}"

    # Records

    def add(self, name: str, rdtype: str, *values: str, ttl: int | None = None) -> None:
        """Add records in the form of a zone file: `add("a.test", "MX", "10 mx.a.test")`. Names are absolute.

        Raises ValueError for what is no such record.
        """
        owner = _name(name)
        kind = dns.rdatatype.from_text(rdtype)
        rrset = self._records.setdefault((owner, int(kind)), dns.rrset.RRset(owner, _IN, kind))
        for value in values:
            try:
                rdata = dns.rdata.from_text(_IN, kind, value, origin=dns.name.root, relativize=False)
            except dns.exception.DNSException as error:
                raise ValueError(f"{name} {rdtype} {value}: {error}") from None
            rrset.add(rdata, self.ttl if ttl is None else ttl)

    def remove(self, name: str, rdtype: str | None = None) -> None:
        """Remove the records of one type, or all of a name."""
        owner = _name(name)
        kind = None if rdtype is None else int(dns.rdatatype.from_text(rdtype))
        for key in [key for key in self._records if key[0] == owner and kind in (None, key[1])]:
            del self._records[key]

    def fail(self, name: str, fault: Fault | None) -> None:
        """Let questions for `name` go wrong from now on; None ends it."""
        if fault is None:
            self._faults.pop(_name(name), None)
        else:
            self._faults[_name(name)] = fault

    def asked(self, name: str, rdtype: str) -> int:
        """How often this has been asked."""
        return sum(1 for q in self.questions if (q.name, q.rdtype) == (name.lower(), rdtype))

    # Serving

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to answer; port 0 takes a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        while True:
            tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
            try:
                tcp.bind((address, port))
                self.address, self.port = tcp.getsockname()
                udp.bind((self.address, self.port))
            except OSError:
                tcp.close()
                udp.close()
                if port or not self.port:
                    raise
                self.port = 0  # somebody has that port for UDP: try another
                continue
            break
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
        self._tcp = await asyncio.start_server(self._serve_tcp, sock=tcp)

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        self._udp = self._tcp = None

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length), "tcp")
                if answer is not None:
                    writer.write(len(answer).to_bytes(2) + answer)
        writer.close()

    def answer(self, octets: bytes, transport: str) -> bytes | None:
        """The answer to a query, None when there is none to give. `transport` is udp or tcp."""
        try:
            query = dns.message.from_wire(octets)
        except (dns.exception.DNSException, ValueError):
            return None
        if not query.question:
            return None
        asked = query.question[0]
        self.questions.append(Question(_text(asked.name), dns.rdatatype.to_text(asked.rdtype), transport))
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA | (dns.flags.AD if self.authenticated else 0)
        fault = self._faults.get(_name(_text(asked.name)))
        if fault is not None and not _spoil(fault, query, response, transport):
            return None
        if fault is Fault.GARBAGE:
            return response.to_wire()[: 12 + len(asked.name.to_wire() or b"") + 4] + b"\xc0\xff\xff" * 9
        if response.rcode() == dns.rcode.NOERROR and not response.flags & dns.flags.TC:
            self._fill(response, asked, 1 if fault is Fault.PARTIAL_CNAME else _MAX_CHAIN)
        if fault is Fault.REFERRAL:
            response.answer, response.authority = [], []
            response.set_rcode(dns.rcode.NOERROR)
        limit = 65_535 if transport == "tcp" else max(512, query.payload if query.edns >= 0 else 512)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer, response.authority = [], []
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _fill(self, response: dns.message.Message, asked: dns.rrset.RRset, links: int) -> None:
        name = _name(_text(asked.name))
        for _ in range(links):
            rrset = self._records.get((name, int(asked.rdtype)))
            if rrset:
                response.answer.append(rrset)
                return
            alias = self._records.get((name, int(dns.rdatatype.CNAME)))
            if not alias or asked.rdtype == dns.rdatatype.CNAME:
                break
            response.answer.append(alias)
            name = _name(_text(alias[0].target))
        else:
            return  # an endless or a cut chain: what there is
        if not any(owner.is_subdomain(name) for owner, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.{self.address or 'invalid'}. hostmaster.invalid. 1 3600 600 86400 {self.negative_ttl}"
        response.authority.append(
            dns.rrset.from_text(dns.name.root, self.negative_ttl, _IN, dns.rdatatype.SOA, soa)
        )


def _spoil(fault: Fault, query: dns.message.Message, response: dns.message.Message, transport: str) -> bool:
    """Apply a fault to a response. False: do not answer."""
    if fault is Fault.SILENT or (fault is Fault.SILENT_UDP and transport == "udp"):
        return False
    if fault is Fault.SERVFAIL:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif fault is Fault.REFUSED:
        response.set_rcode(dns.rcode.REFUSED)
    elif fault is Fault.TRUNCATED and transport == "udp":
        response.flags |= dns.flags.TC
    elif fault is Fault.FORMERR_ON_EDNS and query.edns >= 0:
        response.set_rcode(dns.rcode.FORMERR)
    elif fault is Fault.WRONG_CASE and transport == "udp":
        asked = response.question[0]
        swapped = dns.name.from_text(asked.name.to_text().swapcase())
        response.question = [dns.rrset.RRset(swapped, asked.rdclass, asked.rdtype)]
    elif fault is Fault.REFERRAL:
        response.flags &= ~(dns.flags.AA | dns.flags.RA)
    return True


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: PocketDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, addr)


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.lower() or ".")


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
