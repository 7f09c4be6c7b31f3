"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who really connects, told by a proxy.

Only for connections from addresses that are trusted to say so; anybody else could claim to be anyone. A
header is complete within 107 octets (version 1) or 16 + its stated length (version 2, at most `V2_LIMIT`).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

V1_LIMIT = 107
"""Octets of the longest header of version 1, CRLF included."""

V2_LIMIT = 2048
"""Octets behind the first 16 of a header of version 2 that we read, TLVs included."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_FIXED = struct.Struct("!12sBBH")


class ProxyError(ValueError):
    """What came is no PROXY header; the message says why."""


class ProxyHeader(NamedTuple):
    """What a header says."""

    source: str | None
    """The client's IP address; None for a connection of the proxy's own (LOCAL, UNKNOWN)."""
    source_port: int
    consumed: int
    """Octets of the last `feed` that belong to the header; the rest is the client's."""


class ProxyParser:
    """Takes octets until the header is whole."""

    __slots__ = ("_octets",)

    def __init__(self) -> None:
        self._octets = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """The header once it is whole, None until then. Raises ProxyError."""
        before = len(self._octets)
        self._octets += data[: 16 + V2_LIMIT]
        octets = self._octets
        if octets[:12] == _SIGNATURE[: len(octets)]:
            parsed = _read_v2(octets)
        elif octets[:6] == b"PROXY "[: len(octets)]:
            parsed = _read_v1(octets)
        else:
            raise ProxyError("neither version of the PROXY protocol begins so")
        if parsed is None:
            return None
        source, port, length = parsed
        return ProxyHeader(source, port, length - before)


def _read_v1(octets: bytes) -> tuple[str | None, int, int] | None:
    """`PROXY TCP4 source destination sport dport CRLF` → source, port, length of the header."""
    end = octets.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(octets) >= V1_LIMIT:
            raise ProxyError("a version 1 header ends within 107 octets")
        return None
    try:
        fields = octets[:end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyError("a version 1 header is ASCII") from None
    if len(fields) >= 2 and fields[1] == "UNKNOWN":
        return None, 0, end + 2
    if len(fields) != 6 or fields[1] not in ("TCP4", "TCP6"):
        raise ProxyError("version 1 is PROXY TCP4|TCP6 source destination port port")
    version = 4 if fields[1] == "TCP4" else 6
    source, _ = _address(fields[2], version), _address(fields[3], version)
    port, _ = _port(fields[4]), _port(fields[5])
    return source, port, end + 2


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyError("that is no IP address") from None
    if address.version != version:
        raise ProxyError("the address is of the other family")
    return str(address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ProxyError("that is no port")
    return int(text)


def _read_v2(octets: bytes) -> tuple[str | None, int, int] | None:
    """The binary header → source, port, its length."""
    if len(octets) < _FIXED.size:
        return None
    _, version_command, family, length = _FIXED.unpack_from(octets)
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise ProxyError("unknown version or command")
    if length > V2_LIMIT:
        raise ProxyError(f"the header is longer than {V2_LIMIT} octets")
    whole = _FIXED.size + length
    if len(octets) < whole:
        return None
    if version_command & 15 == 0 or family not in (_TCP4, _TCP6):  # LOCAL, or nothing that has an IP address
        return None, 0, whole
    size = 4 if family == _TCP4 else 16
    if length < 2 * size + 4:
        raise ProxyError("the addresses are cut short")
    body = octets[_FIXED.size :]
    return str(ipaddress.ip_address(body[:size])), struct.unpack_from("!H", body, 2 * size)[0], whole
