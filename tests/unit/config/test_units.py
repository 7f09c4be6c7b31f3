"""Durations, sizes, networks, endpoints and next hops mean what an administrator writes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.config.endpoint import Endpoint, parse_endpoint, parse_next_hop, split_next_hop
from posthouse.config.units import (
    parse_duration,
    parse_network,
    parse_size,
    show_duration,
    show_network,
    show_size,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("300s", 300),
        ("5d", 432_000),
        ("4h", 14_400),
        ("2s", 2),
        ("10m", 600),
        ("2w", 1_209_600),
        ("0", 0),
        (7, 7),
        (0.5, 0.5),
        ("1.5h", 5400),
        (" 3 D ", 259_200),
    ],
)
def test_a_duration_is_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["", "5x", "-1s", -1, True, None, [], "s", "1e3", "9" * 30, "٣s"])
def test_no_duration_is_told_with_what_is_allowed(written: object) -> None:
    with pytest.raises(ValueError, match="must be a duration: seconds as a plain number"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        ("50MB", 50_000_000),
        ("1GB", 10**9),
        ("64KiB", 65_536),
        (0, 0),
        ("10", 10),
        ("1.5MiB", 1_572_864),
        ("50mb", 50_000_000),
        ("7 B", 7),
    ],
)
def test_a_size_is_octets_and_mb_is_a_million(written: object, octets: int) -> None:
    assert parse_size(written) == octets


@pytest.mark.parametrize("written", ["", "50MX", "-1", -1, True, 1.5, None, "9" * 30, "999999999TiB", "MB"])
def test_no_size_is_told_with_what_is_allowed(written: object) -> None:
    with pytest.raises(ValueError, match="must be a size: octets as a plain number"):
        parse_size(written)


@given(st.integers(0, 2**53))
def test_sizes_read_back_as_they_are_shown(octets: int) -> None:
    assert parse_size(show_size(octets)) == octets


@given(st.integers(0, 10**9))
def test_durations_read_back_as_they_are_shown(seconds: int) -> None:
    assert parse_duration(show_duration(seconds)) == seconds


@given(st.text(max_size=30))
def test_no_text_surprises_the_parsers(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_network, parse_endpoint, parse_next_hop):
        with suppress(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("127.0.0.0/8", "127.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("[::1]/128", "[::1]/128"),
        ("2001:db8::/32", "[2001:db8::]/32"),
    ],
)
def test_networks_are_written_as_postfix_does(written: str, shown: str) -> None:
    assert show_network(parse_network(written)) == shown


def test_a_network_with_host_bits_is_told_with_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.0/8 is the network"):
        parse_network("127.0.0.1/8")


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("0.0.0.0:25", Endpoint("0.0.0.0", 25)),
        ("[::]:25", Endpoint("::", 25)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("unix:/run/lmtp", Endpoint("", 0, "/run/lmtp")),
        ("unix:run/lmtp", Endpoint("", 0, "run/lmtp")),
    ],
)
def test_an_endpoint_reads_back_as_it_is_shown(written: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(written) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("25", "there is no port"),
        (":25", "there is no host"),
        ("*:25", r"0\.0\.0\.0"),
        ("::1:25", r"in brackets"),
        ("[::x]:25", "not an IPv6 address"),
        ("256.1.1.1:25", "not an IPv4 address"),
        ("0.0.0.0:65536", "not a port"),
        ("0.0.0.0:-1", "not a port"),
        ("a b:25", "neither an IP address nor a host name"),
        ("unix:", "name a socket"),
        ("unix:/" + "x" * 107, "at most 107"),
    ],
)
def test_no_endpoint_is_told_with_the_reason(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_endpoint(written)


@pytest.mark.parametrize(
    ("written", "next_hop"),
    [
        ("Example.ORG", "example.org"),
        ("[smtp.example.net]:587", "[smtp.example.net]:587"),
        ("[smtp.example.net]", "[smtp.example.net]:25"),
        ("smtp.example.net:587", "[smtp.example.net]:587"),
        ("10.0.0.2:25", "[10.0.0.2]:25"),
        ("10.0.0.2", "[10.0.0.2]:25"),
        ("[2001:DB8::1]:26", "[2001:db8::1]:26"),
        ("[IPv6:2001:db8::1]", "[2001:db8::1]:25"),
    ],
)
def test_a_next_hop_is_a_domain_or_this_very_host(written: str, next_hop: str) -> None:
    assert parse_next_hop(written) == next_hop
    assert parse_next_hop(next_hop) == next_hop


def test_a_next_hop_is_split_into_host_and_port() -> None:
    assert split_next_hop("[2001:db8::1]:26") == ("2001:db8::1", 26)
    assert split_next_hop("example.org") is None
