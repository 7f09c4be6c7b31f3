"""DNS messages of a stub resolver: one question out, one answer in (RFC 1035, 6891), on dnspython's parser.

Whatever octets come in, `read` gives an `Answer` or raises `Unreadable`, nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from posthouse.ports import Mx

A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28
_CNAME, _SOA = 5, 6
_HEADER = struct.Struct("!HHHHHH")
HEADER_SIZE = _HEADER.size
_RD, _AD, _TC, _QR = 0x0100, 0x0020, 0x0200, 0x8000
_AA, _RA = 0x0400, 0x0080
PAYLOAD = 1232
"""Octets of UDP that we take: fits unfragmented everywhere (RFC 6891 §6.2.5, DNS flag day 2020)."""
_OPT = b"\x00" + struct.pack("!HHIH", 41, PAYLOAD, 0, 0)
MAX_CHAIN = 16
"""CNAMEs that are followed for one question."""


class BadName(ValueError):
    """A name that cannot stand in DNS."""


class Unreadable(Exception):
    """Octets that are no answer to our question."""


def encode_name(name: str) -> bytes:
    """A name, in A-labels, as its wire form. Raises BadName."""
    try:
        labels = name.removesuffix(".").encode("ascii").split(b".") if name not in ("", ".") else []
    except UnicodeEncodeError:
        raise BadName(f"{name!r} is not ASCII") from None
    if any(not 1 <= len(label) <= 63 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise BadName(f"{name[:300]!r} has a label or a length that DNS does not allow")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"


def mix_case(wire_name: bytes, chance: int) -> bytes:
    """The name with letters in upper case where `chance` has a 1 bit: octets a forger has to guess (0x20)."""
    mixed = bytearray(wire_name)
    for index, octet in enumerate(mixed):  # length octets are below 64, so never letters
        if (65 <= octet <= 90 or 97 <= octet <= 122) and chance >> (index % 64) & 1:
            mixed[index] = octet ^ 0x20
    return bytes(mixed)


def question(wire_name: bytes, rdtype: int) -> bytes:
    """The question section for class IN."""
    return wire_name + struct.pack("!HH", rdtype, 1)


def query(identity: int, section: bytes, *, edns: bool) -> bytes:
    """A query with recursion desired. Its AD bit asks for the one of the answer (RFC 6840 §5.7)."""
    head = _HEADER.pack(identity, _RD | _AD, 1, 0, 0, 1 if edns else 0)
    return head + section + (_OPT if edns else b"")


class Answer(NamedTuple):
    """What an answer says about one question."""

    rcode: int
    records: tuple[Any, ...]
    """Records of the type asked for, at the end of the CNAME chain, converted."""
    ttl: int
    """The lowest on the way; for a negative answer that of RFC 2308 §5, or 0 without SOA."""
    name: str
    """The end of the chain, A-labels in lower case."""
    authenticated: bool
    negative: bool
    """The chain's end surely has no such record: an SOA says so, or NXDOMAIN, or an empty answer of a
    server that knows."""

    @property
    def no_such_name(self) -> bool:
        return self.rcode == dns.rcode.NXDOMAIN


def identity_of(octets: bytes) -> int:
    """The id of a message of at least 2 octets."""
    return octets[0] << 8 | octets[1]


def is_answer_to(octets: bytes, section: bytes) -> bool | None:
    """Whether this is an answer with our question; None when only the case of letters differs."""
    if len(octets) < HEADER_SIZE + len(section):
        return False
    _, flags, questions, *_ = _HEADER.unpack_from(octets)
    if not flags & _QR or questions != 1:
        return False
    echoed = octets[HEADER_SIZE : HEADER_SIZE + len(section)]
    if echoed == section:
        return True
    return None if echoed.lower() == section.lower() else False


def is_truncated(octets: bytes) -> bool:
    return bool(_HEADER.unpack_from(octets)[1] & _TC)


def rcode_of(octets: bytes) -> int:
    """The response code without its extended bits."""
    return int(octets[3] & 0x0F)


def read(octets: bytes, name: str, rdtype: int) -> Answer:
    """The answer to the question for `name` (A-labels, lower case). Raises Unreadable."""
    try:
        message = dns.message.from_wire(octets, ignore_trailing=True)
        return _read(message, name, rdtype)
    except (
        dns.exception.DNSException,
        ValueError,
        struct.error,
        IndexError,
        KeyError,
        AttributeError,
    ) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None


def _read(message: dns.message.Message, name: str, rdtype: int) -> Answer:
    sets: dict[tuple[str, int], dns.rrset.RRset] = {}
    for rrset in message.answer:
        if rrset.rdclass == 1:
            sets.setdefault((text_of(rrset.name), int(rrset.rdtype)), rrset)
    ttl = 2**31 - 1
    for _ in range(MAX_CHAIN):
        if (name, rdtype) in sets:
            break
        alias = sets.get((name, _CNAME))
        if alias is None:
            break
        ttl = min(ttl, int(alias.ttl))
        name = text_of(alias[0].target)
    else:
        raise Unreadable(f"more than {MAX_CHAIN} CNAMEs")
    rcode = int(message.rcode())
    authenticated = bool(message.flags & _AD)
    found = sets.get((name, rdtype))
    if found is not None:
        convert = CONVERT[rdtype]
        records = tuple(convert(record) for record in found)
        return Answer(rcode, records, min(ttl, int(found.ttl)), name, authenticated, False)
    soa = next((rrset for rrset in message.authority if rrset.rdtype == _SOA), None)
    if soa is not None:
        ttl = min(ttl, int(soa.ttl), int(soa[0].minimum))  # RFC 2308 §5
    knows = bool(message.flags & (_AA | _RA))
    chain_is_open = any(kind == _CNAME for _, kind in sets) and soa is None
    negative = rcode == dns.rcode.NXDOMAIN or soa is not None or (knows and not chain_is_open)
    return Answer(rcode, (), ttl if soa is not None else 0, name, authenticated, negative)


def text_of(name: dns.name.Name) -> str:
    """A name as text: lower case, without the final dot; the root is empty."""
    return name.to_text(omit_final_dot=True).lower() if len(name) > 1 else ""


CONVERT: dict[int, Callable[[Any], Any]] = {
    A: lambda record: str(record.address),
    AAAA: lambda record: str(record.address),
    MX: lambda record: Mx(int(record.preference), text_of(record.exchange)),
    TXT: lambda record: b"".join(record.strings),
    PTR: lambda record: text_of(record.target),
}
