"""One address followed to its ends: aliases into aliases, catch-all, subaddresses, postmaster.

The order in which an address of ours is looked up: the alias, then the account of exactly this name;
the same without the detail of a subaddress; postmaster and abuse; the domain's catch-all; nobody.
A local part is opaque: `%`, `!`, a quoted `@` or anything like a source route in it never leads
elsewhere (RFC 5321 §2.3.11).

Depth and number are bounded and loops are cut: what an address reaches on other ways is kept, and one
that reaches nothing but itself is a loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import domain as domains
from posthouse.accounts.domain import Domain
from posthouse.mail import reply as replies
from posthouse.mail.address import (
    Address,
    AddressError,
    canonical,
    domain_to_ascii,
    parse_address,
    split_subaddress,
)
from posthouse.mail.reply import Reply
from posthouse.routing.route import Final, Kind, Local, Remote, Resolution, Unknown

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.accounts.alias import Alias
    from posthouse.accounts.domain import Rows
    from posthouse.routing.router import Router

DEPTH = 20
"""Aliases behind one another at most."""

FINALS = 1000
"""Final recipients of one address at most."""

STEPS = 5000
"""Addresses looked at for one address at most."""

ALWAYS_DELIVERABLE = frozenset(("postmaster", "abuse"))
"""Local parts that reach an administrator in every domain of ours (RFC 5321 §4.5.1, RFC 2142 §2)."""

TOO_DEEP = Reply(550, "5.4.6", "Aliases of this address are nested too deeply")
TOO_MANY = Reply(451, "4.3.5", "Alias of too many addresses, the administrator must look at it")
NOBODY_IN_CHARGE = Reply(450, "4.2.1", "No administrator has been set up yet, try again later")
UNLISTED = Reply(550, "5.1.1", "No such user in this relay domain")
LIST_UNREADABLE = Reply(451, "4.3.0", "The recipients of this domain are unknown right now, try again later")


class _Redirect(NamedTuple):
    """Not an alias of the table, but handled as one."""

    target: Address
    why: str


class Expansion:
    """The work of following one address, over one moment of the directory."""

    def __init__(self, router: Router, rows: Rows) -> None:
        self._router = router
        self._rows = rows
        self._finals: dict[object, Final] = {}
        self._failures: dict[str, Unknown] = {}
        self._path: list[str] = []
        self._seen: set[str] = set()
        self._looped = False

    def resolve(self, given: Address) -> Resolution:
        """All about `given`."""
        try:
            address = self._in_full(given)
            found, detail = self._look_up(address)
        except AddressError:
            return Resolution(given, Kind.UNKNOWN, (), replies.NO_SUCH_DOMAIN)
        match found:
            case Reply():
                return Resolution(given, Kind.UNKNOWN, (), found, tuple(self._path))
            case Remote():
                kind = Kind.RELAY if self._router.relays(found.address.domain) else Kind.REMOTE
                return Resolution(given, kind, (found,), replies.RECIPIENT_OK)
            case accounts.Account():
                final = Local(found.id, found.address, detail)
                return Resolution(given, Kind.LOCAL, (final,), replies.RECIPIENT_OK, tuple(self._path))
            case aliases.Alias(kind=aliases.Kind.MOVED):
                return Resolution(given, Kind.MOVED, (), moved_to(found.targets[0]))
        self._follow(address, found, detail, ())
        kind = Kind(found.kind.value) if isinstance(found, aliases.Alias) else Kind.ALIAS
        return self._conclude(given, kind, found)

    def _conclude(self, given: Address, kind: Kind, found: Alias | _Redirect) -> Resolution:
        finals = tuple(self._finals.values())
        failures = tuple(self._failures.values())
        path = tuple(self._path)
        if len(finals) > FINALS or len(self._seen) > STEPS:
            return Resolution(given, kind, (), TOO_MANY, path)
        if finals:
            reply = replies.RECIPIENT_OK
            if kind is Kind.FORWARD and isinstance(found, aliases.Alias):
                reply = will_forward_to(found.targets)
            return Resolution(given, kind, finals, reply, path, failures)
        # What may work later is worth a retry; a loop of nothing but itself is not.
        refusals = sorted((failure.reply for failure in failures), key=lambda reply: reply.code)
        return Resolution(given, kind, (), refusals[0] if refusals else replies.ALIAS_LOOP, path)

    def _walk(self, address: Address, detail: str, stack: tuple[str, ...]) -> None:
        """Add what `address`, a target of the addresses on the `stack`, leads to."""
        try:
            address = self._in_full(address)
            key = canonical(address)
            if key in stack:
                self._close_loop(address, key, detail)
                return
            if key in self._seen or len(self._seen) > STEPS or len(self._finals) > FINALS:
                return
            self._seen.add(key)
            found, own_detail = self._look_up(address)
        except AddressError:
            self._fail(address, replies.NO_SUCH_DOMAIN)
            return
        detail = own_detail or detail
        match found:
            case Reply():
                self._fail(address, found)
            case Remote():
                self._finals.setdefault(canonical(found.address), found)
            case accounts.Account():
                self._deliver(found, detail)
            case aliases.Alias(kind=aliases.Kind.MOVED):
                self._fail(address, moved_to(found.targets[0]))
            case _:
                self._follow(address, found, detail, stack)

    def _follow(
        self, address: Address, found: Alias | _Redirect, detail: str, stack: tuple[str, ...]
    ) -> None:
        if len(stack) >= DEPTH:
            self._fail(address, TOO_DEEP)
            return
        if isinstance(found, _Redirect):
            self._path.append(f"{address}: {found.why} {found.target}")
            self._walk(found.target, detail, (*stack, canonical(address)))
            return
        # The alias may have been reached with a subaddress; the loop is in its own name.
        stack = (*stack, found.address)
        self._path.append(f"{address}: {found.kind.value} of {_listing(found.targets)}")
        for target in found.targets:
            self._walk(target, detail, stack)

    def _close_loop(self, address: Address, key: str, detail: str) -> None:
        """An alias that names itself means the mailbox at its address, if there is one."""
        account = accounts.find(self._rows, key)
        if account is None or account.state is accounts.State.RETIRED:
            self._path.append(f"{address}: a loop, cut")
            self._looped = True
        elif account.active:
            self._deliver(account, detail)
        else:
            self._fail(address, replies.MAILBOX_DISABLED)

    def _deliver(self, account: Account, detail: str) -> None:
        self._finals.setdefault((account.id, detail), Local(account.id, account.address, detail))

    def _fail(self, address: Address, reply: Reply) -> None:
        self._path.append(f"{address}: {reply}")
        self._failures.setdefault(str(address), Unknown(address, reply))

    def _in_full(self, address: Address) -> Address:
        """The address with a domain: `postmaster` alone and our own address literals lie in the first one."""
        if not address.domain or self._router.is_own_literal(address.domain):
            first = domains.first(self._rows)
            return Address(address.local, self._router.hostname if first is None else first.name)
        return address

    def _look_up(self, address: Address) -> tuple[Alias | Account | Remote | _Redirect | Reply, str]:
        """What the address is, and the detail of its subaddress. Raises AddressError."""
        name = domain_to_ascii(address.domain)
        relay = self._router.relay(address, name)
        if relay is not None:
            return relay, ""
        domain = domains.find(self._rows, name)
        if domain is None:
            if name != self._router.hostname:
                return self._router.elsewhere(address, name), ""
            domain = Domain(name, "", "", 0.0)
        found, detail = self._in_domain(address, domain.separator)
        if isinstance(found, Reply):
            local = canonical(address).rpartition("@")[0]
            if split_subaddress(local, domain.separator)[0] in ALWAYS_DELIVERABLE:
                return self._somebody_in_charge(name), ""
            if found is replies.NO_SUCH_USER and domain.catch_all:
                return _Redirect(parse_address(domain.catch_all), "caught by the domain's catch-all"), ""
        return found, detail

    def _in_domain(self, address: Address, separator: str) -> tuple[Alias | Account | Reply, str]:
        """The alias or account of this name, else of the user before the separator."""
        user, detail = split_subaddress(address.local, separator)
        for local, rest in (
            ((address.local, ""), (user, detail))
            if detail or user != address.local
            else ((address.local, ""),)
        ):
            key = canonical(Address(local, address.domain))
            alias = aliases.find(self._rows, key)
            if alias is not None:
                return alias, rest
            account = accounts.find(self._rows, key)
            if account is not None and account.state is not accounts.State.RETIRED:
                return (account if account.active else replies.MAILBOX_DISABLED), rest
        return replies.NO_SUCH_USER, ""

    def _somebody_in_charge(self, domain: str) -> _Redirect | Reply:
        # RFC 5321 §4.5.1: postmaster is deliverable wherever we take mail.
        administrators = accounts.administrators(self._rows)
        if not administrators:
            return NOBODY_IN_CHARGE
        here = [account for account in administrators if account.address.endswith(f"@{domain}")]
        chosen = (here or administrators)[0]
        return _Redirect(parse_address(chosen.address), "not defined, so it goes to the administrator")


def moved_to(target: Address) -> Reply:
    """551 with the new address, where it can be said in ASCII (RFC 5321 §3.4, RFC 6531 §3.7.4.2)."""
    if not target.ascii:
        return replies.USER_HAS_MOVED.saying("User not local; has moved to an internationalized address")
    return replies.USER_HAS_MOVED.saying(f"User not local; please try <{target}>")


def will_forward_to(targets: tuple[Address, ...]) -> Reply:
    """251 with the new address, where there is one and it can be said in ASCII."""
    if len(targets) != 1 or not targets[0].ascii:
        return replies.RECIPIENT_WILL_FORWARD
    return replies.RECIPIENT_WILL_FORWARD.saying(f"User not local; will forward to <{targets[0]}>")


def _listing(addresses: tuple[Address, ...]) -> str:
    shown = ", ".join(map(str, addresses[:5]))
    return shown if len(addresses) <= 5 else f"{shown} and {len(addresses) - 5} more"
