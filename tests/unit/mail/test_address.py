"""Addresses: strict in, one canonical form, and back again."""

from __future__ import annotations

import pytest

from posthouse.mail.address import (
    Address,
    AddressError,
    canonical,
    domain_to_ascii,
    parse_address,
    parse_mailbox_list,
    split_subaddress,
)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("alice@north.test", "alice", "north.test"),
        ("Alice@North.TEST", "Alice", "north.test"),
        ("a.b+c-d_e@sub.north.test", "a.b+c-d_e", "sub.north.test"),
        ("!#$%&'*+/=?^_`{|}~-@x.test", "!#$%&'*+/=?^_`{|}~-", "x.test"),
        ('"a b"@north.test', "a b", "north.test"),
        ('"a@b"@north.test', "a@b", "north.test"),
        ('"a\\"b\\\\c"@north.test', 'a"b\\c', "north.test"),
        ('""@north.test', "", "north.test"),
        ("alice@[192.0.2.1]", "alice", "[192.0.2.1]"),
        ("alice@[IPv6:2001:DB8:0::1]", "alice", "[IPv6:2001:db8::1]"),
        ("alice@localhost", "alice", "localhost"),
        ("Postmaster", "Postmaster", ""),
        ("jürgen@north.test", "jürgen", "north.test"),
        ("alice@BÜCHER.example", "alice", "bücher.example"),
        ("alice@xn--bcher-kva.example", "alice", "xn--bcher-kva.example"),
        ("alice@ｎorth。test", "alice", "north.test"),
    ],
)
def test_every_kind_of_address_is_understood_and_said_again(text: str, local: str, domain: str) -> None:
    address = parse_address(text)
    assert address == Address(local, domain)
    assert parse_address(str(address)) == address
    assert canonical(parse_address(canonical(address))) == canonical(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@north.test",
        "alice@",
        "alice@@north.test",
        "a@b@north.test",
        ".a@north.test",
        "a.@north.test",
        "a..b@north.test",
        "a b@north.test",
        "a\tb@north.test",
        "a\r\nRCPT@north.test",
        "alice@north.test\n",
        "alice@north.test.",
        "alice@.north.test",
        "alice@north..test",
        "alice@-north.test",
        "alice@north-.test",
        "alice@no_rth.test",
        "alice@north.test ",
        "<alice@north.test>",
        "@relay.test:alice@north.test",
        '"alice@north.test',
        '"alice"north.test',
        '"a\x01b"@north.test',
        '"a\\\x80"@north.test',
        "alice@192.0.2.1",
        "alice@[192.0.2.1",
        "alice@[192.0.2.256]",
        "alice@[192.0.2.01]",
        "alice@[2001:db8::1]",
        "alice@[IPv6:fe80::1%eth0]",
        "alice@[future:x]",
        "x" * 65 + "@north.test",
        "alice@" + "x" * 64 + ".test",
        "alice@" + ".".join(["x" * 60] * 5),
        "ü" * 33 + "@north.test",
        "x" * 64 + "@" + ".".join(["\u4f8b" * 20] * 4),
        "a\x00@north.test",
        "a\udc80@north.test",
        "a\u2028b@north.test",
        "alice@☃\u200b.test",
        "postmaster\n",
    ],
)
def test_what_the_grammar_does_not_allow_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(AddressError) as refusal:
        parse_address(text)
    assert len(str(refusal.value)) > 10


def test_a_local_part_of_64_octets_is_the_longest() -> None:
    assert parse_address("x" * 64 + "@north.test").local == "x" * 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice@North.test", "alice@north.test"),
        ("alice@bücher.example", "alice@XN--BCHER-KVA.example"),
        ('"alice"@north.test', "alice@north.test"),
        ("J\u00dcrgen@north.test", "ju\u0308rgen@north.test"),
        ("a@[IPv6:2001:db8:0:0::1]", "a@[ipv6:2001:DB8::1]"),
        ("POSTMASTER", "postmaster"),
    ],
)
def test_the_same_address_written_differently_has_one_canonical_form(one: str, other: str) -> None:
    assert canonical(parse_address(one)) == canonical(parse_address(other))


def test_an_address_beyond_ascii_says_so() -> None:
    assert parse_address("alice@north.test").ascii
    assert not parse_address("jürgen@north.test").ascii
    assert not parse_address("alice@bücher.example").ascii


@pytest.mark.parametrize(
    "name", ["", "a..b", "x" * 64, "-a.test", "a b.test", "x." * 128 + "test", "ü" * 300]
)
def test_a_bad_domain_name_is_refused(name: str) -> None:
    with pytest.raises(AddressError):
        domain_to_ascii(name)


@pytest.mark.parametrize(
    ("local", "separator", "parts"),
    [
        ("bob+lists", "+", ("bob", "lists")),
        ("bob+a+b", "+", ("bob", "a+b")),
        ("bob", "+", ("bob", "")),
        ("+bob", "+", ("+bob", "")),
        ("bob+", "+", ("bob", "")),
        ("bob-a+b", "+-", ("bob", "a+b")),
        ("bob+a", "", ("bob+a", "")),
    ],
)
def test_a_subaddress_is_parted_at_the_first_separator(
    local: str, separator: str, parts: tuple[str, str]
) -> None:
    assert split_subaddress(local, separator) == parts


def test_a_mailbox_list_gives_decoded_names_and_addresses() -> None:
    value = (
        '=?utf-8?q?J=C3=BCrgen?= <j@x.test>, "Bob, the \\"builder\\"" <bob@y.test>,\r\n'
        ' Friends: c@z.test (Carol), "d e"@z.test;, f @ z . test'
    )
    assert parse_mailbox_list(value) == [
        ("Jürgen", Address("j", "x.test")),
        ('Bob, the "builder"', Address("bob", "y.test")),
        ("Carol", Address("c", "z.test")),
        ("", Address("d e", "z.test")),
        ("", Address("f", "z.test")),
    ]


def test_a_mailbox_list_with_something_that_is_no_address_is_refused() -> None:
    with pytest.raises(AddressError):
        parse_mailbox_list("alice@north.test, bob")
