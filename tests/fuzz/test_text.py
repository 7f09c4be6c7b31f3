"""Whatever a letter holds: it has a text, which can be stored, and is the same however it is cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail import charset, imapform
from posthouse.mail.casefold import Finder, Folding, fold
from posthouse.mail.markup import Markup, to_text
from posthouse.mail.mime import scan
from posthouse.mail.text import body_text, header_text, part_name, surely_lacks

CHARSETS = st.sampled_from(
    [
        "utf-8", "utf-7", "utf-16", "utf-32", "us-ascii", "iso-8859-1", "windows-1251", "koi8-r", "gb2312",
        "gb18030", "hz-gb-2312", "big5", "euc-kr", "iso-2022-kr", "shift_jis", "iso-2022-jp", "euc-jp",
        "tis-620", "x-unknown", "", "punycode", "idna", "hex", "rot13", "undefined", "unicode_escape", "\x00",
    ]
)  # fmt: skip
ENCODINGS = st.sampled_from(["7bit", "8bit", "base64", "quoted-printable", "x-uuencode", ""])
OCTETS = st.lists(
    st.binary(max_size=12)
    | st.sampled_from([b"=C3", b"=\r\n", b"+2AA-", b"\x1b$B", b"~{", b"\x0e", b"8J+S", b"\r\n", b"\0"]),
    max_size=30,
).map(b"".join)
MARKUP = st.lists(
    st.sampled_from(
        [
            "<p>", "</p>", "<b", ">", "<", "<!--", "-->", "<script>", "</script>", "<style", "&amp;", "&#",
            "&", "&#x110000;", '"', "'", "<img alt=", "<a href='x>", "text", " ", "\n", "=", "<!d>",
        ]
    )
    | st.text(max_size=3),
    max_size=40,
).map("".join)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(OCTETS, CHARSETS, ENCODINGS, st.sampled_from(["plain", "html", "calendar"]))
def test_every_letter_has_a_text(octets: bytes, name: str, encoding: str, subtype: str) -> None:
    head = (
        f"Subject: =?{name}?q?=C3=FF?=\r\n"
        f"Content-Type: text/{subtype}; charset={name}; name*={name}''%FF%\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()
    root = scan(head + octets)
    text = "".join(body_text(head + octets, root))
    for said in (text, header_text(head), part_name(root), fold(text)):
        # It can be stored and looked up: no NUL, no half of a surrogate pair.
        assert "\0" not in said
        said.encode()
    imapform.bodystructure(root)


@settings(max_examples=500, deadline=None)
@given(OCTETS, CHARSETS, st.integers(1, 7))
def test_a_charset_is_read_alike_in_pieces(octets: bytes, name: str, size: int) -> None:
    decoder = charset.Decoder(name)
    pieces = [decoder.decode(octets[at : at + size], False) for at in range(0, len(octets), size)]
    text = "".join([*pieces, decoder.decode(b"", True)])
    if charset.codec(name):
        assert text == charset.decode(octets, name)
    text.encode()


@settings(max_examples=500, deadline=None)
@given(MARKUP, st.integers(1, 9))
def test_markup_is_read_alike_in_pieces(document: str, size: int) -> None:
    markup = Markup()
    pieces = [markup.feed(document[at : at + size], False) for at in range(0, len(document), size)]
    assert "".join([*pieces, markup.feed("", True)]) == to_text(document)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.integers(0, 50), st.integers(1, 6), st.integers(1, 5))
def test_a_piece_of_a_text_is_found_in_it(text: str, start: int, length: int, size: int) -> None:
    # Composed characters aside, of which a piece is no piece.
    text = fold(text)
    sought = text[start : start + length]
    finder = Finder([sought])
    for at in range(0, len(text), size):
        finder.feed(text[at : at + size], False)
    finder.feed("", True)
    assert finder.found == {sought}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=3000), st.integers(1, 2000))
def test_folding_in_pieces_is_folding(text: str, size: int) -> None:
    folding = Folding()
    pieces = [folding.feed(text[at : at + size], False) for at in range(0, len(text), size)]
    assert "".join([*pieces, folding.feed("", True)]) == fold(text)


@settings(max_examples=300, deadline=None)
@given(OCTETS, st.sampled_from(["text", "needle", "a", "c3", "<", "0"]), CHARSETS, ENCODINGS)
def test_what_is_surely_not_there_is_not(octets: bytes, sought: str, name: str, encoding: str) -> None:
    data = (
        f"Content-Type: text/plain; charset={name}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    )
    data += octets
    if surely_lacks(data, sought):
        assert sought not in fold("".join(body_text(data, scan(data))))
