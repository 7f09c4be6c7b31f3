"""Passwords: the same however typed, hashed with today's parameters, judged."""

from __future__ import annotations

import argon2
import pytest

from posthouse.accounts import password


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("correct horse", b"correct horse"),
        ("Ma\u00f1ana", "Mañana".encode()),
        ("Man\u0303ana", "Mañana".encode()),
        ("a\u00a0b\u3000c", b"a b c"),
        ("\u03c3", "σ".encode()),
        ("CaSe", b"CaSe"),
        (" spaces ", b" spaces "),
    ],
)
def test_a_password_is_the_same_however_it_is_typed(typed: str, prepared: bytes) -> None:
    assert password.prepare(typed) == prepared


@pytest.mark.parametrize("typed", ["", "a\x00b", "line\n", "\x7f", "\ud800", "\u0378", "x" * 1025])
def test_what_cannot_be_a_password_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(password.PasswordError) as refusal:
        password.prepare(typed)
    assert not typed or typed not in str(refusal.value)


def test_hashes_are_argon2id_with_our_parameters_and_never_twice_the_same() -> None:
    secret = password.hash_password(b"x")
    assert secret.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert secret != password.hash_password(b"x")
    assert password.matches(secret, b"x")
    assert not password.matches(secret, b"y")
    assert not password.is_outdated(secret)


def test_a_weaker_hash_is_outdated_and_still_opens() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(b"x")
    assert password.matches(weak, b"x")
    assert password.is_outdated(weak)


def test_a_damaged_hash_opens_nothing() -> None:
    assert not password.matches("$argon2id$nonsense", b"x")
    assert not password.matches("", b"")


def test_the_dummy_costs_what_a_real_hash_costs_and_opens_for_nobody() -> None:
    assert not password.is_outdated(password.DUMMY)
    for guess in (b"", b"x", b"posthouse"):
        assert not password.matches(password.DUMMY, guess)


@pytest.mark.parametrize(
    ("text", "weak"),
    [
        ("password", True),
        ("Password123!", True),
        ("12345678901234", True),
        ("alice2026", True),
        ("example", True),
        ("aaaaaaaaaaaaaaaa", True),
        ("kX9#m", True),
        ("a long road to Samarkand", False),
        ("q7Gv-t2Lp-9sXz", False),
    ],
)
def test_weak_passwords_are_named(text: str, weak: bool) -> None:
    assert bool(password.weakness(text, "alice@example.org")) is weak
