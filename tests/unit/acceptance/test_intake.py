"""An intake holds a letter in memory while it is small, and keeps no more than its head of a large one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.acceptance.intake import HeadTooLong, Intake, SpooledContent
from posthouse.mail.content import HEAD_LIMIT, INLINE_LIMIT, MemoryContent
from posthouse.mail.mime import scan

HEAD = b"From: alice@north.test\r\nSubject: hello\r\n\r\n"


def take(spool: Path, data: bytes, pieces: list[int], edit=None):
    intake = Intake(spool, edit)
    start = 0
    for length in pieces:
        intake.feed(data[start : start + length])
        start += length
    intake.feed(data[start:])
    return intake.finish()


async def octets(content) -> bytes:
    return b"".join([chunk async for chunk in content.chunks()])


def test_a_small_letter_touches_no_disk(tmp_path: Path) -> None:
    content = take(tmp_path, HEAD + b"hello\r\n", [3, 20, 19])

    assert isinstance(content, MemoryContent)
    assert content.data == HEAD + b"hello\r\n"
    assert content.head == HEAD
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.integers(1, 30_000), max_size=8), body=st.integers(INLINE_LIMIT, 200_000))
async def test_a_large_letter_is_the_same_in_whatever_pieces_it_comes(tmp_path_factory, pieces, body) -> None:
    spool = tmp_path_factory.mktemp("spool")
    data = HEAD + b"0123456789abcde\r\n" * (body // 17)

    content = take(spool, data, pieces)

    assert isinstance(content, SpooledContent)
    assert await octets(content) == data
    assert (content.head, content.size) == (HEAD, len(data))
    assert content.digest == hashlib.blake2b(data, digest_size=32).digest()
    assert content.part.lines == scan(data).lines


async def test_reading_a_spooled_letter_begins_where_one_says(tmp_path: Path) -> None:
    data = HEAD + bytes(range(48, 58)) * 10_000
    content = take(tmp_path, data, [1000])

    assert await content.read(len(HEAD) + 5, 4) == b"5678"
    assert await content.read(len(data) - 2, 10) == b"89"


@pytest.mark.parametrize("body", [b"small\r\n", b"large line\r\n" * 9000])
async def test_the_head_is_edited_once_and_the_body_never(tmp_path: Path, body: bytes) -> None:
    calls = []

    def edit(head: bytes) -> bytes:
        calls.append(head)
        return b"Date: now\r\n" + head

    content = take(tmp_path, HEAD + body, [10, 100], edit)

    assert calls == [HEAD]
    assert content.head == b"Date: now\r\n" + HEAD
    assert await octets(content) == b"Date: now\r\n" + HEAD + body


def test_a_head_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    intake = Intake(tmp_path)
    line = b"X-Long: " + b"x" * 1000 + b"\r\n"
    for _ in range(HEAD_LIMIT // len(line)):
        intake.feed(line)

    with pytest.raises(HeadTooLong):
        intake.feed(line)

    assert list(tmp_path.iterdir()) == []


def test_what_is_discarded_leaves_no_file(tmp_path: Path) -> None:
    intake = Intake(tmp_path)
    intake.feed(HEAD + b"x" * (2 * INLINE_LIMIT))
    assert len(list(tmp_path.iterdir())) == 1

    intake.discard()

    assert list(tmp_path.iterdir()) == []
