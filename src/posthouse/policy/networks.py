"""Sets of networks, such as mynetworks, asked many times for the same clients."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 10_000
"""Clients whose answer is remembered at most."""

LOCAL = "local"
"""The address of a client on a Unix socket, which is on this machine and always within."""


class Networks:
    """Some networks; `address in networks` costs a dictionary look-up for a client seen before."""

    __slots__ = ("_answers", "_networks")

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._answers: dict[str, bool] = {LOCAL: True}

    def __contains__(self, address: str) -> bool:
        """Whether the IP address lies in one of them; an IPv4-mapped IPv6 address counts as the IPv4 one."""
        answer = self._answers.get(address)
        if answer is None:
            answer = self._look(address)
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
                self._answers[LOCAL] = True
            self._answers[address] = answer
        return answer

    def _look(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)
