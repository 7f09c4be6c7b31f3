"""Who keeps failing waits longer and longer; others do not."""

from __future__ import annotations

from pathlib import Path

from posthouse.accounts.throttle import (
    FIRST_WAIT,
    FORGET_AFTER,
    FREE_FAILURES,
    LONGEST_WAIT,
    Throttle,
    network_of,
)

NOW = 1_800_000_000.0


def failing(throttle: Throttle, client: str, login: str, times: int) -> None:
    for _ in range(times):
        throttle.attempt(client, login, NOW)


def test_the_first_failures_are_free_and_then_each_doubles_the_wait() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "a@x", FREE_FAILURES - 1)
    assert throttle.wait("192.0.2.1", "a@x", NOW) == 0
    waits = []
    for _ in range(12):
        throttle.attempt("192.0.2.1", "a@x", NOW)
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
        throttle.attempt("192.0.2.1", f"user{number}@x", NOW)
    assert throttle.wait("192.0.2.1", "another@x", NOW) > 0
    assert throttle.wait("192.0.2.2", "another@x", NOW) == 0


def test_many_clients_guessing_at_one_login_wait() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES):
        throttle.attempt(f"192.0.2.{number}", "alice@x", NOW)
    assert throttle.wait("198.51.100.1", "alice@x", NOW) > 0
    assert throttle.wait("198.51.100.1", "bob@x", NOW) == 0


def test_strangers_do_not_lock_a_user_out_of_where_he_is_at_home() -> None:
    throttle = Throttle()
    throttle.attempt("198.51.100.1", "alice@x", NOW)
    throttle.succeeded("198.51.100.1", "alice@x", NOW)
    failing(throttle, "192.0.2.1", "alice@x", 50)
    assert throttle.wait("198.51.100.1", "alice@x", NOW) == 0
    assert throttle.wait("198.51.100.2", "alice@x", NOW) > 0


def test_a_login_of_ones_own_buys_no_guesses_at_others() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES):
        throttle.attempt("192.0.2.1", f"victim{number}@x", NOW)
        throttle.attempt("192.0.2.1", "mallory@x", NOW)
        throttle.succeeded("192.0.2.1", "mallory@x", NOW)
    assert throttle.wait("192.0.2.1", "victim@x", NOW) > 0


def test_an_hour_of_peace_forgets() -> None:
    throttle = Throttle()
    failing(throttle, "192.0.2.1", "a@x", 20)
    throttle.attempt("192.0.2.1", "a@x", NOW + FORGET_AFTER + LONGEST_WAIT)
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
        throttle.attempt(f"client{number}", f"login{number}", NOW)
        throttle.succeeded(f"client{number}", f"login{number}", NOW)
    assert len(throttle._failures) <= 104
    assert len(throttle._known) <= 104


def test_all_workers_count_together_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    one, other = Throttle(tmp_path / "run"), Throttle(tmp_path / "run")
    # given failures that the kernel has spread over two workers
    for number in range(FREE_FAILURES):
        failing((one, other)[number % 2], "192.0.2.1", "alice@x", 1)
    assert one.wait("192.0.2.1", "alice@x", NOW) == other.wait("192.0.2.1", "alice@x", NOW) == FIRST_WAIT
    # and a login that one of them has seen to be right
    one.attempt("198.51.100.1", "alice@x", NOW)
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
    throttle.close()
    for name in ("logins.failed", "logins.known"):
        octets = (tmp_path / name).read_bytes()
        assert b"alice" not in octets
        assert b"192.0.2" not in octets
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
