"""Columns hold what was put in, packed or not, and are searched text by text."""

from __future__ import annotations

from array import array
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.store import columns
from posthouse.store.columns import Texts

octets = st.lists(st.sampled_from([b"", b"a", b"ab", b"aba", b"bab", b"\0ab"]), max_size=12)


@given(octets, octets, st.sampled_from([b"a", b"ab", b"ba", b"aba", b"bb", b"abab"]))
def test_texts_are_searched_one_by_one(some: list[bytes], more: list[bytes], sought: bytes) -> None:
    texts = Texts(some).extended(Texts(more))
    assert list(texts) == [*some, *more]
    assert texts.containing(sought) == bytes(sought in text for text in [*some, *more])
    assert texts.filled() == bytes(bool(text) for text in [*some, *more])
    kept = bytes(index % 2 for index in range(len(texts)))
    assert list(texts.only(kept)) == [*some, *more][1::2]


rows = st.lists(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=9), st.booleans(), st.binary(max_size=3)),
    max_size=9,
)


@given(rows, rows)
def test_what_was_packed_in_pieces_comes_out_as_one(
    some: list[tuple[object, ...]], more: list[tuple[object, ...]]
) -> None:
    packed = [(len(piece), columns.pack(columns.columns("itbt", piece))) for piece in (some, more)]
    found = columns.unpack("itbt", packed)
    assert list(zip(*map(list, found), strict=True)) == [*some, *more]


@given(rows, st.integers(0, 2**9 - 1))
def test_a_mask_leaves_what_it_has_a_one_for(some: list[tuple[object, ...]], bits: int) -> None:
    mask = bytes(bits >> place & 1 for place in range(len(some)))
    kept = [columns.only(one, mask) for one in columns.columns("itbt", some)]
    assert list(zip(*map(list, kept), strict=True)) == [
        row for row, wanted in zip(some, mask, strict=True) if wanted
    ]


@given(rows, st.randoms(use_true_random=False))
def test_what_is_picked_comes_in_the_order_asked_for(some: list[tuple[object, ...]], chance: Random) -> None:
    places = chance.sample(range(len(some)), k=chance.randint(0, len(some)))
    picked = [columns.picked(one, places) for one in columns.columns("itbt", some)]
    assert list(zip(*map(list, picked), strict=True)) == [some[place] for place in places]


@given(rows, st.binary(min_size=1, max_size=4))
def test_octets_that_are_no_columns_are_refused(some: list[tuple[object, ...]], rest: bytes) -> None:
    packed = columns.pack(columns.columns("itbt", some))
    for wrong in (packed + rest, packed[:-1] if packed else rest):
        with pytest.raises(ValueError, match=r"octets|bytes"):
            columns.unpack("itbt", [(len(some), wrong)])


def test_numbers_are_packed_alike_on_every_machine() -> None:
    assert columns.pack([array("q", [1, -1])]) == b"\1" + bytes(7) + b"\xff" * 8
    assert columns.pack([Texts([b"ab", b""])]) == b"\2\0\0\0\0\0\0\0ab"


numbers = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(0, 255)), max_size=9
)


@given(numbers)
def test_what_was_pressed_comes_out_as_it_was(some: list[tuple[int, int, int]]) -> None:
    found = columns.unpress("IqB", len(some), columns.press(columns.columns("IqB", some)))
    assert list(zip(*found, strict=True)) == some


@given(numbers, st.binary(max_size=4))
def test_octets_that_were_not_pressed_are_refused(some: list[tuple[int, int, int]], rest: bytes) -> None:
    pressed = columns.press(columns.columns("IqB", some))
    with pytest.raises(ValueError, match="no columns"):
        columns.unpress("IqB", len(some) + 1, pressed)
    with pytest.raises(ValueError, match="no columns"):
        columns.unpress("IqB", len(some), rest)
