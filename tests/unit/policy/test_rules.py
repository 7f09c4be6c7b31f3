"""Each rule by itself, and how lists of them end."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import pytest

from posthouse.accounts.alias import Kind as AliasKind
from posthouse.mail.address import parse_address
from posthouse.mail.envelope import Client, Recipient, Sender
from posthouse.mail.reply import RELAY_DENIED
from posthouse.policy import Policy, Verdict
from posthouse.ports import Found, LookupFailed, Mx, NotFound
from tests.unit.accounts.world import World

STRANGER = Client("192.0.2.7", helo="mx.example.com")
NEIGHBOUR = Client("127.0.0.1", helo="localhost", trusted=True)
ALICE = Client("198.51.100.1", helo="[198.51.100.1]", user="alice@example.org")


class Names(NamedTuple):
    """DNS as a table: what is not in it does not exist."""

    exchanges: dict[str, Found[Mx] | NotFound | LookupFailed] = {}
    hosts: dict[str, Found[str] | NotFound | LookupFailed] = {}

    async def mx(self, name: str) -> Found[Mx] | NotFound | LookupFailed:
        return self.exchanges.get(name, NotFound(no_such_name=name not in self.hosts))

    async def addresses(self, name: str) -> Found[str] | NotFound | LookupFailed:
        return self.hosts.get(name, NotFound(no_such_name=True))

    async def txt(self, name: str) -> NotFound:
        return NotFound(no_such_name=True)

    async def ptr(self, address: str) -> NotFound:
        return NotFound(no_such_name=True)


DNS = Names(
    {
        "example.com": Found((Mx(10, "mx.example.com"),)),
        "null.example": Found((Mx(0, ""),)),
        "broken.example": LookupFailed("SERVFAIL"),
    },
    {"host.example": Found(("192.0.2.9",)), "half.example": LookupFailed("timeout")},
)


def policy(world: World, **lists: list[str]) -> Policy:
    config = world.configure({"smtp": {f"{step}_restrictions": rules for step, rules in lists.items()}})
    return Policy(config, DNS, world.router)


def sender(text: str) -> Sender:
    return Sender(parse_address(text) if text else None)


async def settled(answer: object) -> Verdict:
    verdict = await answer if inspect.isawaitable(answer) else answer
    assert isinstance(verdict, Verdict)
    return verdict


async def at_recipient(world: World, rules: Policy, client: Client, address: str) -> Verdict:
    resolution = world.resolve(address)
    answer = rules.at_recipient(client, sender("x@example.com"), Recipient(resolution.given), resolution)
    return await settled(answer)


def test_mynetworks_are_trusted_and_so_is_the_machine_itself(world: World) -> None:
    rules = policy(world)
    for within in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "local", "127.0.0.1"):
        assert rules.trusts(within), within
    for outside in ("192.0.2.1", "::2", "::ffff:192.0.2.1", "", "nonsense", "10.0.0.1"):
        assert not rules.trusts(outside), outside


async def test_the_default_lists_let_nobody_but_ours_relay(world: World) -> None:
    rules = policy(world)
    assert (await at_recipient(world, rules, STRANGER, "x@example.net")).reply == RELAY_DENIED
    assert await at_recipient(world, rules, NEIGHBOUR, "x@example.net") == (None, "permit_mynetworks")
    assert await at_recipient(world, rules, ALICE, "x@example.net") == (None, "permit_sasl_authenticated")
    assert (await at_recipient(world, rules, STRANGER, "alice@example.org")).reply is None


async def test_verdicts_without_look_ups_come_at_once(world: World) -> None:
    rules = policy(world)
    resolution = world.resolve("alice@example.org")
    recipient = Recipient(resolution.given)
    for client in (STRANGER, NEIGHBOUR, ALICE):
        for answer in (
            rules.at_client(client),
            rules.at_helo(client),
            rules.at_sender(client, sender("")),
            rules.at_recipient(client, sender(""), recipient, resolution),
            rules.at_data(client, sender(""), pipelined=False),
        ):
            assert isinstance(answer, Verdict)


async def test_no_list_makes_an_open_relay(world: World) -> None:
    rules = policy(world, recipient=["reject_unknown_recipient_domain", "permit_mynetworks", "defer"])
    assert (await at_recipient(world, rules, STRANGER, "x@example.com")).refused
    generous = policy(world, recipient=["reject_unauth_pipelining", "reject_unauth_destination", "permit"])
    assert (await at_recipient(world, generous, STRANGER, "x@example.com")).reply == RELAY_DENIED


async def test_relay_is_denied_even_where_a_list_forgets_to(world: World) -> None:
    config = world.configure({})
    open_list = config.smtp.model_copy(update={"recipient_restrictions": ("permit",)})
    rules = Policy(config.model_copy(update={"smtp": open_list}), DNS, world.router)
    assert (await at_recipient(world, rules, STRANGER, "x@example.com")).reply == RELAY_DENIED
    assert (await at_recipient(world, rules, STRANGER, "alice@example.org")).rule == "permit"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x@example.com", None),
        ("x@host.example", None),
        ("x@example.org", None),
        ("x@[192.0.2.1]", None),
        ("", None),
        ("x@nowhere.example", "550 5.1.8"),
        ("x@null.example", "550 5.7.27"),
        ("x@broken.example", "450 4.1.8"),
        ("x@half.example", "450 4.1.8"),
    ],
)
async def test_unknown_sender_domains(world: World, text: str, code: str | None) -> None:
    rules = policy(world, sender=["permit_mynetworks", "reject_unknown_sender_domain"])
    verdict = await settled(rules.at_sender(STRANGER, sender(text)))
    assert (verdict.reply and f"{verdict.reply.code} {verdict.reply.enhanced}") == code
    assert verdict.rule == ("reject_unknown_sender_domain" if code else "")
    assert not (await settled(rules.at_sender(NEIGHBOUR, sender(text)))).refused


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("x@example.com", None),
        ("alice@example.org", None),
        ("x@nowhere.example", "550 5.1.2"),
        ("x@null.example", "556 5.1.10"),
        ("x@broken.example", "450 4.1.2"),
    ],
)
async def test_unknown_recipient_domains(world: World, address: str, code: str | None) -> None:
    rules = policy(
        world, recipient=["reject_unknown_recipient_domain", "permit_sasl_authenticated", "reject"]
    )
    verdict = await at_recipient(world, rules, ALICE, address)
    assert (verdict.reply and f"{verdict.reply.code} {verdict.reply.enhanced}") == code
    assert verdict.rule == ("reject_unknown_recipient_domain" if code else "permit_sasl_authenticated")


@pytest.mark.parametrize(
    ("helo", "invalid", "short"),
    [
        ("mx.example.com", False, False),
        ("mx.example.com.", False, False),
        ("my_host.example.com", False, False),
        ("[192.0.2.1]", False, False),
        ("localhost", False, True),
        ("localhost.", False, True),
        ("-x.example", True, False),
        ("a..b", True, False),
        ("what?.example", True, False),
        ("x" * 64 + ".example", True, False),
    ],
)
async def test_helo_names(world: World, helo: str, invalid: bool, short: bool) -> None:
    client = STRANGER._replace(helo=helo)
    for rule, refused in (
        ("reject_invalid_helo_hostname", invalid),
        ("reject_non_fqdn_helo_hostname", short),
    ):
        verdict = await settled(policy(world, helo=["permit_mynetworks", rule]).at_helo(client))
        assert verdict.rule == (rule if refused else ""), rule


async def test_short_addresses(world: World) -> None:
    rules = policy(
        world,
        sender=["reject_non_fqdn_sender"],
        recipient=["reject_non_fqdn_recipient", "permit_mynetworks", "reject_unauth_destination"],
    )
    for text, code in (("x@host", 504), ("x@example.com", None), ("", None), ("x@[192.0.2.1]", None)):
        verdict = await settled(rules.at_sender(STRANGER, sender(text)))
        assert (verdict.reply and verdict.reply.code) == code, text
    assert (await at_recipient(world, rules, NEIGHBOUR, "x@host")).rule == "reject_non_fqdn_recipient"
    assert (await at_recipient(world, rules, STRANGER, "postmaster")).reply is None


async def test_unlisted_recipients_are_refused_with_their_own_reply(world: World) -> None:
    rules = policy(world, recipient=["reject_unlisted_recipient", "permit_mynetworks", "reject"])
    verdict = await at_recipient(world, rules, NEIGHBOUR, "nobody@example.org")
    assert (verdict.reply, verdict.rule) == (
        world.resolve("nobody@example.org").reply,
        "reject_unlisted_recipient",
    )


async def test_whoever_logs_in_sends_as_himself(world: World) -> None:
    await world.add_alias("sales@example.org", "alice@example.org", "bob@example.org")
    await world.add_alias("all@example.org", "alice@example.org", kind=AliasKind.LIST)
    rules = policy(world, sender=["reject_authenticated_sender_login_mismatch"])
    own = ("alice@example.org", "Alice+x@example.org", "sales@example.org", "")
    for text in own:
        assert not (await settled(rules.at_sender(ALICE, sender(text)))).refused, text
    for text in ("bob@example.org", "all@example.org", "nobody@example.org", "alice@example.com"):
        verdict = await settled(rules.at_sender(ALICE, sender(text)))
        assert str(verdict.reply)[:9] == "553 5.7.1", text
        assert not (await settled(rules.at_sender(STRANGER, sender(text)))).refused, text


async def test_strangers_do_not_send_as_users_of_ours(world: World) -> None:
    rules = policy(world, sender=["permit_mynetworks", "reject_sender_login_mismatch"])
    for text, refused in (
        ("bob@example.org", True),
        ("nobody@example.org", False),
        ("x@example.com", False),
        ("", False),
    ):
        verdict = await settled(rules.at_sender(STRANGER, sender(text)))
        assert verdict.rule == ("reject_sender_login_mismatch" if refused else ""), text
    assert not (await settled(rules.at_sender(NEIGHBOUR, sender("bob@example.org")))).refused
    assert (await settled(rules.at_sender(ALICE, sender("bob@example.org")))).refused


async def test_data_that_is_sent_too_early(world: World) -> None:
    rules = policy(world, data=["permit_mynetworks", "reject_unauth_pipelining"])
    assert str((await settled(rules.at_data(STRANGER, sender(""), pipelined=True))).reply)[:3] == "503"
    assert not (await settled(rules.at_data(STRANGER, sender(""), pipelined=False))).refused
    assert not (await settled(rules.at_data(NEIGHBOUR, sender(""), pipelined=True))).refused


async def test_a_list_that_permits_users_waits_until_they_can_have_logged_in(world: World) -> None:
    rules = policy(world, client=["permit_mynetworks", "permit_sasl_authenticated", "reject"])
    assert not (await settled(rules.at_client(STRANGER))).refused
    assert (await settled(rules.at_sender(STRANGER, sender("")))).rule == "reject"
    assert not (await settled(rules.at_sender(ALICE, sender("")))).refused
    strict = policy(world, client=["permit_mynetworks", "defer"])
    assert str((await settled(strict.at_client(STRANGER))).reply)[:9] == "450 4.7.1"


async def test_a_permit_ends_only_its_own_list(world: World) -> None:
    rules = policy(
        world,
        helo=["permit_sasl_authenticated", "reject"],
        sender=["reject_unknown_sender_domain", "reject_non_fqdn_sender"],
    )
    assert (await settled(rules.at_sender(ALICE, sender("x@nowhere.example")))).refused
    assert (await settled(rules.at_sender(STRANGER, sender("x@example.com")))).rule == "reject"


async def test_rules_after_a_look_up_still_count(world: World) -> None:
    rules = policy(world, sender=["reject_unknown_sender_domain", "reject"])
    assert (await settled(rules.at_sender(STRANGER, sender("x@example.com")))).rule == "reject"
