"""The MIME structure: offsets are those of the octets, whatever the chunks, however broken the letter."""

from __future__ import annotations

import email
import email.message
from collections.abc import Iterator

import pytest

from posthouse.mail import mime
from posthouse.mail.content import end_of_head
from posthouse.mail.mime import Part, Scanner, scan


def letter(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


NESTED = letter(
    """From: alice@north.test
Content-Type: multipart/mixed;
 boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8

plain
--inner
Content-Type: text/html

<p>html</p>

--inner--
--outer
Content-Type: message/rfc822

Subject: inside
Content-Type: text/plain

inside
twice
--outer
Content-Type: application/pdf; name="a;b.pdf"
Content-Disposition: attachment;
 filename*0="long na";
 filename*1="me.pdf"
Content-Transfer-Encoding: BASE64
Content-ID: <1@x>

AAAA
--outer--
epilogue
"""
)

LETTERS = [
    b"",
    b"\r\n",
    b"\n",
    b"no header end",
    letter("Subject: x\n\nbody\nlines\n"),
    letter("\nbody only\n"),
    NESTED,
    NESTED.replace(b"\r\n", b"\n"),
    NESTED.replace(b"--outer--", b"--outer"),
    NESTED[: NESTED.index(b"AAAA")],
    letter("Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\nA: b\n--x\n\n--x--\n--x\n"),
    letter("Content-Type: multipart/mixed; boundary=x\n\nno part at all\n"),
    letter("Content-Type: multipart/mixed\n\n--x\n\na\n--x--\n"),
    letter("Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nb\n--x--\n"),
    letter(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=xy\n\n"
        "--xy\n\na\n--x\n\nb\n--xy--\n--x--"
    ),
    letter("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: deep"),
]


def walk(part: Part) -> Iterator[Part]:
    yield part
    for child in part.parts:
        yield from walk(child)
    if part.message is not None:
        yield from walk(part.message)


def facts(part: Part) -> list[object]:
    names = [name for name in Part.__slots__ if name not in ("parts", "message")]
    return [
        [[getattr(one, name) for name in names], len(one.parts), one.message is None] for one in walk(part)
    ]


def test_parts_are_where_they_are() -> None:
    # when
    root = scan(NESTED)
    # then
    alternative, message, attachment = root.parts
    bodies = [NESTED[part.body_start : part.end] for part in (*alternative.parts, message, attachment)]
    assert bodies == [
        b"plain",
        b"<p>html</p>\r\n",
        b"Subject: inside\r\nContent-Type: text/plain\r\n\r\ninside\r\ntwice",
        b"AAAA",
    ]
    assert message.message is not None
    assert NESTED[message.message.body_start : message.message.end] == b"inside\r\ntwice"
    assert (message.lines, message.message.lines) == (4, 1)
    assert root.end == len(NESTED)


def test_content_fields_are_read() -> None:
    attachment = scan(NESTED).parts[2]
    assert (attachment.type, attachment.subtype) == ("application", "pdf")
    assert attachment.params == ((b"name", b"a;b.pdf"),)
    assert attachment.disposition == "attachment"
    assert attachment.disposition_parameters == ((b"filename", b"long name.pdf"),)
    assert attachment.encoding == "base64"
    assert attachment.id == b"<1@x>"


def test_encoded_continuations_stay_decodable() -> None:
    # given one segment that is percent-encoded and one that is not
    head = letter("Content-Type: a/b; name*0*=utf-8''%C3%BC; name*1=\"50%.pdf\"\n\n")
    # then the join says which octets were meant (RFC 2231 §4.1)
    assert scan(head).params == ((b"name*", b"utf-8''%C3%BC50%25.pdf"),)


@pytest.mark.parametrize("data", LETTERS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000])
def test_chunks_of_any_size_come_to_the_same(data: bytes, size: int) -> None:
    scanner = Scanner()
    for start in range(0, len(data), size):
        scanner.feed(data[start : start + size])
    assert facts(scanner.finish()) == facts(scan(data))


@pytest.mark.parametrize("data", LETTERS)
def test_every_part_lies_within_its_parent_and_counts_its_line_feeds(data: bytes) -> None:
    root = scan(data)
    assert (root.header_start, root.end) == (0, len(data))
    for part in walk(root):
        assert 0 <= part.header_start <= part.body_start <= part.end <= len(data)
        assert part.lines == data.count(b"\n", part.body_start, part.end)
        assert part.header == data[part.header_start : part.body_start]
        for child in [*part.parts, *([part.message] if part.message else [])]:
            assert part.body_start <= child.header_start
            assert child.end <= part.end


def test_the_standard_library_finds_the_same_tree() -> None:
    def tree(part: Part) -> list[object]:
        children = [part.message] if part.message else part.parts
        return [f"{part.type}/{part.subtype}", *map(tree, children)]

    def their_tree(message: email.message.Message) -> list[object]:
        children = message.get_payload() if message.is_multipart() else []
        assert isinstance(children, list)
        return [message.get_content_type(), *map(their_tree, children)]  # type: ignore[arg-type]

    assert tree(scan(NESTED)) == their_tree(email.message_from_bytes(NESTED))


def test_an_outer_boundary_ends_everything_inside() -> None:
    data = letter(
        "Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n"
        "--in\n\nnever closed\n--out\n\nnext\n--out--\n"
    )
    first, second = scan(data).parts
    assert data[first.parts[0].body_start : first.parts[0].end] == b"never closed"
    assert data[second.body_start : second.end] == b"next"


def test_a_boundary_ends_a_header_without_an_empty_line() -> None:
    data = letter(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n--x\n\nb\n--x--\n"
    )
    first, second = scan(data).parts
    assert (first.subtype, first.size) == ("html", 0)
    assert data[second.body_start : second.end] == b"b"


def test_nesting_is_bounded() -> None:
    depth = mime.NESTING_LIMIT * 3
    data = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n" % (level, level)
        for level in range(depth)
    )
    deepest, levels = scan(data), 0
    while deepest.parts:
        deepest, levels = deepest.parts[0], levels + 1
    assert levels == mime.NESTING_LIMIT
    assert (deepest.type, deepest.end) == ("application", len(data))


def test_the_number_of_parts_is_bounded_and_nothing_is_lost() -> None:
    data = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\na\r\n" * (
        mime.PARTS_LIMIT + 50
    )
    root = scan(data)
    assert len(root.parts) == mime.PARTS_LIMIT - 1
    assert root.end == len(data)


def test_a_header_beyond_the_limit_is_cut_but_offsets_stay_exact() -> None:
    # given a part with a header longer than is kept, and its letter fed in chunks
    long = b"X: " + b"y" * (mime.PART_HEADER_LIMIT * 2) + b"\r\n\r\n"
    data = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + long + b"body\r\n--x--\r\n"
    scanner = Scanner()
    for start in range(0, len(data), 4096):
        scanner.feed(data[start : start + 4096])
    # when
    root = scanner.finish()
    # then
    (part,) = root.parts
    assert len(part.header) == mime.PART_HEADER_LIMIT
    assert not part.header_complete
    assert data[part.body_start : part.end] == b"body"
    assert facts(root) == facts(scan(data))


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"A: b\r\n\r\nx", 8),
        (b"A: b\n\nx\r\n\r\n", 6),
        (b"A: b\r\n\n\r\nx", 7),
        (b"A: b\n\r\n\nx", 7),
        (b"\r\nx\r\n\r\n", 2),
        (b"\nx", 1),
        (b"A: b\r\n", 6),
    ],
)
def test_the_head_ends_with_the_first_empty_line_however_it_is_written(data: bytes, end: int) -> None:
    assert end_of_head(data) == end
    assert scan(data).body_start == end
