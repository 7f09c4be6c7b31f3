"""Mail that is not as it should be is read as its sender meant it, and told in a form clients can parse.

The cases were compared with Dovecot 2.3; where it reads them otherwise, the reason stands beside them.
"""

from __future__ import annotations

import pytest

from posthouse.mail import imapform, mailboxes
from posthouse.mail.content import end_of_head
from posthouse.mail.mime import Part, scan
from posthouse.mail.parameters import LEXEMES_LIMIT, without_comments
from posthouse.mail.section import parse_section, ranges


def outline(part: Part) -> str:
    """The tree, with the size of each body that is no multipart."""
    if part.type == "multipart":
        return f"{part.subtype}[{' '.join(map(outline, part.parts))}]"
    inner = f"<{outline(part.message)}>" if part.message is not None else ""
    return f"{part.type}/{part.subtype}{inner}:{part.size}"


def octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("latin-1")


def head(boundary: str, kind: str = "mixed") -> str:
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n"


TEXT = "Content-Type: text/plain\n\n"
LETTER = "Content-Type: message/rfc822\n\n"

BOUNDARIES = {
    "no closing delimiter": (
        head("b") + f"--b\n{TEXT}one\n--b\n{TEXT}two\n",
        "mixed[text/plain:3 text/plain:5]",
    ),
    "nothing but text": (head("b") + "just text\n", "mixed[]"),
    "nothing but a closing delimiter": (head("b") + "--b--\n", "mixed[]"),
    # Dovecot shows an empty multipart, in which nobody can read the text.
    "no boundary": ("Content-Type: multipart/mixed\n\n--b\n\nx\n", "text/plain:10"),
    "an empty boundary": (head('""') + "--\n\nx\n----\n", "text/plain:15"),
    "the same nested": (
        head("b") + "--b\n" + head("b") + f"--b\n{TEXT}one\n--b--\n\n--b\n{TEXT}two\n--b--\n",
        "mixed[mixed[text/plain:3] text/plain:3]",
    ),
    "the outer is the beginning of the inner": (
        head("b") + "--b\n" + head("bb") + "--bb\n\none\n--bb--\n\n--b\n\ntwo\n--b--\n",
        "mixed[mixed[text/plain:3] text/plain:3]",
    ),
    "the inner is the beginning of the outer": (
        head("bb") + "--bb\n" + head("b") + "--b\n\none\n--b--\n\n--bb\n\ntwo\n--bb--\n",
        "mixed[mixed[text/plain:3] text/plain:3]",
    ),
    "the inner's end begins as the outer": (
        head("b-") + "--b-\n" + head("b") + "--b\n\none\n--b--\n--b-\n\ntwo\n--b---\n",
        "mixed[mixed[text/plain:3] text/plain:3]",
    ),
    "the inner is never closed": (
        head("out") + "--out\n" + head("in") + "--in\n\none\n--out\n\ntwo\n--out--\n",
        "mixed[mixed[text/plain:3] text/plain:3]",
    ),
    "white space behind it": (
        head("b") + "--b   \n\none\n--b \t\n\ntwo\n--b--  \nend\n",
        "mixed[text/plain:3 text/plain:3]",
    ),
    "quoted specials": (head('"a b=c?(d)"') + "--a b=c?(d)\n\none\n--a b=c?(d)--\n", "mixed[text/plain:3]"),
    "a quoted pair": (head('"a\\\\b"') + "--a\\b\n\none\n--a\\b--\n", "mixed[text/plain:3]"),
    # RFC 2046 §5.1.1: it cannot end in a space. Dovecot finds no part.
    "a space at its end": (head('"ab "') + "--ab\n\nx\n--ab--\n", "mixed[text/plain:1]"),
    # Dovecot takes it for `----`, as the token ends there, and so the last line for another part.
    "specials unquoted": (head("----=_P:2") + "------=_P:2\n\nx\n------=_P:2--\n", "mixed[text/plain:1]"),
    "in another charset (RFC 2231)": (
        head("").replace("boundary=", "boundary*=us-ascii''a%2Bb") + "--a+b\n\none\n--a+b--\n",
        "mixed[text/plain:3]",
    ),
    "hyphens": (head("--") + "----\n\none\n----\n\ntwo\n------\n", "mixed[text/plain:3 text/plain:3]"),
    "longer than allowed": (
        head("b" * 150) + f"--{'b' * 150}\n\nx\n--{'b' * 150}--\n",
        "mixed[text/plain:1]",
    ),
    "parts behind the end": (head("b") + "--b\n\none\n--b--\n--b\n\nghost\n--b--\n", "mixed[text/plain:3]"),
    "preamble and epilogue": (head("b") + "pre\n--b\n\none\n--b--\npost\n", "mixed[text/plain:3]"),
}

PARTS = {
    "a letter without a body": ("Content-Type: text/html\n", "text/html:0"),
    "an empty part": (head("b") + "--b\n\n--b\n\ntwo\n--b--\n", "mixed[text/plain:0 text/plain:3]"),
    "a part of a header alone": (
        head("b") + "--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n",
        "mixed[text/html:0 text/plain:3]",
    ),
    "a header that a delimiter ends": (
        head("b") + "--b\nContent-Type: text/html\nX: y\n--b\n\ntwo\n--b--\n",
        "mixed[text/html:0 text/plain:3]",
    ),
    "a line that is no field": (
        head("b") + "--b\ngarbage\nContent-Type: text/html\n\nx\n--b--\n",
        "mixed[text/html:1]",
    ),
    # Dovecot counts the line end before the delimiter as the inner letter's.
    "a nested letter without a body": (
        head("b") + f"--b\n{LETTER}Subject: y\n--b\n\nx\n--b--\n",
        "mixed[message/rfc822<text/plain:0>:10 text/plain:1]",
    ),
    "a nested multipart that the outer one ends": (
        head("b") + f"--b\n{LETTER}Subject: y\n" + head("c") + "--c\n\nx\n--b--\n",
        "mixed[message/rfc822<mixed[text/plain:1]>:65]",
    ),
    "a digest": (
        head("b", "digest") + "--b\n\nSubject: y\n\none\n--b\nContent-Type: text/plain\n\ntwo\n--b--\n",
        "digest[message/rfc822<text/plain:3>:17 text/plain:3]",
    ),
    "a letter in UTF-8 inside (RFC 6532)": (
        head("b") + "--b\nContent-Type: message/global\n\nSubject: y\n\none\n--b--\n",
        "mixed[message/global<text/plain:3>:17]",
    ),
}

TYPES = {
    # RFC 2045 §5.2: what cannot be read is text/plain. Dovecot says "" "", which says nothing.
    "": "text/plain",
    "foo": "text/plain",
    "text": "text/plain",
    "text/": "text/plain",
    "; charset=utf-8": "text/plain",
    # A NUL cannot be told: this would look like a letter within a letter, without its envelope.
    "messag\0e/rfc822": "text/plain",
    "te\0xt/\0": "text/plain",
    "text / html": "text/html",
    "TEXT/HTML": "text/html",
    "text/html, text/plain": "text/html",
    "text/html charset=utf-8": "text/html",
    "(a comment) text/html (another)": "text/html",
    "(a (nested) one) text/html": "text/html",
}

PARAMETERS = {
    "text/plain; charset=utf-8;": {b"charset": b"utf-8"},
    "text/plain;; charset=utf-8": {b"charset": b"utf-8"},
    "text/plain; charset": {},
    "text/plain; charset=": {b"charset": b""},
    "text/plain ; charset = utf-8": {b"charset": b"utf-8"},
    'text/plain; name="abc': {b"name": b"abc"},
    'text/plain; name="\xe4.txt"': {b"name": b"\xe4.txt"},
    "application/pdf; name=\xe4.pdf": {b"name": b"\xe4.pdf"},
    "application/pdf; name=a; name=b": {b"name": b"a"},
    'text/plain (c); charset="x(y)" (d)': {b"charset": b"x(y)"},
    '(a (b) "c) text/plain; charset=utf-8': {},
    "application/x; name*0=a; name*1=b; x=y": {b"name": b"ab", b"x": b"y"},
    "application/x; name*1=b; name*0=a": {b"name": b"ab"},
    "application/x; name*0*=utf-8''%C3%A4; name*1=b%; name*2*=%20": {b"name*": b"utf-8''%C3%A4b%25%20"},
    "application/x; name=plain; name*=utf-8''%C3%A4": {b"name": b"plain", b"name*": b"utf-8''%C3%A4"},
}


@pytest.mark.parametrize(("text", "expected"), BOUNDARIES.values(), ids=BOUNDARIES)
def test_boundaries(text: str, expected: str) -> None:
    assert outline(scan(octets(text))) == expected


@pytest.mark.parametrize(("text", "expected"), PARTS.values(), ids=PARTS)
def test_parts(text: str, expected: str) -> None:
    assert outline(scan(octets(text))) == expected


@pytest.mark.parametrize(("value", "expected"), TYPES.items())
def test_types(value: str, expected: str) -> None:
    part = scan(octets(f"Content-Type: {value}\n\nx"))
    assert f"{part.type}/{part.subtype}" == expected


@pytest.mark.parametrize(("value", "expected"), PARAMETERS.items())
def test_parameters(value: str, expected: dict[bytes, bytes]) -> None:
    found: dict[bytes, bytes] = {}
    for name, text in scan(octets(f"Content-Type: {value}\n\nx")).params:
        found.setdefault(name, text)
    assert found == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("attachment; filename=x", "attachment"),
        ('"attachment"; filename=x', "attachment"),
        ("; filename=x", "attachment"),
        ("(c) inline (d); filename=x", "inline"),
    ],
)
def test_dispositions(value: str, kind: str) -> None:
    part = scan(octets(f"Content-Disposition: {value}\n\nx"))
    assert (part.disposition, part.disposition_parameters) == (kind, ((b"filename", b"x"),))


def test_a_disposition_that_says_nothing_is_none() -> None:
    assert scan(b"Content-Disposition:\r\n\r\nx").disposition == ""


@pytest.mark.parametrize("value", ["base64", "BASE64", '"base64"', "base64 (c)", " base64;"])
def test_transfer_encodings(value: str) -> None:
    assert scan(octets(f"Content-Transfer-Encoding: {value}\n\nx")).encoding == "base64"


def test_comments_are_no_languages() -> None:
    part = scan(b"Content-Language: en (English), de-AT ,fr\r\n\r\nx")
    assert b'("en" "de-AT" "fr")' in imapform.bodystructure(part)


def test_a_nested_letter_that_is_not_there_has_an_envelope_all_the_same() -> None:
    # given a part whose header a delimiter ends (RFC 9051 §9: body-type-msg)
    text = head("b") + "--b\nContent-Type: message/rfc822\n--b--\n"
    nil = b"NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL"
    assert imapform.body(scan(octets(text))) == (
        b'(("message" "rfc822" NIL NIL NIL "7bit" 0 (%b)'
        b' ("text" "plain" NIL NIL NIL "7bit" 0 0) 0) "mixed")' % nil
    )


def test_a_message_with_bare_line_feeds_has_a_header_and_a_body() -> None:
    text = b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"
    assert text[end_of_head(text) :] == b"--b\n\none\n--b--\n"
    assert outline(scan(text)) == "mixed[text/plain:3]"
    assert ranges(scan(text), parse_section("TEXT")) == [(end_of_head(text), len(text))]


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"A: b\r\n\r\nx\n\ny", 8),
        (b"A: b\n\nx\r\n\r\ny", 6),
        (b"A: b\n\r\nx", 7),
        (b"\r\nx\r\n\r\n", 2),
        (b"\nx", 1),
        (b"A: b\r\n", 6),
        (b"", 0),
    ],
)
def test_the_header_ends_with_the_first_empty_line(data: bytes, length: int) -> None:
    assert end_of_head(data) == length
    assert scan(data).body_start == length


def test_address_lists_of_nested_letters_are_read_up_to_a_limit() -> None:
    # given more nested letters than anybody sends, each with as long a list as is kept
    text = head("b") + "".join(
        f"--b\n{LETTER}Subject: {n}\nTo: {'(a comment) ' * 2_000}a@b.test\n\nx\n" for n in range(9)
    )
    written = imapform.bodystructure(scan(octets(text)))
    # then the first ones have theirs, and all the rest
    assert written.count(b'"b.test"') == 4
    assert [b'"%d"' % number in written for number in range(9)] == [True] * 9


def test_what_is_no_list_of_addresses_is_looked_at_up_to_a_limit() -> None:
    found = mailboxes.parse(b"a@b.test (c), " + b"(c) " * mailboxes.TOKENS_LIMIT + b", d@e.test")
    assert [mailbox.local for mailbox in found] == [b"a"]
    assert without_comments(b"(c) " * LEXEMES_LIMIT + b"x").strip() == b""
