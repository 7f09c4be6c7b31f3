"""The rules, by Postfix's names: each looks at the evidence and decides, or leaves it to the next.

A rule that knows its answer gives it at once; one that asks DNS gives something to await. Where DNS
fails for the moment, so does the rule: 450, never a lasting refusal. Rules about the sender accept the
null reverse-path, which every server must (RFC 5321 §4.5.5).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING
from unicodedata import normalize

from posthouse.config import Restriction
from posthouse.mail.address import Address, AddressError, domain_to_ascii
from posthouse.mail.reply import NO_SUCH_DOMAIN, NULL_MX, RELAY_DENIED, SENDER_NOT_OWNED, Reply
from posthouse.policy.verdict import Question, Rule, Verdict
from posthouse.ports import LookupFailed, NotFound
from posthouse.routing import Kind, Resolution

if TYPE_CHECKING:
    from posthouse.ports import Resolver
    from posthouse.routing import Router

ACCESS_DENIED = Reply(554, "5.7.1", "Access denied")
TRY_LATER = Reply(450, "4.7.1", "Access deferred, try again later")
INVALID_HELO = Reply(501, "5.5.2", "HELO name is not a valid host name")
HELO_NOT_FULL = Reply(504, "5.5.2", "HELO name must be fully qualified")
SENDER_NOT_FULL = Reply(504, "5.5.2", "Sender address must be fully qualified")
RECIPIENT_NOT_FULL = Reply(504, "5.5.2", "Recipient address must be fully qualified")
SENDER_DOMAIN_UNKNOWN = Reply(550, "5.1.8", "Sender domain not found")
SENDER_DOMAIN_UNCLEAR = Reply(450, "4.1.8", "Sender domain cannot be looked up right now")
SENDER_DOMAIN_NULL_MX = Reply(550, "5.7.27", "Sender domain does not accept mail (null MX)")  # RFC 7505 §4.2
RECIPIENT_DOMAIN_UNCLEAR = Reply(450, "4.1.2", "Recipient domain cannot be looked up right now")
LOGIN_NEEDED = SENDER_NOT_OWNED.saying("Sender address belongs to a user who has not logged in")
IMPROPER_PIPELINING = Reply(503, "5.5.0", "Improper use of command pipelining")

_HOST_NAME = re.compile(
    r"(?=.{1,255}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?\Z"
)
_ROUTING_CHARACTERS = frozenset("@%!")


def permit_mynetworks(question: Question) -> Verdict | None:
    return _MYNETWORKS if question.client.trusted else None


def permit_sasl_authenticated(question: Question) -> Verdict | None:
    return _AUTHENTICATED if question.client.user else None


def reject_unauth_destination(question: Question) -> Verdict | None:
    """Refuse what would leave for somebody else's domain."""
    resolution = question.resolution
    if resolution is None:
        return None
    kind = resolution.kind
    if kind is Kind.REMOTE:
        return _NO_RELAY
    # The next hop of a relay domain may still believe in bang paths and the percent hack.
    # Full-width and small forms become the plain characters where it normalizes.
    if kind is Kind.RELAY and not _ROUTING_CHARACTERS.isdisjoint(normalize("NFKC", resolution.given.local)):
        return _NO_RELAY
    return None


def reject_non_fqdn_sender(question: Question) -> Verdict | None:
    sender = question.sender
    if sender is None or sender.address is None or _is_full(sender.address):
        return None
    return Verdict(SENDER_NOT_FULL, "reject_non_fqdn_sender")


def reject_non_fqdn_recipient(question: Question) -> Verdict | None:
    recipient = question.recipient
    # RFC 5321 §4.1.1.3: `postmaster` alone is the one address without a domain.
    if recipient is None or not recipient.address.domain or _is_full(recipient.address):
        return None
    return Verdict(RECIPIENT_NOT_FULL, "reject_non_fqdn_recipient")


def reject_invalid_helo_hostname(question: Question) -> Verdict | None:
    helo = question.client.helo
    if not helo or helo.startswith("[") or _HOST_NAME.match(helo):
        return None
    return Verdict(INVALID_HELO, "reject_invalid_helo_hostname")


def reject_non_fqdn_helo_hostname(question: Question) -> Verdict | None:
    helo = question.client.helo
    if not helo or helo.startswith("[") or "." in helo.strip("."):
        return None
    return Verdict(HELO_NOT_FULL, "reject_non_fqdn_helo_hostname")


def reject_unlisted_recipient(question: Question) -> Verdict | None:
    resolution = question.resolution
    if resolution is None or resolution.reply.positive:
        return None
    return Verdict(resolution.reply, "reject_unlisted_recipient")


def reject_unauth_pipelining(question: Question) -> Verdict | None:
    return Verdict(IMPROPER_PIPELINING, "reject_unauth_pipelining") if question.pipelined else None


def permit(question: Question) -> Verdict:
    return _PERMIT


def reject(question: Question) -> Verdict:
    return _REJECT


def defer(question: Question) -> Verdict:
    return _DEFER


_MYNETWORKS = Verdict(None, "permit_mynetworks")
_AUTHENTICATED = Verdict(None, "permit_sasl_authenticated")
_PERMIT = Verdict(None, "permit")
_REJECT = Verdict(ACCESS_DENIED, "reject")
_DEFER = Verdict(TRY_LATER, "defer")
_NO_RELAY = Verdict(RELAY_DENIED, "reject_unauth_destination")


def _is_full(address: Address) -> bool:
    return "." in address.domain or address.domain.startswith("[")


class DomainRules:
    """The rules that look a domain up in DNS."""

    def __init__(self, resolver: Resolver, router: Router) -> None:
        self._resolver = resolver
        self._router = router

    def reject_unknown_sender_domain(self, question: Question) -> Awaitable[Verdict | None] | None:
        if question.sender is None or question.sender.address is None:
            return None
        return self._check(
            question.sender.address.domain,
            "reject_unknown_sender_domain",
            SENDER_DOMAIN_UNKNOWN,
            SENDER_DOMAIN_UNCLEAR,
            SENDER_DOMAIN_NULL_MX,
        )

    def reject_unknown_recipient_domain(self, question: Question) -> Awaitable[Verdict | None] | None:
        resolution = question.resolution
        if resolution is None or resolution.ours:
            return None
        return self._check(
            resolution.given.domain,
            "reject_unknown_recipient_domain",
            NO_SUCH_DOMAIN,
            RECIPIENT_DOMAIN_UNCLEAR,
            NULL_MX,
        )

    async def _check(
        self, domain: str, rule: str, unknown: Reply, unclear: Reply, null_mx: Reply
    ) -> Verdict | None:
        if domain.startswith("["):
            return None
        ours = self._router.is_ours(domain)
        if await ours if isinstance(ours, Awaitable) else ours:
            return None
        try:
            name = domain_to_ascii(domain)
        except AddressError:
            return Verdict(unknown, rule)
        exchanges = await self._resolver.mx(name)
        if isinstance(exchanges, LookupFailed):
            return Verdict(unclear, rule)
        if not isinstance(exchanges, NotFound):
            # RFC 7505 §3: one record with an empty name
            nowhere = all(not exchange.exchange for exchange in exchanges.records)
            return Verdict(null_mx, rule) if nowhere else None
        if exchanges.no_such_name:
            return Verdict(unknown, rule)
        addresses = await self._resolver.addresses(name)  # RFC 5321 §5.1: the implicit MX
        if isinstance(addresses, LookupFailed):
            return Verdict(unclear, rule)
        return Verdict(unknown, rule) if isinstance(addresses, NotFound) else None


class OwnershipRules:
    """The rules that ask whose a sender address is."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def reject_authenticated_sender_login_mismatch(
        self, question: Question
    ) -> Verdict | Awaitable[Verdict | None] | None:
        """Refuse a logged-in client that sends as somebody else, here or elsewhere."""
        sender = question.sender
        if not question.client.user or sender is None or sender.address is None:
            return None
        verdict = Verdict(SENDER_NOT_OWNED, "reject_authenticated_sender_login_mismatch")
        owns = self._router.owns(question.client.user, sender.address)
        if isinstance(owns, bool):
            return None if owns else verdict
        return self._unless(owns, verdict)

    def reject_sender_login_mismatch(self, question: Question) -> Verdict | Awaitable[Verdict | None] | None:
        """The same, and refuse one that sends as a user of ours without being logged in."""
        sender = question.sender
        if question.client.user:
            return self.reject_authenticated_sender_login_mismatch(question)
        if sender is None or sender.address is None:
            return None
        resolution = self._router.resolve(sender.address)
        return _not_a_users(resolution) if isinstance(resolution, Resolution) else self._later(resolution)

    async def _unless(self, condition: Awaitable[bool], verdict: Verdict) -> Verdict | None:
        return None if await condition else verdict

    async def _later(self, resolution: Awaitable[Resolution]) -> Verdict | None:
        return _not_a_users(await resolution)


def _not_a_users(resolution: Resolution) -> Verdict | None:
    if resolution.kind in (Kind.REMOTE, Kind.RELAY, Kind.UNKNOWN):
        return None
    return Verdict(LOGIN_NEEDED, "reject_sender_login_mismatch")


def rules_by_name(resolver: Resolver, router: Router) -> dict[Restriction, Rule]:
    """Every rule that a restriction list may name."""
    domains = DomainRules(resolver, router)
    ownership = OwnershipRules(router)
    return {
        Restriction.PERMIT_MYNETWORKS: permit_mynetworks,
        Restriction.PERMIT_SASL_AUTHENTICATED: permit_sasl_authenticated,
        Restriction.REJECT_UNAUTH_DESTINATION: reject_unauth_destination,
        Restriction.REJECT_NON_FQDN_SENDER: reject_non_fqdn_sender,
        Restriction.REJECT_NON_FQDN_RECIPIENT: reject_non_fqdn_recipient,
        Restriction.REJECT_UNKNOWN_SENDER_DOMAIN: domains.reject_unknown_sender_domain,
        Restriction.REJECT_UNKNOWN_RECIPIENT_DOMAIN: domains.reject_unknown_recipient_domain,
        Restriction.REJECT_INVALID_HELO_HOSTNAME: reject_invalid_helo_hostname,
        Restriction.REJECT_NON_FQDN_HELO_HOSTNAME: reject_non_fqdn_helo_hostname,
        Restriction.REJECT_UNLISTED_RECIPIENT: reject_unlisted_recipient,
        Restriction.REJECT_AUTHENTICATED_SENDER_LOGIN_MISMATCH: (
            ownership.reject_authenticated_sender_login_mismatch
        ),
        Restriction.REJECT_SENDER_LOGIN_MISMATCH: ownership.reject_sender_login_mismatch,
        Restriction.REJECT_UNAUTH_PIPELINING: reject_unauth_pipelining,
        Restriction.PERMIT: permit,
        Restriction.REJECT: reject,
        Restriction.DEFER: defer,
    }
