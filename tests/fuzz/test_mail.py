"""Whatever octets come: no exception, no endless work, and answers that agree with each other."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail import dates, imapform, mailboxes, parameters
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.mail.codes import explain
from posthouse.mail.content import MemoryContent
from posthouse.mail.header import USUAL, HeaderIndex, remove_fields, unfold
from posthouse.mail.mime import Part, Scanner, scan
from posthouse.mail.section import parse_section, ranges

PIECES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b"Content-Type: multipart/digest;\r\n boundary=\"ab\"\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n",
        b"Content-Language: de\r\nContent-MD5: x==\r\nContent-Location: y\r\nContent-Description: z\r\n",
        b"Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1=\"b\\\"\"\r\n",
        b"From: Alice <a@b.c>, \"x y\" (z) <q@r.s>\r\n",
        b"Content-Type:", b"content-", b"content-id : x\n y\r\n", b"X-other:", b"TO : ", b"boundary=",
        b"Subject: x\r\n", b"Message-ID: <1@2>\r\n",
        b"\r\n--a\r\n", b"\r\n--ab\r\n", b"\r\n--a--\r\n", b"\r\n--ab--\r\n", b"--a", b"--ab", b"--a--",
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"--", b"text", b"\x00", b"\xff\xfe", b"\xc3\xbc",
        b'"', b";", b"=", b"(", b")", b"<", b">", b"@", b":", b",", b"\\",
    ]
)  # fmt: skip
OCTETS = st.lists(PIECES | st.binary(max_size=5), max_size=40).map(b"".join)


def facts(part: Part) -> list[object]:
    children = [*part.parts, *([part.message] if part.message else [])]
    own = [getattr(part, name) for name in Part.__slots__ if name not in ("parts", "message")]
    return [own, *map(facts, children)]


def check(part: Part, data: bytes) -> None:
    assert 0 <= part.header_start <= part.body_start <= part.end <= len(data)
    assert part.lines == data.count(b"\n", part.body_start, part.end)
    for child in [*part.parts, *([part.message] if part.message else [])]:
        assert part.body_start <= child.header_start
        assert child.end <= part.end
        check(child, data)


@settings(max_examples=600, deadline=None)
@given(OCTETS, st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_chunks_of_any_size_come_to_the_same_as_the_whole(data: bytes, sizes: list[int]) -> None:
    whole = scan(data)
    check(whole, data)
    scanner = Scanner()
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        scanner.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert facts(scanner.finish()) == facts(whole)


@settings(max_examples=400, deadline=None)
@given(OCTETS)
def test_what_fetch_returns_is_well_formed_and_its_sizes_are_those_of_the_octets(data: bytes) -> None:
    root = scan(data)
    envelope = imapform.envelope(HeaderIndex(root.header))
    for written in (envelope, imapform.bodystructure(root), imapform.body(root)):
        assert balanced(written)
    check_body(parsed(imapform.body(root)))
    head = HeaderIndex(MemoryContent(data).head)
    assert imapform.bodystructure_of(head, data) == imapform.bodystructure(root)
    assert ranges(root, parse_section("")) == [(0, len(data))]
    for numbers, part in leaves(root):
        found = ranges(root, parse_section(numbers))
        assert found == [(part.body_start, part.end)]


@settings(max_examples=400, deadline=None)
@given(OCTETS)
def test_fields_asked_for_by_name_are_those_that_are_listed(data: bytes) -> None:
    header = HeaderIndex(data)
    for name in (*USUAL, "X-Other"):
        listed = [
            data[start:end] for word, start, end in header.fields if word.lower() == name.lower().encode()
        ]
        assert header.all(name) == [unfold(field.partition(b":")[2]) for field in listed]


def leaves(root: Part) -> list[tuple[str, Part]]:
    if root.type != "multipart":
        return [("1", root)]
    return [(str(number), part) for number, part in enumerate(root.parts, 1)]


def parsed(written: bytes) -> list[Any]:
    """A list of lists, strings, numbers, and None for NIL."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(written):
        match = TOKEN.match(written, position)
        assert match is not None
        token, position = match[0], match.end()
        if token == b"(":
            stack.append([])
        elif token == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif match[1] is not None:
            position += int(match[1])
            stack[-1].append(written[match.end() : position])
        elif token != b" ":
            stack[-1].append(None if token == b"NIL" else int(token) if token.isdigit() else token[1:-1])
    return stack[0][0]


def check_body(body: list[Any]) -> None:
    """RFC 9051 §9: body without extension data."""
    if isinstance(body[0], list):
        *parts, subtype = body
        assert isinstance(subtype, bytes)
        for part in parts:
            check_body(part)
        return
    kind, subtype, parameters, id, description, encoding, octets, *rest = body
    for string in (kind, subtype, encoding):
        assert isinstance(string, bytes)
    assert parameters is None or (parameters and len(parameters) % 2 == 0)
    assert all(value is None or isinstance(value, bytes) for value in (id, description))
    assert isinstance(octets, int)
    if kind == b"message" and subtype in (b"rfc822", b"global"):
        envelope, inner, lines = rest
        assert len(envelope) == 10
        check_body(inner)
        assert isinstance(lines, int)
    elif kind == b"text":
        assert [type(lines) for lines in rest] == [int]
    else:
        assert rest == []


TOKEN = re.compile(rb'[ ]|\(|\)|NIL|\d+|"(?:[^"\\\r\n\x80-\xff\x00]|\\["\\])*"|\{(\d+)\}\r\n')


def balanced(written: bytes) -> bool:
    """Whether `written` is one parenthesized list of IMAP tokens."""
    position = depth = 0
    while position < len(written):
        match = TOKEN.match(written, position)
        if match is None:
            return False
        depth += (match[0] == b"(") - (match[0] == b")")
        position = match.end() + int(match[1] or 0)
        if depth == 0 and position < len(written):
            return False
    return depth == 0 and position == len(written)


@settings(max_examples=400, deadline=None)
@given(OCTETS)
def test_header_parsers_take_anything(data: bytes) -> None:
    header = HeaderIndex(data)
    for name in ("From", "Subject", "Content-Type", ""):
        assert len(header.all(name)) == header.count(name)
    fields = [field for field in header.fields if field[0].lower() != b"from"]
    removed = HeaderIndex(remove_fields(data, ["From"])).fields
    assert [name for name, _, _ in removed] == [name for name, _, _ in fields]
    mailboxes.parse(data)
    text = data.decode("latin-1")
    for value in (dates.parse_date(text), dates.parse_imap_datetime(text)):
        assert value is None or isinstance(value, float)
    parameters.content_type(data)
    parameters.disposition(data)
    parameters.token(data)


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=80)
    | st.from_regex(r"[\"\\ @.a-zü\[\]0-9:]{1,40}@[a-z.\[\]0-9:ü-]{1,30}", fullmatch=True)
)
def test_an_address_is_refused_or_comes_back_as_it_went(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address
    assert canonical(parse_address(canonical(address))) == canonical(address)
    assert len(str(address).encode()) <= 320
    assert not re.search(r"[\x00-\x1f]", str(address))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_reply_is_explained(text: str) -> None:
    assert explain(text).says
