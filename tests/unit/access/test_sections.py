"""Sections of messages: the quick way and the general way say the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.access.imap.sections import cut_ranges, literal, of_data, of_heads
from posthouse.access.imap.selected import batches
from posthouse.mail.content import HEAD_LIMIT
from posthouse.mail.mime import scan
from posthouse.protocol.imap.fetching import Section, Text

NAMES = (b"From", b"to", b"SUBJECT", b"X-Foo", b"Fro")
field = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from([b":", b" :", b": "]),
    st.sampled_from([b"", b"a", b"a\r\n b", b"a\n\tb:c"]),
).map(lambda pieces: b"".join(pieces))
lines = st.lists(st.one_of(field, st.sampled_from([b"no field", b" folded", b"From"])), max_size=6)
heads = st.tuples(
    lines,
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from([b"", b"\r\n", b"\n"]),
).map(lambda parts: b"".join(text + parts[1] for text in parts[0]) + parts[2])


@given(heads, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.none() | st.just((1, 7)))
@settings(max_examples=500)
def test_header_fields_are_found_alike(
    head: bytes, names: list[bytes], partial: tuple[int, int] | None
) -> None:
    root = scan(head)
    if root.body_start != len(head):
        return  # an empty line within: no head
    for text in (Text.FIELDS, Text.FIELDS_NOT, Text.HEADER):
        wanted = Section(text=text, fields=tuple(names), partial=partial)
        assert literal(of_heads(wanted, [head])[0]) == of_data(wanted, head, len(head), root)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4),
    st.integers(0, 30),
    st.integers(1, 30),
)
def test_partial_is_cut_over_all_ranges(spans: list[tuple[int, int]], start: int, length: int) -> None:
    data = bytes(range(100))
    ranges = []
    at = 0
    for gap, size in spans:
        ranges.append((at + gap, at + gap + size))
        at += gap + size
    whole = b"".join(data[low:high] for low, high in ranges)
    cut = b"".join(data[low:high] for low, high in cut_ranges(ranges, (start, length)))
    assert cut == whole[start : start + length]


@given(st.lists(st.integers(1, 3_000_000), max_size=50), st.integers(1, 20), st.integers(0, 300))
def test_batches_hold_little_and_leave_nobody_out(sizes: list[int], most: int, times: int) -> None:
    found = list(batches(range(len(sizes)), sizes, most, times))
    assert [index for batch in found for index in batch] == list(range(len(sizes)))
    for batch in found:
        assert 0 < len(batch) <= most
        held = sum(min(sizes[index], HEAD_LIMIT) for index in batch) * times
        assert len(batch) == 1 or held <= 2 * 1024 * 1024


def test_a_literal_holds_any_octets() -> None:
    assert literal(b"\0\r\n\xff") == b"{4}\r\n\0\r\n\xff"
