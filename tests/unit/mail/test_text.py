"""The text of a letter is what its reader sees, whatever the encoding, the charset and the size of a part."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable

import pytest

from posthouse.mail.casefold import Folding, fold
from posthouse.mail.content import CHUNK, MemoryContent
from posthouse.mail.mime import scan
from posthouse.mail.text import body_text, header_text, part_headers, part_name, preview, read_body_text
from posthouse.mail.transfer import Decoding, decode

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "8bit": lambda octets: octets,
    "base64": lambda octets: base64.encodebytes(octets).replace(b"\n", b"\r\n"),
    "quoted-printable": lambda octets: quopri.encodestring(octets),
}


def letter(text: str, charset: str, encoding: str, codec: str = "") -> bytes:
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + ENCODINGS[encoding](text.encode(codec or charset))


def said(data: bytes) -> str:
    return "".join(body_text(data, scan(data)))


def folded(data: bytes) -> str:
    folding = Folding()
    pieces = [folding.feed(piece, False) for piece in body_text(data, scan(data))]
    return "".join([*pieces, folding.feed("", True)])


def html(document: str) -> str:
    return " ".join(said(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + document.encode()).split())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("charset", "text", "codec"),
    [
        ("utf-8", "Träume – 梦想", ""),
        ("iso-8859-1", "Träume “so”", "cp1252"),
        ("windows-1251", "сон", ""),
        ("koi8-r", "сон", ""),
        ("koi8-u", "їжак", ""),
        ("gb2312", "朱镕基€", "gb18030"),
        ("gbk", "朱镕基", ""),
        ("gb18030", "梦想𠀀", ""),
        ("big5", "夢想", ""),
        ("iso-2022-jp", "夢想カナ", ""),
        ("shift_jis", "①夢想", "cp932"),
        ("euc-jp", "夢想", ""),
        ("euc-kr", "똠방", "cp949"),
        ("ks_c_5601-1987", "한국어", "euc_kr"),
        ("iso-2022-kr", "한국어", ""),
        ("utf-7", "夢想", ""),
        ("utf-16", "夢想", ""),
        ("utf-16", "夢想", "utf-16-be"),
        ("utf-32", "夢想", "utf-32-be"),
        ("tis-620", "ไทย", ""),
        ("x-unknown", "Träume", "utf-8"),
        ("x-unknown", "Träume", "cp1252"),
        ("us-ascii", "Träume", "cp1252"),
    ],
)
def test_text_in_every_charset_is_read(charset: str, text: str, codec: str, encoding: str) -> None:
    assert said(letter(text, charset, encoding, codec)).strip() == text


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("charset", "word"),
    [
        ("utf-8", "Träume"),
        ("iso-8859-1", "Träume"),
        ("koi8-r", "сон"),
        ("iso-2022-jp", "夢想"),
        ("gb18030", "梦想"),
        ("utf-7", "梦想"),
        ("x-unknown", "Träume"),
    ],
)
def test_a_word_is_found_across_every_cut(charset: str, word: str, encoding: str) -> None:
    # given a text so large that it is decoded in pieces, and words around the places where it is cut
    for shift in range(0, 12, 3):
        line = "x" * 70 + "\r\n"
        filler = line * (5 * CHUNK // len(line))
        text = "y" * shift + "\r\n" + (filler[: CHUNK // 4 * 3] + word) * 6 + filler
        large = folded(letter(text, charset, encoding, "utf-8" if charset == "x-unknown" else ""))
        # then each is there
        assert large.count(fold(word.upper())) == 6


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_cut_of_one_word(encoding: str) -> None:
    # one word alone, moved octet by octet over the first cut
    for shift in range(-8, 9):
        before = "z" * (CHUNK + shift - 40)
        if encoding == "base64":
            before = "z" * ((CHUNK + shift) // 4 * 3)
        text = folded(letter(before + "\r\nnadel\r\n" + "z\r\n" * 200_000, "utf-8", encoding))
        assert " nadel " in text, shift


def test_what_is_no_text_is_not_said_but_its_name_is() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: application/pdf; name=old\r\nContent-Description: what was asked for\r\n"
        b"Content-Disposition: attachment; filename*0*=utf-8''b%C3%A4u; filename*1=me.pdf\r\n\r\nneedle\r\n"
        b'--b\r\nContent-Type: image/png; name="=?utf-8?q?B=C3=A4r?=.png"\r\n\r\nneedle\r\n--b--\r\n'
    )
    assert said(data).split() == ["bäume.pdf", "what", "was", "asked", "for", "Bär.png"]
    assert part_name(scan(data).parts[0]) == "bäume.pdf"


def test_headers_of_nested_letters_are_part_of_the_body() -> None:
    data = (
        b"Subject: outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?s=C3=BC=C3=9F?=\r\n"
        b"Content-Type: text/plain\r\n\r\ninner words\r\n"
    )
    text = said(data)
    assert "Subject: süß" in text
    assert "inner words" in text
    assert "outer" not in text


@pytest.mark.parametrize("charset", ["x-unknown", "punycode", "unicode_escape", "\\x00", "base64", "rot13"])
@pytest.mark.parametrize("size", [10, 400_000])
def test_strange_charsets_do_no_harm(charset: str, size: int) -> None:
    head = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode()
    assert said(head + b"needle " + b"\xff\\u0000 " * (size // 8)).startswith("needle ")


def test_half_a_surrogate_pair_and_nul_are_no_characters() -> None:
    text = said(b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-x\0y+2ADcAA-z")
    assert text.encode("utf-8").decode() == "\ufffdx\ufffdy\U00010000z\n"


def test_a_long_run_of_utf_7_is_not_decoded_again_and_again() -> None:
    # given a run without end, which Python's decoder holds back until it ends
    run = base64.b64encode("梦".encode("utf-16-be") * 300_000)
    text = said(b"Content-Type: text/plain; charset=utf-7\r\n\r\n+" + run.rstrip(b"="))
    assert text.count("梦") > 40_000


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<p>un<b>believ</b>able</p><p>next", "unbelievable next"),
        ("one<br>two<td>three", "one two three"),
        ("a &amp; b &lt;c&gt; &uuml;&#8211;&#x4e2d;", "a & b <c> ü–中"),
        ("a<!-- <b>no</b> -->b<!---->c", "abc"),
        ("a<script>if (1 < 2) no()</script >b<STYLE>no</style>c", "abc"),
        ("a<script>never ends", "a"),
        ("<a href='x>y' title=\"a > b\">link</a>", "link"),
        ("<p title=it's>text</p>", "text"),
        ("<img alt=\"a view\" src=x><img src=y alt='two'>", "a view two"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<!doctype html><?xml?><o:p></o:p>text", "text"),
        ("text<unfinished", "text<unfinished"),
    ],
)
def test_html_is_what_a_reader_sees(document: str, text: str) -> None:
    assert html(document) == text
    # then wherever it is cut
    for shift in range(len(document)):
        padded = "<i>" + "z" * (CHUNK - 3 - shift) + "</i> " + document
        assert html(padded).split(" ", 1)[1:] == [text], shift


def test_hostile_html_takes_no_long_time() -> None:
    for nasty in (
        "<!--",
        '<a "',
        "<a '",
        "<img alt='",
        "<div>",
        "&#",
        "<",
        "<script",
        "<img " + "x alt= " * 9,
    ):
        assert html(nasty * (400_000 // len(nasty))) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ﬁne Ｆull", "fine full"),
        ("a\r\n\tb", "A b"),
        ("中\r\n文", "中文"),
        ("你好，\n世界", "你好，世界"),
        ("テスト\n  です", "テストです"),
        ("Donau\u00addampf", "donaudampf"),
        ("e\u0301", "É"),
    ],
)
def test_equal_when_folded(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_different_when_folded() -> None:
    assert fold("a b") != fold("ab")
    assert fold("中 文") != fold("中文")
    assert fold("the ") not in fold("these")
    assert fold("o") in fold("ö")  # as in i;unicode-casemap: decomposed


def test_folding_in_pieces_is_folding_as_a_whole() -> None:
    text = "Größe\r\n\r\n  中\r\n文 ﬁ e\u0301 \u00ad x" * 400
    whole = fold(text)
    for size in (1500, 2048, 3001):
        folding = Folding()
        pieces = [folding.feed(text[at : at + size], False) for at in range(0, len(text), size)]
        assert "".join([*pieces, folding.feed("", True)]) == whole


async def test_content_that_is_read_in_slices_gives_the_same_text() -> None:
    data = letter("Träume " * 30_000, "utf-8", "quoted-printable")
    pieces = [piece async for piece in read_body_text(MemoryContent(data), scan(data))]
    assert "".join(pieces) == said(data)
    assert max(map(len, pieces)) <= CHUNK


def test_white_space_at_line_ends_is_no_part_of_quoted_printable() -> None:
    # RFC 2045 §6.7 (3), (5), cut anywhere
    encoded, decoded = b"one \t\r\ntwo= \r\nthree=20\r\nfo=3Dur \t \r\n", b"one\r\ntwothree \r\nfo=ur\r\n"
    assert decode(encoded, "quoted-printable") == decoded
    for at in range(len(encoded)):
        decoding = Decoding("quoted-printable")
        assert decoding.decode(encoded[:at], False) + decoding.decode(encoded[at:], True) == decoded


def test_header_text_is_decoded_and_unfolded() -> None:
    head = b"Subject: =?utf-8?q?s=C3=BC?=\r\n =?utf-8?q?=C3=9F?=\r\nX-Raw: \xfc\0\r\n\r\n"
    assert header_text(head) == "Subject: süß\nX-Raw: ü\ufffd"


def test_header_text_has_lines_that_are_no_fields() -> None:
    assert header_text(b"From me\r\nX: y\r\nno field\r\nZ: z\r\nat the end\r\n") == (
        "From me\nX: y\nno field\nZ: z\nat the end"
    )


def test_part_headers_are_those_of_parts_and_not_of_the_letters_inside() -> None:
    head = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"
    data = head % b"a" + b"--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + head % b"b"
    data += b"--b\r\nX: 1\r\n\r\n--b--\r\n--a\r\nX: 2\r\n\r\n--a--\r\n"
    assert sorted(filter(None, part_headers(scan(data)))) == ["Content-Type: message/rfc822", "X: 1", "X: 2"]


def test_reports_within_a_letter_are_text() -> None:
    head = b"Content-Type: multipart/report; boundary=a\r\n\r\n--a\r\n"
    assert "Final-Recipient: x" in said(
        head + b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: x\r\n--a--"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\r\nHello\r\n  world\r\n", "Hello world"),
        (b"\r\n", ""),
        (
            b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
            b"<b>rich</b>\r\n--b\r\n\r\nplain\r\n--b--",
            "plain",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\n"
            b"file\r\n--b\r\nContent-Type: text/html\r\n\r\n<style>x</style><p>shown\r\n--b--",
            "shown",
        ),
        (b"Content-Type: application/pdf\r\n\r\nx", ""),
        (b"\r\n" + b"word " * 100_000, "word word w"),
    ],
)
async def test_a_preview_is_how_the_shown_text_begins(data: bytes, text: str) -> None:
    assert await preview(MemoryContent(data), scan(data), 11) == text
