"""When to try again, when to warn, when to give up: pure arithmetic (RFC 5321 §4.5.4.1).

The wait doubles with each attempt from `minimal` to `maximal` seconds, a fifth more or less by chance,
so that letters deferred together do not come back together.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

_JITTER = 0.2


class Schedule(NamedTuple):
    """Seconds, all of them."""

    minimal: float
    maximal: float
    warn_after: float
    """The sender is told of a delay after this time; 0: never."""


class Retry(NamedTuple):
    """Try again at `due`; `warn`: the sender is to be told of the delay now."""

    due: float
    warn: bool


class GiveUp(NamedTuple):
    """The letter has waited for too long."""


Verdict: TypeAlias = Retry | GiveUp


def wait(schedule: Schedule, attempts: int, chance: float) -> float:
    """Seconds between the `attempts`-th attempt (1 is the first) and the next; `chance` in [0, 1)."""
    doubled = schedule.minimal * 2.0 ** min(attempts - 1, 64)
    spread = 1.0 - _JITTER + 2.0 * _JITTER * chance
    return max(schedule.minimal, min(schedule.maximal, doubled * spread))


def after_deferral(
    schedule: Schedule,
    *,
    attempts: int,
    arrived: float,
    expires: float,
    warned: bool,
    now: float,
    chance: float,
) -> Verdict:
    """What follows an attempt, the `attempts`-th, that was deferred at `now`.

    The last attempt is made when the letter expires, never much later.
    """
    if now >= expires:
        return GiveUp()
    warn = 0 < schedule.warn_after <= now - arrived and not warned
    return Retry(min(now + wait(schedule, attempts, chance), expires), warn)
