"""Who fails to log in again and again has to wait, longer each time.

Failures are counted by client network (an IPv4 address, or the /64 of an IPv6 one) and by login name.
The first few cost nothing; each further one doubles the wait, up to a quarter of an hour; an hour
without a failure forgets them. A client network from which a login has succeeded lately is not held up
by what strangers do to that login, so nobody can lock a user out of a place where he is at home.

An attempt is no failure while it is undecided; but of those under way at once there are never more than the
failures that are still free, so that a hundred guesses at the same moment do not slip through. The others
wait until they are decided: many users behind one address get in one after another. What a worker had under
way when it died is soon forgotten.

All workers of a host count together, and go on counting after a restart; hosts do not. Memory is bounded:
of the names that share a bucket those are forgotten first of which nothing was heard for longest.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from posthouse.accounts.tally import Count, Tally

FREE_FAILURES = 5
FIRST_WAIT = 2.0
LONGEST_WAIT = 900.0
FORGET_AFTER = 3600.0
KNOWN_FOR = 30 * 86_400.0
CAPACITY = 50_000
UNDECIDED_FOR = 10.0
"""Seconds after which attempts that nobody has decided hold others up no longer; hashing takes three at most
(`authentication.BACKLOG`)."""


class Throttle:
    """The counters of a host. Times are seconds since 1970 UTC, given by the caller."""

    __slots__ = ("_failures", "_known", "_undecided")

    def __init__(self, directory: Path | None = None, capacity: int = CAPACITY) -> None:
        """`directory`: where the files are that all workers share; None: they are of this process alone."""
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._failures = Tally(capacity, directory and directory / "logins.failed")
        self._known = Tally(capacity, directory and directory / "logins.known")
        self._undecided = Tally(capacity, directory and directory / "logins.undecided")

    def close(self) -> None:
        """Let go of the files."""
        self._failures.close()
        self._known.close()
        self._undecided.close()

    def wait(self, client: str, login: str, now: float) -> float:
        """Seconds until this client may try this login again; 0: it may now."""
        network = network_of(client)
        longest = self._wait(("client", network), now)
        if not self._at_home(network, login, now):
            longest = max(longest, self._wait(("login", login), now))
        return longest

    def begin(self, client: str, login: str, now: float) -> bool:
        """Whether an attempt may be made now; it is then under way until `end`.

        False: it has to `wait`, or, where that is 0, until some of those under way are decided.
        """
        network = network_of(client)
        if not self._take(("client", network), now):
            return False
        if self._take(("login", login), now, always=self._at_home(network, login, now)):
            return True
        self._undecided.change(("client", network), _one_less)
        return False

    def end(self, client: str, login: str) -> None:
        """An attempt is under way no more: it has `failed` or `succeeded` before this, or says nothing."""
        for key in (("client", network_of(client)), ("login", login)):
            self._undecided.change(key, _one_less)

    def failed(self, client: str, login: str, now: float) -> None:
        """Count a failure."""
        for key in (("client", network_of(client)), ("login", login)):
            self._failures.change(key, lambda failures: Count(_number(failures, now, FORGET_AFTER) + 1, now))

    def succeeded(self, client: str, login: str, now: float) -> None:
        """It was the right password: the login's earlier failures are forgiven.

        Not so the client's: its own account must not buy it guesses at others.
        """
        self._failures.change(("login", login), lambda failures: None)
        self._known.change((network_of(client), login), lambda known: Count(1, now))

    def _at_home(self, network: str, login: str, now: float) -> bool:
        """Whether this login has succeeded from there lately."""
        known = self._known.get((network, login))
        return known is not None and now - known.last <= KNOWN_FOR

    def _take(self, key: tuple[str, str], now: float, *, always: bool = False) -> bool:
        """Add one to those under way, if there is room."""
        taken = True

        def take(undecided: Count | None) -> Count | None:
            # The failures are read under the lock of those under way. As a failure is counted before its
            # attempt ends, another worker's is found in one of the two.
            nonlocal taken
            number = _number(undecided, now, UNDECIDED_FOR)
            taken = always or number < self._room(key, now)
            return Count(number + 1, now) if taken else undecided

        self._undecided.change(key, take)
        return taken

    def _room(self, key: tuple[str, str], now: float) -> int:
        """How many attempts may be under way at once: the free failures that are left, then one at a time."""
        if self._wait(key, now) > 0:
            return 0
        return max(1, FREE_FAILURES - _number(self._failures.get(key), now, FORGET_AFTER))

    def _wait(self, key: tuple[str, str], now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.number < FREE_FAILURES:
            return 0.0
        pause = min(FIRST_WAIT * 2.0 ** min(failures.number - FREE_FAILURES, 30), LONGEST_WAIT)
        return max(0.0, failures.last + pause - now)


def _number(count: Count | None, now: float, forget_after: float) -> int:
    # A clock that was set back must not make anything last longer.
    return 0 if count is None or abs(now - count.last) > forget_after else count.number


def _one_less(count: Count | None) -> Count | None:
    return count._replace(number=count.number - 1) if count and count.number > 1 else None


def network_of(client: str) -> str:
    """What counts as one client: an IPv4 address, the /64 of an IPv6 one, other text as it is."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
