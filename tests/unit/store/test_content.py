"""Content is there for as long as something refers to it, and no longer."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.db import DatabaseAway
from posthouse.db.blobs import new_name
from posthouse.mail.content import CHUNK, MemoryContent
from posthouse.store import changes, content
from posthouse.store.content import BlobContent, NoSuchContent
from posthouse.store.uids import ALL


class BlobInMemory:
    def __init__(self, **blobs: bytes) -> None:
        self.blobs = blobs
        self.asked: list[tuple[int, int]] = []

    async def read(self, name: str, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        return self.blobs[name][offset : offset + length]


def _expunge(store: Any, account: Any) -> None:
    id = store.mailbox(account).id
    changes.expunge(store.tx, store.contents, account, id, ALL, deleted_only=False)


def test_content_goes_with_the_last_copy(store: Any) -> None:
    # given one letter for two accounts
    first, second = store.account(1), store.account(2)
    letter = store.content()
    store.deposit(first, content_id=letter)
    store.deposit(second, content_id=letter)
    # when one deletes it
    _expunge(store, first)
    # then the other still has it
    assert content.find(store.tx, BlobInMemory(), letter).head == b"Subject: x\r\n\r\n"
    # and it goes with the other's
    _expunge(store, second)
    with pytest.raises(NoSuchContent):
        content.find(store.tx, BlobInMemory(), letter)
    assert store.number("SELECT count(*) FROM content_body") == 0


def test_content_that_the_queue_needs_stays_until_the_queue_lets_go(store: Any) -> None:
    account = store.account()
    letter = store.content()
    store.deposit(account, content_id=letter)
    store.queued.add(letter)
    _expunge(store, account)
    assert store.number("SELECT count(*) FROM content") == 1
    store.queued.clear()
    assert store.contents.release(store.tx, [letter]) == 1
    assert store.number("SELECT count(*) FROM content") == 0


def test_the_name_of_a_blob_is_remembered_when_its_row_goes(store: Any) -> None:
    account = store.account()
    name, other = new_name(), new_name()
    content.put(store.tx, 700, b"A: b\r\n\r\n", None, size=900_000, hash=b"h" * 32, blob=name)
    store.deposit(account, content_id=700)
    assert content.named(store.tx, [name, other]) == {name}
    assert store.tx.all("SELECT * FROM blob_garbage") == []
    _expunge(store, account)
    assert store.tx.all("SELECT * FROM blob_garbage") == [(name, store.now)]
    assert content.named(store.tx, [name, other]) == set()


def test_an_object_that_waited_for_a_day_gets_no_row_any_more(store: Any) -> None:
    name = new_name()
    late = f"{int(name[:12], 16) - 25 * 3_600_000:012x}{name[12:]}"
    with pytest.raises(DatabaseAway):
        content.put(store.tx, 700, b"A: b\r\n\r\n", None, size=900_000, hash=b"h" * 32, blob=late)
    assert store.number("SELECT count(*) FROM content") == 0


def test_releasing_many_at_once_keeps_those_in_use(store: Any) -> None:
    account = store.account()
    letters = [store.content() for _ in range(70)]
    for letter in letters[::7]:
        store.deposit(account, content_id=letter)
    assert store.contents.release(store.tx, letters) == 60
    assert store.number("SELECT count(*) FROM content_body") == 10


def test_inline_content_is_in_memory(store: Any) -> None:
    letter = store.content(b"A: b\r\n\r\n", b"body")
    found = content.find(store.tx, BlobInMemory(), letter)
    assert isinstance(found, MemoryContent)
    assert found.data == b"A: b\r\n\r\nbody"
    assert found.head == b"A: b\r\n\r\n"


async def test_a_blob_is_read_in_slices_and_its_head_from_the_row() -> None:
    # given
    octets = b"A: b\r\n\r\n" + bytes(range(256)) * 700
    blobs = BlobInMemory(name=octets)
    large = BlobContent(blobs, "name", octets[:8], len(octets))
    # when, then
    assert await large.read(2, 6) == octets[2:8]
    assert blobs.asked == []
    assert await large.read(6, 10) == octets[6:16]
    assert await large.read(len(octets) - 3, 100) == octets[-3:]
    pieces = [piece async for piece in large.chunks(5)]
    assert b"".join(pieces) == octets[5:]
    assert max(map(len, pieces)) <= CHUNK


async def test_a_blob_that_is_too_short_is_an_error_not_an_endless_loop() -> None:
    large = BlobContent(BlobInMemory(name=b"x" * 100), "name", b"x", 200_000)
    with pytest.raises(EOFError):
        [piece async for piece in large.chunks()]
