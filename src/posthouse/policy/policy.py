"""The restriction lists of one worker, compiled, and the verdict at each step of a session.

Lists are read from left to right; the first rule that decides ends its list. Whatever they say, nobody
relays through us but clients in mynetworks and users who have logged in: that stands below the lists,
not in them.

A verdict comes at once where nothing has to be looked up, else it is to be awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from posthouse.config import Restriction
from posthouse.net.limits import Networks
from posthouse.policy.rules import reject_unauth_destination, rules_by_name
from posthouse.policy.verdict import GO_ON, Question, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from posthouse.config import Config
    from posthouse.mail.envelope import Client, Recipient, Sender
    from posthouse.ports import Resolver
    from posthouse.routing import Resolution, Router


class Policy:
    """All restriction lists of [smtp]."""

    def __init__(self, config: Config, resolver: Resolver, router: Router) -> None:
        rules = rules_by_name(resolver, router)
        smtp = config.smtp
        self.mynetworks = Networks(smtp.mynetworks)
        self._client, late_client = _by_time(smtp.client_restrictions, rules)
        self._helo, late_helo = _by_time(smtp.helo_restrictions, rules)
        sender = _compiled(smtp.sender_restrictions, rules)
        self._sender = tuple(filter(None, (late_client, late_helo, sender)))
        self._recipient = _compiled(smtp.recipient_restrictions, rules)
        self._data = _compiled(smtp.data_restrictions, rules)

    def trusts(self, address: str) -> bool:
        """Whether a client is in mynetworks, or on a Unix socket: what `Client.trusted` is to be."""
        return address == "local" or address in self.mynetworks

    def at_client(self, client: Client) -> Verdict | Awaitable[Verdict]:
        """When a client has connected. A list that permits logged-in users waits until `at_sender`."""
        return _run(self._client, Question(client))

    def at_helo(self, client: Client) -> Verdict | Awaitable[Verdict]:
        """After HELO, EHLO or LHLO. A list that permits logged-in users waits until `at_sender`."""
        return _run(self._helo, Question(client))

    def at_sender(self, client: Client, sender: Sender) -> Verdict | Awaitable[Verdict]:
        """After MAIL."""
        question = Question(client, sender)
        for index, rules in enumerate(self._sender):
            verdict = _run(rules, question)
            if not isinstance(verdict, Verdict):
                return _run_lists(verdict, self._sender[index + 1 :], question)
            if verdict.reply is not None or index + 1 == len(self._sender):
                return verdict
        return GO_ON

    def at_recipient(
        self, client: Client, sender: Sender, recipient: Recipient, resolution: Resolution
    ) -> Verdict | Awaitable[Verdict]:
        """After RCPT. Without a refusal the reply is `resolution.reply`, which may be one itself."""
        question = Question(client, sender, recipient, resolution)
        verdict = _run(self._recipient, question)
        if isinstance(verdict, Verdict):
            return _no_relay(verdict, question)
        return _no_relay_later(verdict, question)

    def at_data(self, client: Client, sender: Sender, *, pipelined: bool) -> Verdict | Awaitable[Verdict]:
        """After DATA, before 354. `pipelined`: more followed DATA at once (RFC 2920 §3.1)."""
        return _run(self._data, Question(client, sender, pipelined=pipelined))


def _compiled(names: Iterable[Restriction], rules: dict[Restriction, Rule]) -> tuple[Rule, ...]:
    return tuple(rules[name] for name in names)


def _by_time(
    names: tuple[Restriction, ...], rules: dict[Restriction, Rule]
) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The list as what is asked at its own step, and what waits until users have logged in."""
    if Restriction.PERMIT_SASL_AUTHENTICATED in names:
        return (), _compiled(names, rules)
    return _compiled(names, rules), ()


def _run(rules: tuple[Rule, ...], question: Question) -> Verdict | Awaitable[Verdict]:
    for index, rule in enumerate(rules):
        verdict = rule(question)
        if verdict is None:
            continue
        if isinstance(verdict, Verdict):
            return verdict
        return _run_on(verdict, rules[index + 1 :], question)
    return GO_ON


async def _run_on(pending: Awaitable[Verdict | None], rules: tuple[Rule, ...], question: Question) -> Verdict:
    verdict = await pending
    if verdict is not None:
        return verdict
    rest = _run(rules, question)
    return rest if isinstance(rest, Verdict) else await rest


async def _run_lists(
    pending: Awaitable[Verdict], lists: tuple[tuple[Rule, ...], ...], question: Question
) -> Verdict:
    verdict = await pending
    for rules in lists:
        if verdict.reply is not None:
            break
        answer = _run(rules, question)
        verdict = answer if isinstance(answer, Verdict) else await answer
    return verdict


def _no_relay(verdict: Verdict, question: Question) -> Verdict:
    if verdict.reply is not None or question.client.trusted or question.client.user:
        return verdict
    return reject_unauth_destination(question) or verdict


async def _no_relay_later(pending: Awaitable[Verdict], question: Question) -> Verdict:
    return _no_relay(await pending, question)
