"""Where recipients go: the one door to routing, for RCPT, VRFY, EXPN and for who may send as whom.

An answer given before costs the directory's generation read and a dictionary look-up; see
`accounts.directory`. Where the database is in this process, `resolve` answers at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import domain as domains
from posthouse.mail import reply as replies
from posthouse.mail.address import Address, AddressError, domain_to_ascii, parse_address
from posthouse.mail.reply import Reply
from posthouse.routing import expansion
from posthouse.routing.expansion import Expansion
from posthouse.routing.recipients import RecipientLists
from posthouse.routing.route import Kind, Local, Remote, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from posthouse.accounts.directory import Directory
    from posthouse.config import Config, RelayDomain
    from posthouse.db import Reader
    from posthouse.ports import Clock

T = TypeVar("T")

EXPN_DENIED = Reply(550, "5.7.2", "EXPN is for authenticated users")
NOT_A_LIST = Reply(550, "5.1.1", "That is not a mailing list")
CANDIDATES = 20
"""Addresses that an ambiguous VRFY lists at most."""


class Router:
    """Routing for one worker, as configuration and directory say.

    `own_addresses`: IP addresses of this machine as text, beyond those that [listen] names; mail to a
    literal of one of them is mail to our first domain (RFC 5321 §4.1.3).
    """

    def __init__(
        self, directory: Directory, config: Config, clock: Clock, own_addresses: Iterable[str] = ()
    ) -> None:
        self._directory = directory
        self.hostname = config.hostname
        self._relay_domains: dict[str, RelayDomain] = config.smtp.relay_domains
        self._relayhost = config.outbound.relayhost
        self._port = config.outbound.port
        files = {relay.recipients for relay in self._relay_domains.values() if relay.recipients is not None}
        self._lists = RecipientLists(files, clock)
        listening = (endpoint.host for endpoint in config.listen.smtp if endpoint.host)
        self._own_literals = frozenset(_literals((*listening, *own_addresses)))

    def resolve(self, address: Address) -> Resolution | Awaitable[Resolution]:
        """All about one recipient. Raises DatabaseError."""
        return self._directory.recall(
            ("route", address, self._lists.version()),
            lambda reader: Expansion(self, reader).resolve(address),
            _weight,
        )

    def is_ours(self, domain: str) -> bool | Awaitable[bool]:
        """Whether we are responsible for the domain: our own, one we relay to, our name, our literals."""
        try:
            name = domain_to_ascii(domain) if domain else ""
        except AddressError:
            return False
        if not name or name == self.hostname or name in self._relay_domains or name in self._own_literals:
            return True
        return self._directory.recall(("ours", name), lambda reader: domains.find(reader, name) is not None)

    def owns(self, login: str, address: Address) -> bool | Awaitable[bool]:
        """Whether the account `login` (canonical address) may send as `address`.

        It may as its own address with any subaddress, as an alias or forward that leads to it, and as
        any unlisted address of a domain whose catch-all leads to it; not as a list it is a member of.
        """
        resolution = self.resolve(address)
        if isinstance(resolution, Resolution):
            return _leads_to(resolution, login)
        return self._owns_later(resolution, login)

    async def _owns_later(self, resolution: Awaitable[Resolution], login: str) -> bool:
        return _leads_to(await resolution, login)

    async def verify(self, argument: str, *, authenticated: bool) -> Reply:
        """The reply to VRFY (RFC 5321 §3.5.1). Strangers learn nothing: 252."""
        if not authenticated:
            return replies.CANNOT_VERIFY
        address = await self._meant(argument, accounts.named, replies.NO_SUCH_USER)
        if isinstance(address, Reply):
            return address
        resolution = await _settled(self.resolve(address))
        if resolution.kind is Kind.REMOTE:
            return replies.CANNOT_VERIFY
        if resolution.reply.code != 250:
            return resolution.reply
        final = resolution.finals[0]
        if resolution.kind is Kind.LOCAL and isinstance(final, Local):
            return _mailbox(final.address, await self._name_of(final))
        return _mailbox(str(address), "")

    async def expand(self, argument: str, *, authenticated: bool, smtputf8: bool = False) -> Reply:
        """The reply to EXPN (RFC 5321 §3.5.2): the members of a list, for authenticated users."""
        if not authenticated:
            return EXPN_DENIED
        address = await self._meant(argument, aliases.lists_named, NOT_A_LIST)
        if isinstance(address, Reply):
            return address
        resolution = await _settled(self.resolve(address))
        if resolution.kind is not Kind.LIST:
            return NOT_A_LIST
        if not resolution.finals:
            return resolution.reply
        members = [
            f"<{final.address}>" if isinstance(final, Local) else f"<{final.address!s}>"
            for final in resolution.finals
        ]
        if not smtputf8 and not all(member.isascii() for member in members):
            return replies.UTF8_NEEDS_SMTPUTF8  # RFC 6531 §3.7.4.2
        return Reply(250, "2.1.5", "\n".join(members))

    async def _meant(
        self, argument: str, named: Callable[[Reader, str, int], tuple[str, ...]], nobody: Reply
    ) -> Address | Reply:
        """The address that VRFY or EXPN asks about: an address, or the only one that `named` knows by
        that name; else the reply."""
        text = argument.strip().removeprefix("<").removesuffix(">")
        if not text.isprintable() or not text:
            return replies.BAD_RECIPIENT_SYNTAX
        if "@" not in text and text.lower() != "postmaster":
            question = (named.__name__, text)
            found = await _settled(
                self._directory.recall(question, lambda rows: named(rows, text, CANDIDATES))
            )
            if not found:
                return nobody
            if len(found) > 1:
                return Reply(553, "5.1.4", "\n".join(("User ambiguous; possibilities are", *found)))
            text = found[0]
        try:
            return parse_address(text)
        except AddressError:
            return replies.BAD_RECIPIENT_SYNTAX

    async def _name_of(self, final: Local) -> str:
        def work_out(reader: Reader) -> str:
            account = accounts.by_id(reader, final.account)
            return "" if account is None else account.name

        return await _settled(self._directory.recall(("name", final.account), work_out))

    # What an Expansion asks: the part of routing that stands in the configuration.

    def is_own_literal(self, domain: str) -> bool:
        """Whether the domain is an address literal of this machine."""
        return domain.startswith("[") and domain in self._own_literals

    def relays(self, domain: str) -> bool:
        """Whether the domain is one of relay_domains."""
        return bool(self._relay_domains) and domain_to_ascii(domain) in self._relay_domains

    def relay(self, address: Address, name: str) -> Remote | Reply | None:
        """The way to `address` where its domain `name` is one of relay_domains; None where it is not."""
        relay = self._relay_domains.get(name)
        if relay is None:
            return None
        if relay.recipients is not None:
            listed = self._lists.lists(relay.recipients, address)
            # RFC 5321 §4.5.1: postmaster is not ours to refuse, whatever the list says.
            if not listed and address.local.lower() != "postmaster":
                return expansion.LIST_UNREADABLE if listed is None else expansion.UNLISTED
        return Remote(address, relay.next_hop or name)

    def elsewhere(self, address: Address, name: str) -> Remote:
        """The way to an address in somebody else's domain `name`."""
        if self._relayhost:
            return Remote(address, self._relayhost)
        if name.startswith("["):
            return Remote(address, f"[{name[1:-1].removeprefix('IPv6:')}]:{self._port}")
        return Remote(address, name)


def _weight(resolution: Resolution) -> int:
    """What an answer counts for in the directory's memory: a list under many spellings must not fill it."""
    return 1 + (len(resolution.finals) + len(resolution.failures) + len(resolution.path)) // 4


def _leads_to(resolution: Resolution, login: str) -> bool:
    if resolution.kind in (Kind.LIST, Kind.UNKNOWN):
        return False
    return any(isinstance(final, Local) and final.address == login for final in resolution.finals)


def _mailbox(address: str, name: str) -> Reply:
    shown = f"{name} <{address}>" if name.isascii() and name else f"<{address}>"
    return replies.RECIPIENT_OK.saying(shown)


def _literals(hosts: Iterable[str]) -> Iterable[str]:
    """Address literals of hosts that are IP addresses; who listens on all addresses listens on loopback."""
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            continue
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        yield f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


async def _settled(answer: T | Awaitable[T]) -> T:
    return await answer if isinstance(answer, Awaitable) else answer
