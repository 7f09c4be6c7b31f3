"""Reading: columns by one query, messages as prefix and content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.db.blobs import new_name
from posthouse.mail.content import MemoryContent
from posthouse.store import content, read
from posthouse.store.content import BlobContent
from posthouse.store.read import Column, Message
from posthouse.store.uids import ALL


class NoBlobs:
    async def read(self, name: str, offset: int, length: int) -> bytes:
        raise AssertionError("nothing here lies in a blob")


class OneBlob:
    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    async def read(self, name: str, offset: int, length: int) -> bytes:
        return self.octets[offset : offset + length]


def test_fetch_answers_in_uid_order_whatever_was_asked(store: Any) -> None:
    account = store.account()
    for size in (10, 20, 30, 40):
        store.deposit(account, size=size)
    mailbox = store.mailbox(account).id
    rows = read.fetch(
        store.tx, account, mailbox, [(4, 4), (1, 2), (9, 9)], [Column.UID, Column.SIZE, Column.ENVELOPE]
    )
    assert rows == [(1, 10, b"(envelope)"), (2, 20, b"(envelope)"), (4, 40, b"(envelope)")]


@pytest.mark.parametrize(
    ("columns", "tables"),
    [
        ([Column.UID, Column.EMAIL, Column.SIZE], []),
        ([Column.UID, Column.ENVELOPE], ["email"]),
        ([Column.UID, Column.PREFIX, Column.HEAD], ["email", "content"]),
        ([Column.UID, Column.BODY], ["email", "content", "content_body"]),
    ],
)
def test_fetch_touches_no_more_than_it_needs(store: Any, columns: list[Column], tables: list[str]) -> None:
    # given
    account = store.account()
    store.deposit(account)
    # when
    with store.tx.watched() as queries:
        read.fetch(store.tx, account, store.mailbox(account).id, ALL, columns)
    # then
    words = next(sql.split() for sql, _ in queries if "placement" in sql)
    assert [name for name in ("email", "content", "content_body") if name in words] == tables


def test_fetch_sees_nothing_of_another_account(store: Any) -> None:
    account, other = store.account(1), store.account(2)
    store.deposit(account)
    assert read.fetch(store.tx, other, store.mailbox(account).id, ALL, [Column.UID]) == []
    email = store.number("SELECT email FROM placement")
    assert read.open_message(store.tx, NoBlobs(), other, email) is None


def test_a_message_is_its_prefix_and_the_content(store: Any) -> None:
    # given
    account = store.account()
    store.deposit(account, content_id=store.content(b"A: b\r\n\r\n", b"body"))
    # when
    ((uid, message),) = read.messages(store.tx, NoBlobs(), account, store.mailbox(account).id, ALL)
    again = read.open_message(store.tx, NoBlobs(), account, store.number("SELECT email FROM placement"))
    # then
    assert uid == 1
    assert message.head == b"Received: here\r\nA: b\r\n\r\n"
    assert message.data == again.data == b"Received: here\r\nA: b\r\n\r\nbody"
    assert message.size == len(message.data)


def test_a_large_message_stays_in_its_blob_until_read(store: Any) -> None:
    account = store.account()
    content.put(store.tx, 800, b"A: b\r\n\r\n", None, size=500_000, hash=b"h" * 32, blob=new_name())
    store.deposit(account, content_id=800)
    ((_, message),) = read.messages(store.tx, NoBlobs(), account, store.mailbox(account).id, ALL)
    assert message.head == b"Received: here\r\nA: b\r\n\r\n"
    assert message.size == 500_016
    assert message.data is None


@given(
    prefix=st.binary(max_size=20),
    head=st.binary(max_size=20),
    body=st.binary(max_size=40),
    offset=st.integers(0, 90),
    length=st.integers(0, 90),
    large=st.booleans(),
)
async def test_reading_any_slice_is_slicing_the_whole(
    prefix: bytes, head: bytes, body: bytes, offset: int, length: int, large: bool
) -> None:
    inside = head + body
    message = Message(
        prefix, BlobContent(OneBlob(inside), "x", head, len(inside)) if large else MemoryContent(inside)
    )
    whole = prefix + inside
    assert await message.read(offset, length) == whole[offset : offset + length]
    assert b"".join([chunk async for chunk in message.chunks(offset)]) == whole[offset:]
