"""How many connections a host takes: in all, and from one client.

All workers count together. Clients in trusted networks do not count (they are what an administrator put
there), nor do Unix sockets.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

CELLS = 16_384
"""In which clients are counted."""
_ALL = CELLS
_ROW = CELLS + 1
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


class ConnectionCounts:
    """How many connections stand, in all and from each client: a table in memory that all workers see.

    To be made before they are forked. Each writes a row of its own, and begins with an empty one, so that
    what a dead worker counted is forgotten and no lock is needed: of connections that come to several
    workers in the same moment, one too many may get in. Clients have a cell each by a hash under a random
    key; of two who share one, each counts for both.
    """

    __slots__ = ("_key", "_rows")

    def __init__(self, workers: int = 1) -> None:
        self._key = os.urandom(16)
        table = memoryview(mmap.mmap(-1, workers * _ROW * 4)).cast("I")
        self._rows = [table[start : start + _ROW] for start in range(0, workers * _ROW, _ROW)]

    def take_row(self, worker: int) -> memoryview:
        """The row of a worker, counted from 0, for itself alone and empty."""
        row = self._rows[worker]
        row[:] = memoryview(bytes(_ROW * 4)).cast("I")
        return row

    def cell(self, address: str) -> int:
        """Where a client is counted."""
        digest = blake2b(address.encode(), digest_size=4, key=self._key).digest()
        return int.from_bytes(digest, "big") % CELLS

    def count(self, cell: int) -> int:
        """Of all workers."""
        return sum([row[cell] for row in self._rows])


class ConnectionLimits:
    """Lets connections of one worker in, by what all workers have. 0 means no limit."""

    __slots__ = ("_clients", "_counts", "_exempt", "_row", "per_client", "total")

    def __init__(
        self,
        total: int = 0,
        per_client: int = 0,
        exempt: Networks | None = None,
        counts: ConnectionCounts | None = None,
        worker: int = 0,
    ) -> None:
        self.total = total
        self.per_client = per_client
        self._exempt = exempt if exempt is not None else Networks()
        self._clients: dict[str, int] = {}
        """Those of this worker that were counted."""
        self._counts = counts if counts is not None else ConnectionCounts()
        self._row = self._counts.take_row(worker)

    def configure(self, total: int, per_client: int, exempt: Networks) -> None:
        """Go by these for the connections that come from now on."""
        self.total = total
        self.per_client = per_client
        self._exempt = exempt

    @property
    def count(self) -> int:
        """Connections of all workers that count."""
        return self._counts.count(_ALL)

    def enter(self, address: str) -> bool:
        """Count a connection; False, uncounted, when it is one too many."""
        if address == "local" or address in self._exempt:
            return True
        counts = self._counts
        if self.total and counts.count(_ALL) >= self.total:
            return False
        cell = counts.cell(address)
        if self.per_client and counts.count(cell) >= self.per_client:
            return False
        self._clients[address] = self._clients.get(address, 0) + 1
        self._row[_ALL] += 1
        self._row[cell] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` let in."""
        of_client = self._clients.get(address, 0)
        if not of_client:
            return  # exempt
        self._row[_ALL] -= 1
        self._row[self._counts.cell(address)] -= 1
        if of_client == 1:
            del self._clients[address]
        else:
            self._clients[address] = of_client - 1
