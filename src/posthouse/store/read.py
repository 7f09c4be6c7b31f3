"""Reading messages: columns of many at once, and one message as content.

One query per command: `fetch` joins what the wanted columns need and nothing else, so that FETCH ENVELOPE
never sees a head and header fields never a body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.mail.content import CHUNK, Content, MemoryContent
from posthouse.store.content import from_row
from posthouse.store.uids import Ranges, conditions, listed

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.db.blobs import Blobs
    from posthouse.mail.envelope import AccountId


class Column(Enum):
    """What can be asked of a message; the value is where it lies. Flags are asked of a `snapshot`."""

    UID = "p.uid"
    EMAIL = "p.email"
    SIZE = "p.size"
    SAVED = "p.saved"
    """Seconds since 1970; None in mail that came before this was kept: take the internal date."""
    ARRIVED = "e.arrived"
    THREAD = "e.thread"
    ENVELOPE = "e.envelope"
    BODYSTRUCTURE = "e.bodystructure"
    PREFIX = "e.prefix"
    CONTENT = "e.content"
    HEAD = "c.head"
    """Without the prefix, which stands before it."""
    CONTENT_SIZE = "c.size"
    BLOB = "c.blob"
    BODY = "b.body"
    PREVIEW = "v.text"
    """None where it has not been found out yet."""

    __hash__ = object.__hash__


def fetch(
    reader: Reader, account: AccountId, mailbox: int, ranges: Ranges, columns: Sequence[Column]
) -> list[tuple[Any, ...]]:
    """The columns of each message in `ranges` (UIDs), by ascending UID; `Column.UID` is to be the first.

    With heads or bodies, ask for a hundred messages or so at a time.
    """
    tables = {column.value[0] for column in columns}
    joins = ""
    if tables - {"p"}:
        joins = " JOIN email e ON e.account = p.account AND e.id = p.email"
    if tables & {"c", "b"}:
        joins += " JOIN content c ON c.id = e.content"
    if "v" in tables:
        joins += " LEFT JOIN preview v ON v.account = p.account AND v.email = p.email"
    if "b" in tables:
        joins += " LEFT JOIN content_body b ON b.content = c.id"
    wanted = ", ".join(column.value for column in columns)
    rows: list[tuple[Any, ...]] = []
    queries = 0
    for condition, some in conditions(ranges, "p.uid"):
        rows += reader.all(
            f"SELECT {wanted} FROM placement p{joins}"
            f" WHERE p.account = ? AND p.mailbox = ? AND {condition} ORDER BY p.uid",
            (account, mailbox, *some),
        )
        queries += 1
    if queries > 1:
        rows.sort(key=lambda row: row[0])
    return rows


class Message:
    """A stored message as its reader sees it: prefix and content as one, itself a `Content`."""

    __slots__ = ("content", "head", "prefix", "size")

    def __init__(self, prefix: bytes, content: Content) -> None:
        self.prefix = prefix
        self.content = content
        self.head = prefix + content.head
        self.size = len(prefix) + content.size

    @property
    def data(self) -> bytes | None:
        """All octets where they are in memory already, else None."""
        return self.prefix + self.content.data if isinstance(self.content, MemoryContent) else None

    async def read(self, offset: int, length: int) -> bytes:
        before = len(self.prefix)
        if offset >= before:
            return await self.content.read(offset - before, length)
        first = self.prefix[offset : offset + length]
        if len(first) == length:
            return first
        return first + await self.content.read(0, length - len(first))

    async def chunks(self, offset: int = 0) -> AsyncIterator[bytes]:
        before = len(self.prefix)
        for start in range(offset, before, CHUNK):
            yield self.prefix[start : start + CHUNK]
        async for chunk in self.content.chunks(max(0, offset - before)):
            yield chunk


class Fetched(NamedTuple):
    uid: int
    message: Message


_WHOLE = (Column.UID, Column.PREFIX, Column.CONTENT_SIZE, Column.HEAD, Column.BLOB, Column.BODY)


def messages(reader: Reader, blobs: Blobs, account: AccountId, mailbox: int, ranges: Ranges) -> list[Fetched]:
    """Whole messages by ascending UID; what is large stays in its blob until it is read."""
    return [
        Fetched(uid, Message(prefix, from_row(blobs, size, head, blob, body)))
        for uid, prefix, size, head, blob, body in fetch(reader, account, mailbox, ranges, _WHOLE)
    ]


def open_message(reader: Reader, blobs: Blobs, account: AccountId, email: int) -> Message | None:
    """One message by its email id, wherever it lies; None when it is gone."""
    row = reader.one(
        "SELECT e.prefix, c.size, c.head, c.blob, b.body FROM email e JOIN content c ON c.id = e.content"
        " LEFT JOIN content_body b ON b.content = c.id WHERE e.account = ? AND e.id = ?",
        (account, email),
    )
    return None if row is None else Message(row[0], from_row(blobs, *row[1:]))


def following(
    reader: Reader, account: AccountId, mailbox: int, uid: int, limit: int
) -> list[tuple[int, int, int]]:
    """UID, email and size of the next messages of a mailbox from `uid` on, by UID."""
    return reader.all(
        "SELECT uid, email, size FROM placement WHERE account = ? AND mailbox = ? AND uid >= ?"
        " ORDER BY uid LIMIT ?",
        (account, mailbox, uid, limit),
    )


def count_between(reader: Reader, account: AccountId, mailbox: int, uids: tuple[int, int]) -> int:
    """How many messages a mailbox has with UIDs from the first of `uids` to the one before the second."""
    row = reader.one(
        "SELECT count(*) FROM placement WHERE account = ? AND mailbox = ? AND uid >= ? AND uid < ?",
        (account, mailbox, *uids),
    )
    return 0 if row is None else int(row[0])


def count_placed(reader: Reader, account: AccountId) -> int:
    """How many messages the mailboxes of the account hold, each counted in each."""
    row = reader.one("SELECT count(*) FROM placement WHERE account = ?", (account,))
    return 0 if row is None else int(row[0])


def emails(reader: Reader, account: AccountId, mailbox: int, uids: tuple[int, int]) -> list[int]:
    """The emails of these messages, by UID."""
    rows = reader.all(
        "SELECT email FROM placement WHERE account = ? AND mailbox = ? AND uid >= ? AND uid < ? ORDER BY uid",
        (account, mailbox, *uids),
    )
    return [email for (email,) in rows]


def existing(reader: Reader, account: AccountId, emails: Sequence[int]) -> set[int]:
    """Those of `emails` that the account still has."""
    found: set[int] = set()
    for condition, some in listed(emails, "id"):
        rows = reader.all(f"SELECT id FROM email WHERE account = ? AND {condition}", (account, *some))
        found.update(id for (id,) in rows)
    return found


def count(reader: Reader, account: AccountId) -> int:
    """How many messages the account has, each once however often it was copied."""
    row = reader.one("SELECT count(*) FROM email WHERE account = ?", (account,))
    return 0 if row is None else int(row[0])
