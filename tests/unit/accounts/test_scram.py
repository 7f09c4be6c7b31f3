"""Logging in without sending the password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from posthouse.accounts import account, credential, password, scram
from posthouse.accounts.account import Account
from posthouse.accounts.authentication import (
    ACCOUNT_DISABLED,
    TOO_MANY_FAILURES,
    Authenticated,
    Authenticator,
)
from posthouse.accounts.throttle import FREE_FAILURES
from posthouse.db import DatabaseAway
from posthouse.mail.reply import AUTH_INVALID, AUTH_TEMPORARY
from posthouse.protocol.sasl import PRIVATE, Keys, KeysWanted, Proof
from posthouse.protocol.sasl.scram import ScramServer
from tests.scramclient import ScramClient
from tests.unit.accounts.world import World

CLIENT = "192.0.2.7"
SECRET = "a long road to Sämarkand"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")


async def set_password(world: World, of: Account, text: str, *, with_keys: bool = True) -> None:
    prepared = password.prepare(text)
    secret, keys = password.hash_password(prepared), scram.derive(prepared, MECHANISMS if with_keys else ())
    await world.change(lambda tx: credential.set_secret(tx, of.id, secret, now=1.0, scram=keys))


@pytest.fixture
async def alice(world: World) -> Account:
    found = await world.database.read(lambda reader: account.show(reader, "alice@example.org"))
    await set_password(world, found, SECRET)
    return found


@pytest.fixture
def door(world: World) -> Iterator[Authenticator]:
    door = Authenticator(
        world.database, world.clock, lambda client: client == "127.0.0.1", lambda: MECHANISMS
    )
    yield door
    door.close()


def shown(*, right: bool) -> Proof:
    return Proof("SCRAM-SHA-256", "alice@example.org", "", right, 1)


async def exchange(door: Authenticator, login: str, text: str, mechanism: str = "SCRAM-SHA-256") -> Proof:
    """A client that knows `text`, against our core, with the keys that the door gives."""
    server = ScramServer(mechanism, PRIVATE)
    client = ScramClient(mechanism, login, password.prepare(text).decode())
    assert server.step(client.initial) == KeysWanted(login, mechanism)
    keys = await door.keys(login, mechanism, CLIENT)
    assert isinstance(keys, Keys)
    outcome = server.step(client.final(server.challenge(keys)))
    if isinstance(outcome, bytes):
        assert client.is_the_server(outcome)
        outcome = server.step(b"")
    assert isinstance(outcome, Proof)
    return outcome


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
async def test_the_right_password_opens(door: Authenticator, alice: Account, mechanism: str) -> None:
    proof = await exchange(door, "alice@example.org", SECRET, mechanism)
    assert await door.judge(replace(proof, identity="Alice@example.org"), CLIENT) == Authenticated(
        alice.id, "alice@example.org", "Alice", False
    )


@pytest.mark.parametrize("login", ["alice@example.org", "nobody@example.org", "bob@example.org", ""])
async def test_what_is_wrong_fails_at_the_end_whoever_was_named(
    door: Authenticator, alice: Account, login: str
) -> None:
    proof = await exchange(door, login or "x", "not that")
    assert await door.judge(replace(proof, identity=login), CLIENT) == AUTH_INVALID


async def test_nobody_is_told_whether_an_account_is_there(
    door: Authenticator, world: World, alice: Account
) -> None:
    """RFC 5802 §9: the salt of who is not there is the same each time, on another host too."""
    other = Authenticator(world.database, world.clock, lambda client: True, lambda: MECHANISMS)
    found = [await one.keys("nobody@example.org", "SCRAM-SHA-256", CLIENT) for one in (door, door, other)]
    real = await door.keys("alice@example.org", "SCRAM-SHA-256", CLIENT)
    other.close()
    keys = [one for one in (*found, real) if isinstance(one, Keys)]
    assert len(keys) == 4
    assert len({one.salt for one in keys[:3]}) == 1
    assert len({(len(one.salt), one.iterations, len(one.stored_key), len(one.nonce)) for one in keys}) == 1
    assert len({one.nonce for one in keys}) == 4


async def test_a_password_that_was_changed_meanwhile_is_of_no_use(
    door: Authenticator, world: World, alice: Account
) -> None:
    proof = await exchange(door, "alice@example.org", SECRET)
    await set_password(world, alice, "another road to Samarkand")
    assert await door.judge(proof, CLIENT) == AUTH_INVALID


async def test_only_who_has_proved_himself_learns_that_the_account_is_disabled(
    door: Authenticator, world: World, alice: Account
) -> None:
    await world.change(lambda tx: account.change(tx, "alice@example.org", active=False))
    right = await exchange(door, "alice@example.org", SECRET)
    wrong = await exchange(door, "alice@example.org", "not that")
    assert await door.judge(right, CLIENT) == ACCOUNT_DISABLED
    assert await door.judge(wrong, CLIENT) == AUTH_INVALID


async def test_a_login_with_the_password_makes_the_keys(
    door: Authenticator, world: World, alice: Account
) -> None:
    await set_password(world, alice, SECRET, with_keys=False)
    proof = await exchange(door, "alice@example.org", SECRET)
    assert await door.judge(proof, CLIENT) == AUTH_INVALID
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    await world.database.write([], lambda tx: None)  # what may come later has come before it

    proof = await exchange(door, "alice@example.org", SECRET)
    assert isinstance(await door.judge(proof, CLIENT), Authenticated)


async def test_who_fails_too_often_has_to_wait(door: Authenticator, alice: Account) -> None:
    for _ in range(50):
        keys = await door.keys("alice@example.org", "SCRAM-SHA-256", CLIENT)
        if keys == TOO_MANY_FAILURES:
            break
        await door.judge(shown(right=False), CLIENT)
    assert keys == TOO_MANY_FAILURES
    assert isinstance(await door.keys("alice@example.org", "SCRAM-SHA-256", "127.0.0.1"), Keys)


async def test_a_database_that_is_away_is_no_wrong_password(
    door: Authenticator, world: World, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise DatabaseAway("gone")

    monkeypatch.setattr(world.database, "read", away)
    assert await door.keys("alice@example.org", "SCRAM-SHA-256", CLIENT) == AUTH_TEMPORARY
    assert await door.judge(shown(right=True), CLIENT) == AUTH_TEMPORARY


def test_what_is_kept_reads_back() -> None:
    text = scram.derive(b"pencil", MECHANISMS)
    kept = credential.Credential(account.AccountId(1), 0, "password", "", 3, 0.0, text)
    assert not scram.lacks(kept, MECHANISMS)
    assert scram.lacks(kept._replace(scram=""), MECHANISMS)
    for mechanism in MECHANISMS[:2]:
        found = scram.stored(kept, mechanism)
        assert found is not None
        assert str(found) in text
        assert found.keys(3).version == 3
    assert scram.stored(kept, "SCRAM-SHA-512") is None


async def test_exchanges_begun_before_the_first_failure_are_no_more_guesses(
    door: Authenticator, alice: Account
) -> None:
    # given as many exchanges as one likes, begun while nobody had failed
    assert all(
        [isinstance(await door.keys("alice@example.org", "SCRAM-SHA-256", CLIENT), Keys) for _ in range(20)]
    )
    # when each shows what it has guessed
    answers = [await door.judge(shown(right=False), CLIENT) for _ in range(20)]
    # then only the first few are looked at, and one that is right no longer
    assert answers == [AUTH_INVALID] * FREE_FAILURES + [TOO_MANY_FAILURES] * (20 - FREE_FAILURES)
    assert await door.judge(shown(right=True), CLIENT) == TOO_MANY_FAILURES
    assert isinstance(await door.judge(shown(right=True), "127.0.0.1"), Authenticated)
