"""Who fails to log in again and again has to wait, longer each time.

Failures are counted by client network (an IPv4 address, or the /64 of an IPv6 one) and by login name.
The first few cost nothing; each further one doubles the wait, up to a quarter of an hour; an hour
without a failure forgets them. A client network from which a login has succeeded lately is not held up
by what strangers do to that login, so nobody can lock a user out of a place where he is at home.

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


class Throttle:
    """The counters of a host. Times are seconds since 1970 UTC, given by the caller."""

    __slots__ = ("_failures", "_known")

    def __init__(self, directory: Path | None = None, capacity: int = CAPACITY) -> None:
        """`directory`: where the files are that all workers share; None: they are of this process alone."""
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._failures = Tally(capacity, directory and directory / "logins.failed")
        self._known = Tally(capacity, directory and directory / "logins.known")

    def close(self) -> None:
        """Let go of the files."""
        self._failures.close()
        self._known.close()

    def wait(self, client: str, login: str, now: float) -> float:
        """Seconds until this client may try this login again; 0: it may now."""
        network = network_of(client)
        longest = self._wait(("client", network), now)
        known = self._known.get((network, login))
        if known is None or now - known.last > KNOWN_FOR:
            longest = max(longest, self._wait(("login", login), now))
        return longest

    def attempt(self, client: str, login: str, now: float) -> None:
        """Count an attempt as failed until `succeeded`, so that a hundred at once do not slip through."""

        def one_more(failures: Count | None) -> Count:
            number = 0 if failures is None or now - failures.last > FORGET_AFTER else failures.number
            return Count(number + 1, now)

        for key in (("client", network_of(client)), ("login", login)):
            self._failures.change(key, one_more)

    def succeeded(self, client: str, login: str, now: float) -> None:
        """The attempt was the right password: it and the login's earlier failures are forgiven."""
        network = network_of(client)
        self._failures.change(("login", login), lambda failures: None)
        # Of the client only this one attempt: its own account must not buy it guesses at others.
        self.excuse(client, login)
        self._known.change((network, login), lambda known: Count(1, now))

    def excuse(self, client: str, login: str) -> None:
        """The attempt says nothing: the same wrong password once more, or it could not be checked."""
        for key in (("client", network_of(client)), ("login", login)):
            self._failures.change(key, _one_less)

    def _wait(self, key: tuple[str, str], now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.number < FREE_FAILURES:
            return 0.0
        pause = min(FIRST_WAIT * 2.0 ** min(failures.number - FREE_FAILURES, 30), LONGEST_WAIT)
        return max(0.0, failures.last + pause - now)


def _one_less(failures: Count | None) -> Count | None:
    return failures._replace(number=failures.number - 1) if failures and failures.number > 1 else None


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
