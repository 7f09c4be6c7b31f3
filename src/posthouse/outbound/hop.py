"""Next hops as routing and configuration write them: `example.org`, `[mail.example.net]:587`, `[192.0.2.1]`.

A name in brackets is a host, taken as it is; without them it is a domain, whose MX records are asked for.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple


class NextHop(NamedTuple):
    """Where a letter goes next."""

    name: str
    """A domain, a host or an IP address; lower case, A-labels."""
    port: int
    look_up_mx: bool
    """A domain: its MX records tell the hosts."""

    def __str__(self) -> str:
        if self.look_up_mx:
            return self.name
        return f"[{self.name}]:{self.port}"


def parse_next_hop(text: str, default_port: int) -> NextHop:
    """`domain`, `domain:port`, `[host]`, `[host]:port`, address literals too. Raises ValueError."""
    bracketed = text.startswith("[")
    if bracketed:
        name, closing, rest = text[1:].partition("]")
        if not closing or (rest and rest[0] != ":"):
            raise ValueError(f"{text!r} is no next hop: write [host]:port")
        port = rest[1:]
        if name[:5].lower() == "ipv6:":  # RFC 5321 §4.1.3
            name = name[5:]
            ipaddress.IPv6Address(name)
    else:
        name, colon, port = text.partition(":")
        rest = colon + port
    if not name or (rest and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536)):
        raise ValueError(f"{text!r} is no next hop: write domain, [host] or [host]:port")
    return NextHop(name.lower(), int(port) if rest else default_port, not bracketed)


def is_ip_address(name: str) -> bool:
    """Whether it needs no look-up."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
