"""Sets of UIDs as ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.store.uids import common, ranges_of

bounds = st.tuples(st.integers(1, 30), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
sets = st.lists(bounds, max_size=6)


def members(ranges: list[tuple[int, int]]) -> set[int]:
    return {uid for first, last in ranges for uid in range(first, last + 1)}


@given(sets, sets)
def test_what_is_common_to_two_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    found = common(one, other)
    assert members(found) == members(one) & members(other)
    assert found == sorted(found)
    assert sum(last - first + 1 for first, last in found) == len(members(found))


def test_positions_that_begin_with_0_make_ranges_as_well():
    assert ranges_of([0, 1, 2, 5]) == [(0, 2), (5, 5)]
    assert ranges_of([0]) == [(0, 0)]
    assert ranges_of([]) == []
