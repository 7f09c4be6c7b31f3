"""How many connections a worker takes: in all, and from one client.

Both limits are of the whole program; a worker takes its share, rounded up, since the kernel spreads
connections over the workers' sockets. Clients in trusted networks count in neither (they are what an
administrator put there), nor do Unix sockets.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


class Networks:
    """Some networks; `address in networks` costs a dictionary look-up for a client seen before."""

    __slots__ = ("_answer", "_networks")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._answer = lru_cache(maxsize=10_000)(self._look)

    def __contains__(self, address: object) -> bool:
        """Whether the IP address lies in one of them; an IPv4-mapped IPv6 address counts as the IPv4 one."""
        return isinstance(address, str) and self._answer(address)

    def _look(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)


@lru_cache(maxsize=1000)
def is_this_machine(address: str) -> bool:
    """Whether a peer, as `net` names it, is on this machine: nobody can listen in between."""
    if address == "local":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def share(limit: int, workers: int) -> int:
    """One worker's part of a limit for all; 0 stays 0 (no limit)."""
    return -(-limit // workers) if limit else 0


class ConnectionLimits:
    """Counts the connections of one worker. 0 means no limit.

    `total` and `per_client` are this worker's shares (see `share`).
    """

    __slots__ = ("_clients", "_exempt", "count", "per_client", "total")

    def __init__(self, total: int = 0, per_client: int = 0, exempt: Networks | None = None) -> None:
        self.total = total
        self.per_client = per_client
        self._exempt = exempt if exempt is not None else Networks()
        self._clients: dict[str, int] = {}
        self.count = 0

    def configure(self, total: int, per_client: int, exempt: Networks) -> None:
        """Go by these for the connections that come from now on."""
        self.total = total
        self.per_client = per_client
        self._exempt = exempt

    def enter(self, address: str) -> bool:
        """Count a connection; False, uncounted, when it is one too many."""
        if address == "local" or address in self._exempt:
            return True
        if self.total and self.count >= self.total:
            return False
        of_client = self._clients.get(address, 0)
        if self.per_client and of_client >= self.per_client:
            return False
        self._clients[address] = of_client + 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` let in."""
        of_client = self._clients.get(address, 0)
        if not of_client:
            return  # exempt
        self.count -= 1
        if of_client == 1:
            del self._clients[address]
        else:
            self._clients[address] = of_client - 1
