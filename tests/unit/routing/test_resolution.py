"""What each kind of recipient is, and where its letter goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from posthouse.accounts import account, alias, domain
from posthouse.accounts.alias import Kind as AliasKind
from posthouse.db import Tx
from posthouse.mail.address import parse_address
from posthouse.mail.reply import ALIAS_LOOP, MAILBOX_DISABLED, NO_SUCH_USER, RECIPIENT_OK
from posthouse.routing import Kind, Local, Remote
from tests.unit.accounts.world import World


async def test_an_account_is_found_whatever_the_case(world: World) -> None:
    resolution = world.resolve("Alice@EXAMPLE.org")
    assert resolution.kind is Kind.LOCAL
    assert resolution.reply == RECIPIENT_OK
    assert [final.address for final in resolution.finals] == ["alice@example.org"]


async def test_nobody_is_refused(world: World) -> None:
    resolution = world.resolve("carol@example.org")
    assert (resolution.kind, resolution.finals, resolution.reply) == (Kind.UNKNOWN, (), NO_SUCH_USER)


async def test_a_disabled_account_takes_no_mail(world: World) -> None:
    await world.change(lambda tx: account.change(tx, "bob@example.org", active=False))
    resolution = world.resolve("bob@example.org")
    assert (resolution.kind, resolution.reply) == (Kind.UNKNOWN, MAILBOX_DISABLED)


async def test_a_change_holds_from_the_next_question_on(world: World) -> None:
    assert world.resolve("carol@example.org").reply == NO_SUCH_USER
    await world.add_account("carol@example.org")
    assert world.finals("carol@example.org") == ["carol@example.org"]
    await world.change(lambda tx: account.retire(tx, "carol@example.org"))
    assert world.resolve("carol@example.org").reply == NO_SUCH_USER


@pytest.mark.parametrize(
    ("change", "address", "after"),
    [
        (lambda tx: domain.add(tx, "example.com", now=1.0), "x@example.com", "550 5.1.1"),
        (
            lambda tx: domain.change(tx, "example.org", catch_all="bob@example.org"),
            "x@example.org",
            "250 2.1.5",
        ),
        (lambda tx: domain.remove(tx, "empty.example"), "x@empty.example", "250"),
        (lambda tx: account.change(tx, "bob@example.org", active=False), "bob@example.org", "550 5.2.1"),
        (lambda tx: account.rename(tx, "bob@example.org", "rob@example.org"), "bob@example.org", "550 5.1.1"),
        (
            lambda tx: alias.add(tx, "new@example.org", ["bob@example.org"], now=1.0),
            "new@example.org",
            "250 2.1.5",
        ),
        (lambda tx: alias.change(tx, "al@example.org", kind=AliasKind.MOVED), "al@example.org", "551 5.1.6"),
        (lambda tx: alias.remove(tx, "al@example.org"), "al@example.org", "550 5.1.1"),
    ],
)
async def test_every_kind_of_change_is_noticed(
    world: World, change: Callable[[Tx], object], address: str, after: str
) -> None:
    await world.add_domain("empty.example")
    await world.add_alias("al@example.org", "alice@example.org")
    before = world.resolve(address)
    await world.change(change)
    now = world.resolve(address)
    assert str(now.reply).startswith(after)
    assert now != before


async def test_a_subaddress_reaches_its_user_with_the_detail(world: World) -> None:
    final = world.resolve("alice+Lists.Python@example.org").finals[0]
    assert isinstance(final, Local)
    assert (final.address, final.detail) == ("alice@example.org", "Lists.Python")


async def test_an_exact_address_comes_before_a_subaddress(world: World) -> None:
    await world.add_account("alice+work@example.org")
    assert world.finals("alice+work@example.org") == ["alice+work@example.org"]
    assert world.finals("alice+home@example.org") == ["alice@example.org"]


async def test_each_domain_has_its_own_separator(world: World) -> None:
    await world.change(lambda tx: domain.change(tx, "example.org", separator="-"))
    assert world.finals("alice-lists@example.org") == ["alice@example.org"]
    assert world.resolve("alice+lists@example.org").reply == NO_SUCH_USER
    await world.change(lambda tx: domain.change(tx, "example.org", separator=""))
    assert world.resolve("alice-lists@example.org").reply == NO_SUCH_USER


async def test_aliases_expand_recursively_and_equal_recipients_become_one(world: World) -> None:
    await world.add_alias("staff@example.org", "sales@example.org", "Alice@example.org", "x@example.net")
    await world.add_alias("sales@example.org", "alice@example.org", "bob@example.org", "X@EXAMPLE.NET")
    resolution = world.resolve("staff@example.org")
    assert resolution.kind is Kind.ALIAS
    assert sorted(str(final.address).lower() for final in resolution.finals) == [
        "alice@example.org",
        "bob@example.org",
        "x@example.net",
    ]
    assert resolution.path[0].startswith("staff@example.org: alias of")


async def test_a_subaddress_of_an_alias_keeps_its_detail(world: World) -> None:
    await world.add_alias("al@example.org", "alice@example.org")
    final = world.resolve("al+news@example.org").finals[0]
    assert isinstance(final, Local)
    assert (final.address, final.detail) == ("alice@example.org", "news")


async def test_a_loop_of_nothing_else_is_refused(world: World) -> None:
    await world.add_alias("a@example.org", "b@example.org")
    await world.add_alias("b@example.org", "c+x@example.org")
    await world.add_alias("c@example.org", "A@example.org")
    for start in ("a", "b", "c", "a+detail"):
        resolution = world.resolve(f"{start}@example.org")
        assert (resolution.finals, resolution.reply) == ((), ALIAS_LOOP), start


async def test_a_loop_beside_others_is_cut(world: World) -> None:
    await world.add_alias("a@example.org", "b@example.org", "alice@example.org")
    await world.add_alias("b@example.org", "a@example.org", "bob@example.org")
    assert sorted(world.finals("a@example.org")) == ["alice@example.org", "bob@example.org"]
    assert world.resolve("a@example.org").failures == ()


async def test_an_alias_that_names_itself_keeps_a_copy_in_the_mailbox(world: World) -> None:
    await world.add_alias("alice@example.org", "alice@example.org", "alice@phone.example")
    assert sorted(world.finals("alice+x@example.org")) == ["alice@example.org", "alice@phone.example"]
    await world.change(lambda tx: alias.change(tx, "alice@example.org", exclude=["alice@example.org"]))
    assert world.finals("alice@example.org") == ["alice@phone.example"]


async def test_one_bad_target_fails_alone(world: World) -> None:
    await world.add_alias("staff@example.org", "alice@example.org", "gone@example.org", "old@example.org")
    await world.add_alias("old@example.org", "new@example.net", kind=AliasKind.MOVED)
    resolution = world.resolve("staff@example.org")
    assert resolution.reply == RECIPIENT_OK
    assert len(resolution.finals) == 1
    assert {str(failure.address): failure.reply.code for failure in resolution.failures} == {
        "gone@example.org": 550,
        "old@example.org": 551,
    }


async def test_an_alias_of_only_bad_targets_is_refused_with_their_reason(world: World) -> None:
    await world.add_alias("staff@example.org", "gone@example.org")
    assert world.resolve("staff@example.org").reply == NO_SUCH_USER


async def test_aliases_nested_too_deeply_are_refused(world: World) -> None:
    for number in range(30):
        await world.add_alias(f"n{number}@example.org", f"n{number + 1}@example.org")
    await world.add_account("n30@example.org")
    assert world.resolve("n0@example.org").reply.enhanced == "5.4.6"
    assert world.finals("n20@example.org") == ["n30@example.org"]


async def test_too_many_finals_are_deferred_and_never_cut_off(world: World) -> None:
    for part in range(3):
        targets = [f"u{part}x{number}@example.net" for number in range(400)]
        await world.add_alias(f"part{part}@example.org", *targets, kind=AliasKind.LIST)
    await world.add_alias("all@example.org", "part0@example.org", "part1@example.org", "part2@example.org")
    await world.add_alias("most@example.org", "part0@example.org", "part1@example.org")
    assert len(world.resolve("most@example.org").finals) == 800
    resolution = world.resolve("all@example.org")
    assert (resolution.finals, resolution.reply.code) == ((), 451)


async def test_a_forward_tells_the_new_address(world: World) -> None:
    await world.add_alias("carol@example.org", "carol@example.net", kind=AliasKind.FORWARD)
    resolution = world.resolve("carol@example.org")
    assert resolution.kind is Kind.FORWARD
    assert str(resolution.reply) == "251 2.1.5 User not local; will forward to <carol@example.net>"
    assert world.finals("carol@example.org") == ["carol@example.net"]


async def test_who_has_moved_is_refused_with_the_new_address(world: World) -> None:
    await world.add_alias("carol@example.org", "carol@example.net", kind=AliasKind.MOVED)
    resolution = world.resolve("carol@example.org")
    assert (resolution.kind, resolution.finals) == (Kind.MOVED, ())
    assert str(resolution.reply) == "551 5.1.6 User not local; please try <carol@example.net>"


async def test_a_new_address_that_needs_utf8_is_not_said_in_the_reply(world: World) -> None:
    await world.add_alias("carol@example.org", "käthe@example.net", kind=AliasKind.FORWARD)
    await world.add_alias("dave@example.org", "jürgen@example.net", kind=AliasKind.MOVED)
    assert world.resolve("carol@example.org").reply.text.isascii()
    assert world.resolve("dave@example.org").reply.text.isascii()


async def test_the_catch_all_takes_only_what_nothing_else_takes(world: World) -> None:
    await world.change(lambda tx: domain.change(tx, "example.org", catch_all="bob@example.org"))
    await world.change(lambda tx: account.change(tx, "alice@example.org", active=False))
    assert world.finals("anything@example.org") == ["bob@example.org"]
    assert world.resolve("alice@example.org").reply == MAILBOX_DISABLED
    assert world.finals("postmaster@example.org") == ["chief@example.org"]
    assert world.resolve("anything@example.org").kind is Kind.ALIAS


async def test_a_catch_all_that_is_nobody_ends(world: World) -> None:
    await world.change(lambda tx: domain.change(tx, "example.org", catch_all="nobody@example.org"))
    assert world.resolve("anything@example.org").reply.permanent


@pytest.mark.parametrize(
    "address",
    [
        "postmaster",
        "PostMaster",
        "postmaster@example.org",
        "POSTMASTER@Example.Org",
        "abuse@example.org",
        "postmaster+x@example.org",
        "postmaster@mail.example.org",
        "abuse@mail.example.org",
    ],
)
async def test_postmaster_and_abuse_are_always_deliverable(world: World, address: str) -> None:
    assert world.finals(address) == ["chief@example.org"]


async def test_a_defined_postmaster_comes_first(world: World) -> None:
    await world.add_alias("postmaster@example.org", "bob@example.org")
    assert world.finals("postmaster") == ["bob@example.org"]


async def test_postmaster_survives_its_disabled_account(world: World) -> None:
    await world.add_account("postmaster@example.org")
    await world.change(lambda tx: account.change(tx, "postmaster@example.org", active=False))
    assert world.finals("postmaster@example.org") == ["chief@example.org"]


async def test_postmaster_goes_to_the_administrator_of_its_own_domain(world: World) -> None:
    await world.add_domain("example.com")
    assert world.finals("postmaster@example.com") == ["chief@example.org"]
    await world.add_account("head@example.com", admin=True)
    assert world.finals("postmaster@example.com") == ["head@example.com"]


async def test_postmaster_is_deferred_while_nobody_is_in_charge(empty: World) -> None:
    await empty.add_domain("example.org")
    assert empty.resolve("postmaster@example.org").reply.transient


async def test_our_host_name_has_no_users(world: World) -> None:
    assert world.resolve("alice@mail.example.org").reply == NO_SUCH_USER


async def test_an_internationalized_domain_is_one_in_both_spellings(world: World) -> None:
    await world.add_domain("bücher.example")
    await world.add_account("käthe@bücher.example")
    assert world.finals("käthe@xn--bcher-kva.example") == ["käthe@xn--bcher-kva.example"]
    assert world.finals("KÄTHE@Bücher.example") == ["käthe@xn--bcher-kva.example"]


async def test_other_domains_are_remote_by_their_name(world: World) -> None:
    resolution = world.resolve("carol@Bücher.example")
    assert resolution.kind is Kind.REMOTE
    assert resolution.finals == (Remote(parse_address("carol@bücher.example"), "xn--bcher-kva.example"),)


async def test_a_subdomain_of_ours_is_somebody_elses(world: World) -> None:
    assert world.resolve("alice@sub.example.org").kind is Kind.REMOTE


async def test_a_literal_of_another_machine_is_its_own_next_hop(world: World) -> None:
    assert world.resolve("x@[192.0.2.9]").finals[0] == Remote(
        parse_address("x@[192.0.2.9]"), "[192.0.2.9]:25"
    )
    assert world.resolve("x@[IPv6:2001:DB8:0::9]").finals[0][1] == "[2001:db8::9]:25"


async def test_our_own_literals_are_our_first_domain(world: World) -> None:
    world.configure({"listen": {"smtp": ["192.0.2.1:25", "[2001:db8::1]:25", "0.0.0.0:25"]}})
    assert world.finals("alice@[192.0.2.1]") == ["alice@example.org"]
    assert world.finals("postmaster@[IPv6:2001:db8::1]") == ["chief@example.org"]
    assert world.resolve("carol@[192.0.2.1]").reply == NO_SUCH_USER
    assert world.finals("alice@[127.0.0.1]") == ["alice@example.org"]
    assert world.resolve("alice@[IPv6:::1]").kind is Kind.REMOTE


async def test_with_a_relayhost_all_that_is_remote_goes_there(world: World) -> None:
    world.configure({"outbound": {"relayhost": "[smtp.example.net]:587"}})
    await world.add_alias("carol@example.org", "carol@example.net")
    assert world.resolve("dave@example.com").finals[0][1] == "[smtp.example.net]:587"
    assert world.resolve("carol@example.org").finals[0][1] == "[smtp.example.net]:587"
    assert world.finals("alice@example.org") == ["alice@example.org"]


def relaying(world: World, recipients: str = "") -> None:
    branch: dict[str, object] = {"next_hop": "10.0.0.2:2525", "recipients": recipients}
    world.configure({"smtp": {"relay_domains": {"branch.example": branch, "Bücher.example": {}}}})


async def test_a_relay_domain_goes_to_its_next_hop(world: World) -> None:
    relaying(world)
    resolution = world.resolve("carol@Branch.example")
    assert resolution.kind is Kind.RELAY
    assert resolution.finals[0][1] == "[10.0.0.2]:2525"
    assert world.resolve("x@bücher.example").finals[0][1] == "xn--bcher-kva.example"
    assert world.router.is_ours("branch.example") is True


async def test_only_listed_recipients_of_a_relay_domain_are_taken(world: World, tmp_path: Path) -> None:
    listed = tmp_path / "recipients"
    listed.write_text("# who is there\nCarol@branch.example   OK\n\nno address\n", encoding="utf-8")
    relaying(world, str(listed))
    assert world.resolve("carol@branch.example").kind is Kind.RELAY
    assert world.resolve("postmaster@branch.example").kind is Kind.RELAY
    assert str(world.resolve("dave@branch.example").reply)[:9] == "550 5.1.1"


async def test_a_changed_recipient_list_is_read_again(world: World, tmp_path: Path) -> None:
    listed = tmp_path / "recipients"
    listed.write_text("carol@branch.example\n")
    relaying(world, str(listed))
    await world.add_alias("d@example.org", "dave@branch.example")
    assert world.resolve("d@example.org").reply.code == 550

    listed.write_text("@branch.example\n")
    os.utime(listed, (1, 1))
    world.clock.time += 1.5
    assert world.resolve("dave@branch.example").kind is Kind.RELAY
    assert world.finals("d@example.org") == ["dave@branch.example"]


async def test_a_recipient_list_that_cannot_be_read_defers_and_a_lost_one_is_remembered(
    world: World, tmp_path: Path
) -> None:
    listed = tmp_path / "recipients"
    relaying(world, str(listed))
    assert world.resolve("carol@branch.example").reply.transient
    listed.write_text("carol@branch.example\n")
    world.clock.time += 2
    assert world.resolve("carol@branch.example").reply == RECIPIENT_OK
    listed.unlink()
    world.clock.time += 2
    assert world.resolve("carol@branch.example").reply == RECIPIENT_OK


async def test_what_is_ours(world: World) -> None:
    world.configure({"listen": {"smtp": ["192.0.2.1:25"]}})
    for name in ("", "example.org", "EXAMPLE.ORG", "mail.example.org", "[192.0.2.1]"):
        assert world.router.is_ours(name) is True, name
    for name in ("example.com", "org", "sub.example.org", "[192.0.2.2]", "exa mple.org"):
        assert world.router.is_ours(name) is False, name
