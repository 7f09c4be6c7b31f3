"""HEADER.FIELDS of a header from which other fields were taken out is that of the whole header."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.section import named_fields

pieces = st.lists(
    st.sampled_from(
        [b"A: x", b"a : y", b"B:", b"C: z", b"\r\n", b"\n", b" ", b"\t", b"\r", b"no field", b":", b"\xff"]
    ),
    max_size=24,
)
ends = st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\n\n"])


@given(pieces, ends)
def test_fewer_fields_are_found_in_what_was_found_of_more(header: list[bytes], end: bytes) -> None:
    head = b"".join(header) + end
    (more,) = named_fields((b"a", b"b"), [head])
    for names in ((b"a",), (b"b",), (b"a", b"b")):
        assert named_fields(names, [more]) == named_fields(names, [head])
