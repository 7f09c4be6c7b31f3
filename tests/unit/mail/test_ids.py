"""Ids: unique, ordered by time, and readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.ids import EPOCH_MS, LetterIds, first_of, moment, parse_id, show


def test_ids_grow_even_when_the_clock_stands_still_or_goes_back() -> None:
    # given a clock that stands, then goes back an hour
    times = iter([EPOCH_MS + 5_000_000] * 5000 + [EPOCH_MS + 1_400_000] * 5000)
    ids = LetterIds(7, lambda: next(times))
    # when more ids are made than the counter holds in a millisecond
    made = [ids.new() for _ in range(10_000)]
    # then each is greater than the one before, and all bear the slot
    assert made == sorted(set(made))
    assert {id >> 12 & 1023 for id in made} == {7}


def test_makers_of_different_slots_never_make_the_same_id() -> None:
    one, other = LetterIds(1, lambda: EPOCH_MS + 1), LetterIds(2, lambda: EPOCH_MS + 1)
    assert not {one.new() for _ in range(5000)} & {other.new() for _ in range(5000)}


def test_an_id_tells_when_it_was_made() -> None:
    assert moment(LetterIds(0, lambda: EPOCH_MS + 123_456).new()) == (EPOCH_MS + 123_456) / 1000


def test_first_of_a_moment_parts_earlier_from_later_ids() -> None:
    at = EPOCH_MS + 10_000
    before, after = LetterIds(1023, lambda: at - 1).new(), LetterIds(0, lambda: at).new()
    assert before < first_of(at / 1000) <= after


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_text_and_number_tell_the_same_and_sort_the_same(one: int, other: int) -> None:
    assert parse_id(show(one)) == one
    assert len(show(one)) == 13
    assert (show(one) < show(other)) == (one < other)


def test_reading_forgives_capitals_and_letters_that_look_like_digits() -> None:
    id = parse_id("0010123456789")
    assert parse_id("OOI0I23456789") == id
    assert parse_id("ooLol23456789") == parse_id("0010123456789")


@pytest.mark.parametrize(
    "text", ["", "0", "0" * 12, "0" * 14, "z" * 13, "000000000000u", "00000 0000000", "é" * 13]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_id(text)


@pytest.mark.parametrize("slot", [-1, 1024])
def test_a_slot_out_of_range_is_refused(slot: int) -> None:
    with pytest.raises(ValueError):
        LetterIds(slot, lambda: 0)


def test_ids_of_another_slot_go_on_growing() -> None:
    ids = LetterIds(7, lambda: EPOCH_MS + 1)
    before = [ids.new() for _ in range(5)]
    ids.move(3)
    after = [ids.new() for _ in range(5)]
    assert before + after == sorted({*before, *after})
    assert {id >> 12 & 1023 for id in after} == {3}
