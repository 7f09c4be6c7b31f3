"""How results are printed: medians of the rounds, and the ratio that the promise is about."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from statistics import median

from bench.figures import Figure
from bench.logins import Logins


def versus(
    what: str, ours: Sequence[Figure | Logins], theirs: Sequence[Figure | Logins], peer: str = "postfix"
) -> str:
    """A line for one load: rates, CPU per message or login, and the ratios of the medians."""
    rate, peer_rate = median(f.rate for f in ours), median(f.rate for f in theirs)
    cpu, peer_cpu = median(f.cpu for f in ours), median(f.cpu for f in theirs)
    return (
        f"{what:<58} posthouse {rate:7.0f}/s {cpu * 1e6:6.0f} µs"
        f"   {peer} {peer_rate:6.0f}/s {peer_cpu * 1e6:6.0f} µs"
        f"   rate ×{rate / peer_rate:5.2f}   CPU 1/{peer_cpu / cpu:5.2f}"
    )


def share_of(what: str, rate: float, floor: float) -> str:
    return f"{what:<58} {rate:7.0f}/s of {floor:.0f}/s: {100 * rate / floor:.0f} %"


def figure(what: str, value: str) -> str:
    return f"{what:<58} {value}"


def machine() -> str:
    """What it was measured on, and how busy that was with other things."""
    return (
        f"on {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}; load average at the end {os.getloadavg()[0]:.1f}"
    )


def times(what: str, ours: float, theirs: float) -> str:
    """Milliseconds beside Dovecot's, and their ratio: below 1 is faster."""
    return f"{what:<58} posthouse {ours:9.2f} ms   dovecot {theirs:9.2f} ms   time ×{ours / theirs:5.2f}"


def memory(what: str, ours: int, theirs: int) -> str:
    return (
        f"{what:<58} posthouse {ours / 1e6:9.1f} MB   dovecot {theirs / 1e6:9.1f} MB"
        f"   memory ×{ours / theirs:5.2f}"
    )
