"""Logging in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest

from posthouse.accounts import account, authentication, credential, password
from posthouse.accounts.account import Account
from posthouse.accounts.authentication import ACCOUNT_DISABLED, Authenticated, Authenticator
from posthouse.accounts.throttle import FREE_FAILURES, UNDECIDED_FOR, Throttle
from posthouse.db import DatabaseAway, Reader, open_database
from posthouse.mail.reply import AUTH_INVALID, AUTH_TEMPORARY, Reply
from posthouse.net.begun import begun
from tests.databases import only_sqlite
from tests.unit.accounts.world import World

CLIENT = "192.0.2.7"
SECRET = "a long road to Sämarkand"


class Hashing:
    """Counts how often a password is hashed."""

    def __init__(self) -> None:
        self.times = 0

    def matches(self, secret: str, prepared: bytes) -> bool:
        self.times += 1
        return _matches(secret, prepared)


_matches = password.matches
_read = authentication._read


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    counter = Hashing()
    monkeypatch.setattr(password, "matches", counter.matches)
    return counter


@pytest.fixture
async def alice(world: World) -> Account:
    found = await world.database.read(lambda reader: account.show(reader, "alice@example.org"))
    await set_password(world, found, SECRET)
    return found


@pytest.fixture
def door(world: World, hashing: Hashing) -> Iterator[Authenticator]:
    door = Authenticator(world.database, world.clock, lambda client: client == "127.0.0.1")
    yield door
    door.close()


@pytest.fixture
def workers(world: World, hashing: Hashing, tmp_path: Path) -> Iterator[list[Authenticator]]:
    """Two of one host."""
    workers = [
        Authenticator(world.database, world.clock, lambda client: False, throttle=Throttle(tmp_path / "run"))
        for _ in range(2)
    ]
    yield workers
    for worker in workers:
        worker.close()


@pytest.fixture
def crowded(door: Authenticator, world: World) -> None:
    """As many attempts of the client are under way as may fail, and nobody will ever decide them."""
    for number in range(FREE_FAILURES):
        assert door._throttle.begin(CLIENT, f"user{number}@example.org", world.clock.now())


async def set_password(world: World, of: Account, text: str, label: str = "password") -> None:
    secret = password.hash_password(password.prepare(text))
    await world.change(lambda tx: credential.set_secret(tx, of.id, secret, now=1.0, label=label))


async def test_the_right_password_opens_by_any_spelling_of_the_address(
    door: Authenticator, alice: Account
) -> None:
    expected = Authenticated(alice.id, "alice@example.org", "Alice", False)
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == expected
    assert await door.authenticate(" Alice@EXAMPLE.org", "a long road to Sa\u0308markand", CLIENT) == expected


@pytest.mark.parametrize(
    ("login", "text"),
    [
        ("alice@example.org", "a long road to samarkand"),
        ("alice@example.org", ""),
        ("alice@example.org", "\x00"),
        ("bob@example.org", SECRET),
        ("alice+x@example.org", SECRET),
        ("alice", SECRET),
        ("nobody@example.org", SECRET),
        ("", ""),
        ("\ud800@\x00", "\ud800"),
    ],
)
async def test_everything_else_is_refused_alike_after_one_hash(
    door: Authenticator, alice: Account, hashing: Hashing, login: str, text: str
) -> None:
    assert await door.authenticate(login, text, CLIENT) == AUTH_INVALID
    assert hashing.times == 1


async def test_a_repeated_login_is_not_hashed_again_until_some_time_has_passed(
    door: Authenticator, alice: Account, hashing: Hashing, world: World
) -> None:
    for _ in range(20):
        assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    assert hashing.times == 1
    world.clock.time += authentication.REMEMBER + 1
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    assert hashing.times == 2


async def test_a_changed_password_is_useless_at_once(
    door: Authenticator, alice: Account, world: World
) -> None:
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    await set_password(world, alice, "another one entirely")
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == AUTH_INVALID
    assert isinstance(
        await door.authenticate("alice@example.org", "another one entirely", CLIENT), Authenticated
    )


async def test_a_password_changed_by_another_process_is_useless_at_once(
    door: Authenticator, alice: Account, database_url: str, tmp_path: Path
) -> None:
    # given a login that has been looked up, and nothing committed since
    for _ in range(2):
        assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)

    # when
    secret = password.hash_password(b"another one entirely")
    other = open_database(database_url, tmp_path)
    await other.write([], lambda tx: credential.set_secret(tx, alice.id, secret, now=2.0))
    await other.close()

    # then
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == AUTH_INVALID


@only_sqlite
async def test_who_logs_in_again_is_looked_up_again_only_when_something_was_committed(
    door: Authenticator, alice: Account, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    looked: list[str] = []

    def read(reader: Reader, name: str) -> object:
        looked.append(name)
        return _read(reader, name)

    monkeypatch.setattr(authentication, "_read", read)

    # when
    for _ in range(3):
        assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    await world.add_account("carol@example.org")
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)

    # then
    assert looked == ["alice@example.org"] * 2


async def test_a_disabled_account_is_refused_at_once_and_only_its_owner_learns_why(
    door: Authenticator, alice: Account, world: World
) -> None:
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    await world.change(lambda tx: account.change(tx, "alice@example.org", active=False))
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == ACCOUNT_DISABLED
    assert await door.authenticate("alice@example.org", "a guess", CLIENT) == AUTH_INVALID


async def test_an_account_without_a_password_opens_for_nothing(door: Authenticator, world: World) -> None:
    for text in ("", "x", "a" * 43):
        assert await door.authenticate("bob@example.org", text, CLIENT) == AUTH_INVALID


async def test_each_application_password_opens_until_it_is_taken_away(
    door: Authenticator, alice: Account, world: World
) -> None:
    secret = password.hash_password(b"of the phone")
    await world.change(lambda tx: credential.add_application_password(tx, alice.id, "phone", secret, now=2.0))
    for text in (SECRET, "of the phone"):
        assert isinstance(await door.authenticate("alice@example.org", text, CLIENT), Authenticated)
    await world.change(lambda tx: credential.remove(tx, alice.id, "phone"))
    assert await door.authenticate("alice@example.org", "of the phone", CLIENT) == AUTH_INVALID
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_guessing_is_held_up_before_anything_is_hashed(
    door: Authenticator, alice: Account, hashing: Hashing, world: World
) -> None:
    guesses = [await door.authenticate("alice@example.org", f"guess {n}", CLIENT) for n in range(9)]
    assert guesses == [AUTH_INVALID] * 5 + [authentication.TOO_MANY_FAILURES] * 4
    assert hashing.times == 5
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == authentication.TOO_MANY_FAILURES
    world.clock.time += 2.5
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_of_guesses_at_the_same_moment_no_more_are_hashed_than_may_fail(
    workers: list[Authenticator], alice: Account, hashing: Hashing
) -> None:
    # when one address guesses at several workers at once
    answers = await asyncio.gather(
        *(workers[n % 2].authenticate("alice@example.org", f"guess {n}", CLIENT) for n in range(100))
    )
    # then
    assert hashing.times == FREE_FAILURES
    assert answers.count(AUTH_INVALID) == FREE_FAILURES
    assert answers.count(authentication.TOO_MANY_FAILURES) == 100 - FREE_FAILURES


async def test_many_users_behind_one_address_log_in_at_the_same_moment(
    workers: list[Authenticator], world: World
) -> None:
    # given
    secret = password.hash_password(password.prepare(SECRET))
    users = [await world.add_account(f"user{number}@example.org") for number in range(20)]
    for user in users:
        await world.change(lambda tx, id=user.id: credential.set_secret(tx, id, secret, now=1.0))
    # when
    answers = await asyncio.gather(
        *(workers[n % 2].authenticate(f"user{n}@example.org", SECRET, CLIENT) for n in range(20))
    )
    # then
    assert answers == [Authenticated(user.id, user.address, "", False) for user in users]


async def test_many_connections_of_one_user_at_the_same_moment_are_hashed_but_a_few_times(
    door: Authenticator, alice: Account, hashing: Hashing
) -> None:
    answers = await asyncio.gather(
        *(door.authenticate("alice@example.org", SECRET, CLIENT) for _ in range(20))
    )
    assert {type(answer) for answer in answers} == {Authenticated}
    assert hashing.times <= FREE_FAILURES


async def test_who_waits_for_attempts_of_a_worker_that_died_gets_in_soon(
    door: Authenticator, alice: Account, crowded: None, world: World
) -> None:
    # given a login that has begun outside of any task, as those of sessions do
    attempt = asyncio.ensure_future(begun(door.authenticate("alice@example.org", SECRET, CLIENT)))
    done, _ = await asyncio.wait({attempt}, timeout=3 * authentication.LOOK_AGAIN)
    assert not done
    world.clock.time += UNDECIDED_FOR + 0.1
    assert isinstance(await attempt, Authenticated)


async def test_who_waits_in_line_too_long_is_sent_away(
    door: Authenticator, alice: Account, crowded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "PATIENCE", 0.0)
    answer = await door.authenticate("alice@example.org", SECRET, CLIENT)
    assert answer == authentication.TOO_MANY_AT_ONCE


async def test_a_line_beyond_the_backlog_is_sent_away(
    door: Authenticator, alice: Account, crowded: None, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "BACKLOG", 2)
    tries = {asyncio.create_task(door.authenticate("alice@example.org", SECRET, CLIENT)) for _ in range(6)}
    refused: set[asyncio.Task[Authenticated | Reply]] = set()
    while len(refused) < 4:
        refused |= (await asyncio.wait(tries - refused, return_when=asyncio.FIRST_COMPLETED))[0]
    assert {attempt.result() for attempt in refused} == {authentication.TOO_MANY_AT_ONCE}
    world.clock.time += UNDECIDED_FOR + 0.1
    assert {type(await attempt) for attempt in tries - refused} == {Authenticated}


async def test_an_attempt_that_was_broken_off_is_no_failure(
    door: Authenticator, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given as many as may fail, ended before they were decided
    begun, go_on = threading.Event(), threading.Event()

    def slow(secret: str, prepared: bytes) -> bool:
        begun.set()
        assert go_on.wait(30)
        return _matches(secret, prepared)

    monkeypatch.setattr(password, "matches", slow)
    tries = [
        asyncio.create_task(door.authenticate("alice@example.org", f"guess {n}", CLIENT))
        for n in range(FREE_FAILURES)
    ]
    assert await asyncio.to_thread(begun.wait, 30)
    for attempt in tries:
        attempt.cancel()
    await asyncio.gather(*tries, return_exceptions=True)
    go_on.set()
    # then
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_the_same_wrong_password_again_costs_and_counts_nothing(
    door: Authenticator, alice: Account, hashing: Hashing
) -> None:
    for _ in range(50):
        assert await door.authenticate("alice@example.org", "an old one", CLIENT) == AUTH_INVALID
    assert hashing.times == 1
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_trusted_clients_are_never_held_up(door: Authenticator, alice: Account) -> None:
    for number in range(8):
        refused = await door.authenticate("alice@example.org", f"guess {number}", "127.0.0.1")
        assert refused == AUTH_INVALID
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_a_crowd_beyond_the_backlog_is_sent_away(
    door: Authenticator, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "BACKLOG", 2)
    go_on = threading.Event()

    def slow(secret: str, prepared: bytes) -> bool:
        assert go_on.wait(30)
        return False

    monkeypatch.setattr(password, "matches", slow)
    # given six at once, while hashing is slow
    tries = [
        asyncio.create_task(door.authenticate("alice@example.org", f"guess {n}", "127.0.0.1"))
        for n in range(6)
    ]
    # then four need not wait for an answer
    refused: set[asyncio.Task[Authenticated | Reply]] = set()
    while len(refused) < 4:
        refused |= (await asyncio.wait(set(tries) - refused, return_when=asyncio.FIRST_COMPLETED))[0]
    assert {attempt.result() for attempt in refused} == {authentication.TOO_MANY_AT_ONCE}
    go_on.set()
    assert [await attempt for attempt in tries if attempt not in refused] == [AUTH_INVALID] * 2


async def test_an_outdated_hash_is_strengthened_by_the_next_login(
    door: Authenticator, alice: Account, world: World
) -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(password.prepare(SECRET))
    await world.change(lambda tx: credential.set_secret(tx, alice.id, weak, now=2.0))
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)
    await world.change(lambda tx: None)  # what was to be written later is written no later than this
    (stored,) = await world.database.read(lambda reader: credential.of_account(reader, alice.id))
    assert stored.secret != weak
    assert not password.is_outdated(stored.secret)
    assert isinstance(await door.authenticate("alice@example.org", SECRET, CLIENT), Authenticated)


async def test_a_hash_is_not_strengthened_over_a_new_password(alice: Account, world: World) -> None:
    (seen,) = await world.database.read(lambda reader: credential.of_account(reader, alice.id))
    await set_password(world, alice, "another one entirely")
    assert await world.change(lambda tx: credential.upgrade(tx, seen, "stronger")) is False
    (stored,) = await world.database.read(lambda reader: credential.of_account(reader, alice.id))
    assert password.matches(stored.secret, b"another one entirely")


async def test_a_database_out_of_reach_is_a_temporary_failure(
    door: Authenticator, alice: Account, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*arguments: object, **options: object) -> None:
        raise DatabaseAway("no")

    monkeypatch.setattr(type(world.database), "read", away)
    assert await door.authenticate("alice@example.org", SECRET, CLIENT) == AUTH_TEMPORARY
