"""When to try again: arithmetic that holds for every configuration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.queue.schedule import GiveUp, Retry, Schedule, after_deferral, wait

DAY = 24 * 3600.0
POSTFIX = Schedule(300.0, 4000.0, 4 * 3600.0)

seconds = st.floats(1, 1e6)
schedules = st.builds(
    lambda minimal, more, warn: Schedule(minimal, minimal + more, warn),
    seconds,
    st.floats(0, 1e6),
    st.floats(0, 1e6),
)
chances = st.floats(0, 1, exclude_max=True)


@given(schedules, st.integers(1, 10_000), chances)
def test_every_wait_lies_between_minimal_and_maximal(schedule, attempts, chance):
    assert schedule.minimal <= wait(schedule, attempts, chance) <= schedule.maximal


@given(schedules, st.integers(1, 1000), chances)
def test_waits_never_get_shorter(schedule, attempts, chance):
    assert wait(schedule, attempts + 1, chance) >= wait(schedule, attempts, chance)


@given(st.integers(1, 3))
def test_waits_double_until_the_maximum(attempts):
    assert wait(POSTFIX, attempts, 0.5) == 300 * 2 ** (attempts - 1)
    assert wait(POSTFIX, 9, 0.5) == 4000


def test_chance_spreads_the_waits():
    assert wait(POSTFIX, 2, 0.0) < 500 < 700 < wait(POSTFIX, 2, 0.999)


@given(schedules, st.integers(1, 100), st.floats(0, 1e6), st.floats(0, 1e6), chances)
def test_no_attempt_is_due_after_the_letter_expires(schedule, attempts, age, lifetime, chance):
    arrived = 1e9
    now, expires = arrived + age, arrived + lifetime
    verdict = after_deferral(
        schedule, attempts=attempts, arrived=arrived, expires=expires, warned=False, now=now, chance=chance
    )
    if now >= expires:
        assert verdict == GiveUp()
    else:
        assert isinstance(verdict, Retry)
        assert now < verdict.due <= expires


def test_over_five_days_there_is_one_warning_and_an_end():
    # Given a letter that is deferred whenever it is tried,
    now, attempts, warned, warnings, dues = 1e9, 0, False, [], []
    while True:
        attempts += 1
        verdict = after_deferral(
            POSTFIX, attempts=attempts, arrived=1e9, expires=1e9 + 5 * DAY, warned=warned, now=now, chance=0.5
        )
        if isinstance(verdict, GiveUp):
            break
        if verdict.warn:
            warnings.append(now - 1e9)
            warned = True
        dues.append(verdict.due)
        now = verdict.due
    # then it is tried about every 4,000 s, with one warning after four hours, and a last time at the end.
    assert 100 < attempts < 130
    assert len(warnings) == 1
    assert 4 * 3600 <= warnings[0] < 4 * 3600 + 4000
    assert now == 1e9 + 5 * DAY


def test_a_warning_time_of_nothing_means_never():
    never = Schedule(300, 4000, 0)
    verdict = after_deferral(never, attempts=9, arrived=0, expires=1e9, warned=False, now=1e6, chance=0.5)
    assert isinstance(verdict, Retry)
    assert not verdict.warn
