"""The IP addresses of this machine, as the kernel lists them (netdevice(7), proc(5))."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IPV6 = Path("/proc/net/if_inet6")


def own_addresses() -> frozenset[str]:
    """As text; IPv6 without those of a link. What cannot be found out is left out."""
    return frozenset([*_ipv4(), *_ipv6()])


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asker.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an IPv4 address
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _ipv6() -> list[str]:
    try:
        lines = _IPV6.read_text("ascii").splitlines()
    except OSError:  # a kernel without IPv6
        return []
    addresses = (ipaddress.IPv6Address(int(line.split()[0], 16)) for line in lines)
    return [str(address) for address in addresses if not address.is_link_local]
