"""An ENVELOPE is read as it was written, with and without literals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import imapread
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import envelope

text = st.text('ab"\\\\ <>@.,\x80', max_size=8)


@given(text, text, text, text)
def test_what_is_read_is_the_same_however_it_is_written(subject: str, sender: str, to: str, id: str) -> None:
    fields = f"Subject: {subject}\r\nFrom: {sender}\r\nTo: {to}\r\nMessage-ID: {id}\r\n\r\n"
    written = envelope(HeaderIndex(fields.encode("latin-1")))
    parsed = imapread._parsed(written)
    assert imapread.text(written, imapread.SUBJECT) == (parsed[1] or b"")
    assert imapread.text(written, imapread.MESSAGE_ID) == (parsed[9] or b"")
    for field in (imapread.FROM, imapread.TO):
        first = parsed[field][0] if parsed[field] else None
        assert imapread.first_local(written, field) == ((first[2] or b"") if first else b"")
        assert imapread.first_address(written, field) == first


@given(st.binary(max_size=30) | st.lists(st.sampled_from([b"(", b")", b"NIL", b'"x"', b" "])).map(b"".join))
def test_what_is_no_envelope_has_no_fields_and_does_no_harm(octets: bytes) -> None:
    for field in range(imapread.FIELDS):
        assert isinstance(imapread.text(octets, field), bytes)
        assert isinstance(imapread.first_local(octets, field), bytes)
