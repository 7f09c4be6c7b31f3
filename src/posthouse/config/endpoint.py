"""Where to listen, and where to hand mail on to: endpoints and next hops as text.

0.0.0.0:25   [::]:25   localhost:2525   unix:/run/posthouse/lmtp      endpoints
example.org   [relay.example.org]:587   10.0.0.2:25                   next hops
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_MAX_UNIX_PATH = 107
"""Octets of sockaddr_un.sun_path on Linux, without the final zero."""


class Endpoint(NamedTuple):
    """An address to listen on: `host` and `port`, or, for a Unix socket, `path` (then the others are empty).

    `host` is an IP address without brackets or a host name; `port` 0 lets the system choose.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """`text` as an Endpoint; ValueError says what is allowed. A relative Unix path stays relative."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path or len(path.encode()) > _MAX_UNIX_PATH:
            raise ValueError(f'must name a socket after "unix:", of at most {_MAX_UNIX_PATH} octets')
        return Endpoint("", 0, path)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError('must be "host:port", "[::]:25" or "unix:/path": there is no port')
    return Endpoint(_host(host), _port(port, lowest=0))


def parse_next_hop(text: str) -> str:
    """A next hop in the form that the queue keeps: a domain, whose MX records decide, or "[host]:port".

    An address, brackets or a port mean this very host: no MX look-up.
    """
    if text.startswith("[") and text.endswith("]"):
        text += ":25"
    host, colon, port = text.rpartition(":")
    if colon and (host.startswith("[") or ":" not in host):
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        return f"[{_host(host if ':' in inner else inner).lower()}]:{_port(port, lowest=1)}"
    host = _host(text).lower()
    try:
        return f"[{IPv4Address(host)}]:25"
    except AddressValueError:
        return host


def split_next_hop(next_hop: str) -> tuple[str, int] | None:
    """Host and port of a next hop in the form "[host]:port"; None for a domain."""
    if not next_hop.startswith("["):
        return None
    host, _, port = next_hop[1:].rpartition("]:")
    return host, int(port)


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(IPv6Address(text[1:-1].lower().removeprefix("ipv6:")))
        except AddressValueError:
            raise ValueError(f"{text} is not an IPv6 address in brackets") from None
    if ":" in text:
        raise ValueError(f'an IPv6 address stands in brackets, such as "[{text}]:25"')
    if text == "*":
        raise ValueError('write "0.0.0.0" for all IPv4 addresses and "[::]" for all IPv6 addresses')
    if re.fullmatch(r"[\d.]+", text, re.ASCII):
        try:
            return str(IPv4Address(text))
        except AddressValueError:
            raise ValueError(f"{text} is not an IPv4 address") from None
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is neither an IP address nor a host name" if text else "there is no host")
    return text


def _port(text: str, *, lowest: int) -> int:
    port = int(text) if re.fullmatch(r"\d{1,5}", text, re.ASCII) else -1
    if not lowest <= port <= 65_535:
        raise ValueError(f"{text!r} is not a port ({lowest} to 65535)")
    return port
