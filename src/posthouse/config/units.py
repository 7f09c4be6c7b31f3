"""Durations, sizes and networks as an administrator writes them, and back again.

A duration is seconds, or a number with Postfix's units s, m, h, d, w: "300s", "5d". A size is octets,
or a number with KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024): "50MB".
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_OCTETS = {
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
}
_OCTETS_FOLDED = {name.lower(): octets for name, octets in _OCTETS.items()} | {"b": 1, "": 1}
_NUMBER_AND_UNIT = re.compile(r"(\d{1,19}(?:\.\d{1,6})?)\s*([A-Za-z]*)", re.ASCII)
_LARGEST = 2**62


def parse_duration(value: object) -> float:
    """Seconds. Takes a number of seconds or a text such as "4h"; ValueError says what is allowed."""
    allowed = 'a duration: seconds as a plain number, or with a unit, such as "300s", "10m", "4h", "5d", "2w"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = _SECONDS.get(match[2].lower() or "s") if match else None
        if match is None or unit is None:
            raise ValueError(f"must be {allowed}")
        seconds = float(match[1]) * unit
    if not 0 <= seconds <= 100 * 365 * 86_400:
        raise ValueError(f"must be {allowed}, not negative and at most 100 years")
    return seconds


def parse_size(value: object) -> int:
    """Octets. Takes a number of octets or a text such as "50MB"; ValueError says what is allowed."""
    allowed = 'a size: octets as a plain number, or with a unit, such as "50MB", "1GB", "64KiB"'
    if isinstance(value, int) and not isinstance(value, bool):
        octets = value
    else:
        match = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = _OCTETS_FOLDED.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"must be {allowed}")
        octets = int(match[1]) * unit if match[1].isdigit() else round(float(match[1]) * unit)
    if not 0 <= octets <= _LARGEST:
        raise ValueError(f"must be {allowed}, not negative and below 2^62")
    return octets


def parse_network(value: object) -> Network:
    """An IP network: "192.0.2.0/24", "2001:db8::/32", Postfix's "[::1]/128", or one address."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    allowed = 'a network such as "192.0.2.0/24", "[2001:db8::]/32" or a single address'
    if not isinstance(value, str):
        raise ValueError(f"must be {allowed}")
    text = value.strip().replace("[", "", 1).replace("]", "", 1)
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"must be {allowed}") from None
    raise ValueError(f"has bits set behind its prefix length; {show_network(meant)} is the network")


def show_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: 432000 → "5d"."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    whole = int(seconds)
    for unit in ("d", "h"):
        if whole and whole % _SECONDS[unit] == 0:
            return f"{whole // _SECONDS[unit]}{unit}"
    return f"{whole}s"


def show_size(octets: int) -> str:
    """The shortest text that `parse_size` reads back: 50000000 → "50MB"; a plain number without a unit."""
    for unit, size in _OCTETS.items():
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return str(octets)


def show_network(network: Network) -> str:
    """As Postfix writes it: IPv6 in brackets."""
    if network.version == 4:
        return str(network)
    return f"[{network.network_address}]/{network.prefixlen}"
