"""Who keeps failing waits longer and longer; others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.accounts.throttle import (
    FIRST_WAIT,
    FORGET_AFTER,
    FREE_FAILURES,
    LONGEST_WAIT,
    UNDECIDED_FOR,
    Throttle,
    network_of,
)

NOW = 1_800_000_000.0


def failing(throttle: Throttle, client: str, login: str, times: int) -> None:
    for _ in range(times):
        throttle.failed(client, login, NOW)


def test_the_first_failures_are_free_and_then_each_doubles_the_wait() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "a@x", FREE_FAILURES - 1)
    assert throttle.wait("192.0.2.1", "a@x", NOW) == 0
    waits = []
    for _ in range(12):
        throttle.failed("192.0.2.1", "a@x", NOW)
        waits.append(throttle.wait("192.0.2.1", "a@x", NOW))
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT
    assert throttle.wait("192.0.2.1", "a@x", NOW + LONGEST_WAIT) == 0


def test_many_failures_do_not_overflow() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "a@x", 3000)
    assert throttle.wait("192.0.2.1", "a@x", NOW) == LONGEST_WAIT


def test_one_client_guessing_at_many_logins_waits() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES):
        throttle.failed("192.0.2.1", f"user{number}@x", NOW)
    assert throttle.wait("192.0.2.1", "another@x", NOW) > 0
    assert throttle.wait("192.0.2.2", "another@x", NOW) == 0


def test_many_clients_guessing_at_one_login_wait() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES):
        throttle.failed(f"192.0.2.{number}", "alice@x", NOW)
    assert throttle.wait("198.51.100.1", "alice@x", NOW) > 0
    assert throttle.wait("198.51.100.1", "bob@x", NOW) == 0


def test_strangers_do_not_lock_a_user_out_of_where_he_is_at_home() -> None:
    throttle = Throttle()
    throttle.succeeded("198.51.100.1", "alice@x", NOW)
    failing(throttle, "192.0.2.1", "alice@x", 50)
    assert throttle.wait("198.51.100.1", "alice@x", NOW) == 0
    assert throttle.wait("198.51.100.2", "alice@x", NOW) > 0


def test_a_login_of_ones_own_buys_no_guesses_at_others() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES):
        throttle.failed("192.0.2.1", f"victim{number}@x", NOW)
        throttle.succeeded("192.0.2.1", "mallory@x", NOW)
    assert throttle.wait("192.0.2.1", "victim@x", NOW) > 0


def under_way(throttle: Throttle, client: str, times: int) -> int:
    """How many of so many attempts, each at a login of its own, may begin."""
    return sum(throttle.begin(client, f"user{number}@x", NOW) for number in range(times))


def test_no_more_attempts_are_under_way_at_once_than_may_fail() -> None:
    throttle = Throttle()
    assert under_way(throttle, "192.0.2.1", 20) == FREE_FAILURES
    # whoever has to wait for them has failed in nothing
    assert throttle.wait("192.0.2.1", "alice@x", NOW) == 0
    assert throttle.begin("192.0.2.2", "alice@x", NOW)
    throttle.end("192.0.2.1", "user0@x")
    assert throttle.begin("192.0.2.1", "alice@x", NOW)
    assert not throttle.begin("192.0.2.1", "bob@x", NOW)


def test_so_it_is_for_a_login_that_many_clients_try() -> None:
    throttle = Throttle()
    begun = [throttle.begin(f"192.0.2.{number}", "alice@x", NOW) for number in range(20)]
    assert begun == [True] * FREE_FAILURES + [False] * (20 - FREE_FAILURES)
    # and who was not let begin at alice's is not held up elsewhere by it
    assert under_way(throttle, "192.0.2.19", 20) == FREE_FAILURES


def test_an_attempt_that_failed_makes_no_room_and_one_that_succeeded_does() -> None:
    throttle = Throttle()
    under_way(throttle, "192.0.2.1", FREE_FAILURES)
    throttle.failed("192.0.2.1", "user0@x", NOW)
    throttle.end("192.0.2.1", "user0@x")
    assert not throttle.begin("192.0.2.1", "alice@x", NOW)
    throttle.succeeded("192.0.2.1", "user1@x", NOW)
    throttle.end("192.0.2.1", "user1@x")
    assert throttle.begin("192.0.2.1", "alice@x", NOW)


def test_without_free_failures_one_attempt_is_made_at_a_time_after_the_wait() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "alice@x", FREE_FAILURES)
    assert not throttle.begin("192.0.2.1", "bob@x", NOW)
    later = NOW + FIRST_WAIT
    assert throttle.begin("192.0.2.1", "bob@x", later)
    assert not throttle.begin("192.0.2.1", "carol@x", later)
    throttle.end("192.0.2.1", "bob@x")
    assert throttle.begin("192.0.2.1", "carol@x", later)


def test_who_is_at_home_does_not_wait_for_strangers_at_his_login() -> None:
    throttle = Throttle()
    throttle.succeeded("198.51.100.1", "alice@x", NOW)
    for number in range(FREE_FAILURES):
        assert throttle.begin(f"192.0.2.{number}", "alice@x", NOW)
    assert throttle.begin("198.51.100.1", "alice@x", NOW)
    assert not throttle.begin("198.51.100.2", "alice@x", NOW)


@pytest.mark.parametrize(
    "later", [UNDECIDED_FOR + 0.1, -3600.0], ids=["in time", "after the clock was set back"]
)
def test_what_a_dead_worker_had_under_way_is_forgotten(tmp_path: Path, later: float) -> None:
    # given
    dead, alive = Throttle(tmp_path), Throttle(tmp_path)
    under_way(dead, "192.0.2.1", FREE_FAILURES)
    dead.close()
    # when others ask again and again, which keeps nothing alive
    for second in range(int(UNDECIDED_FOR)):
        assert not alive.begin("192.0.2.1", "alice@x", NOW + second)
    # then
    assert alive.begin("192.0.2.1", "alice@x", NOW + later)
    assert alive.wait("192.0.2.1", "alice@x", NOW + later) == 0
    alive.close()


def test_what_is_under_way_counts_for_all_workers(tmp_path: Path) -> None:
    one, other = Throttle(tmp_path), Throttle(tmp_path)
    assert under_way(one, "192.0.2.1", 3) + under_way(other, "192.0.2.1", 3) == FREE_FAILURES
    one.end("192.0.2.1", "user0@x")
    assert other.begin("192.0.2.1", "alice@x", NOW)
    assert not one.begin("192.0.2.1", "bob@x", NOW)
    one.close()
    other.close()


def test_an_hour_of_peace_forgets() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "a@x", 20)
    throttle.failed("192.0.2.1", "a@x", NOW + FORGET_AFTER + LONGEST_WAIT)
    assert throttle.wait("192.0.2.1", "a@x", NOW + FORGET_AFTER + LONGEST_WAIT) == 0


def test_an_ipv6_client_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("local") == "local"
    assert network_of(":nonsense:") == ":nonsense:"


def test_memory_is_bounded() -> None:
    throttle = Throttle(capacity=100)
    for number in range(10_000):
        throttle.begin(f"client{number}", f"login{number}", NOW)
        throttle.failed(f"client{number}", f"login{number}", NOW)
        throttle.succeeded(f"client{number}", f"login{number}", NOW)
    assert len(throttle._failures) <= 104
    assert len(throttle._known) <= 104
    assert len(throttle._undecided) <= 104


def test_all_workers_count_together_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    one, other = Throttle(tmp_path / "run"), Throttle(tmp_path / "run")
    # given failures that the kernel has spread over two workers
    for number in range(FREE_FAILURES):
        failing((one, other)[number % 2], "192.0.2.1", "alice@x", 1)
    assert one.wait("192.0.2.1", "alice@x", NOW) == other.wait("192.0.2.1", "alice@x", NOW) == FIRST_WAIT
    # and a login that one of them has seen to be right
    one.succeeded("198.51.100.1", "alice@x", NOW)
    failing(one, "192.0.2.2", "alice@x", 50)
    one.close()
    other.close()
    # then the next worker knows both
    third = Throttle(tmp_path / "run")
    assert third.wait("198.51.100.1", "alice@x", NOW) == 0
    assert third.wait("198.51.100.2", "alice@x", NOW) == LONGEST_WAIT
    third.close()


def test_no_name_is_in_the_files(tmp_path: Path) -> None:
    throttle = Throttle(tmp_path)
    failing(throttle, "192.0.2.1", "alice@example.org", 3)
    throttle.succeeded("192.0.2.1", "alice@example.org", NOW)
    assert throttle.begin("192.0.2.1", "alice@example.org", NOW)
    throttle.close()
    for name in ("logins.failed", "logins.known", "logins.undecided"):
        octets = (tmp_path / name).read_bytes()
        assert b"alice" not in octets
        assert b"192.0.2" not in octets
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
