"""Surrogates: internationalized messages as programs get them that know no UTF-8 in headers (RFC 6857).

A message is stored as it came, and stays so; what differs is made when it is sent (`mail.downgrade`). Who has
to know the sizes beforehand (LIST of POP3) looks each message of a mailbox over once, for octets beyond ASCII
in its header and its BODYSTRUCTURE; UIDs only grow, so one number per mailbox says how far that has come, and
only what needs a surrogate is written down. No delivery does anything for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from posthouse.mail import downgrade
from posthouse.mail.content import CHUNK
from posthouse.mail.downgrade import Edit
from posthouse.mail.mime import Part, Scanner, scan
from posthouse.store.content import from_row
from posthouse.store.read import Column, Message, fetch

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.db.blobs import Blobs
    from posthouse.mail.envelope import AccountId
    from posthouse.store.uids import Ranges

_STATUS_OCTETS = 256 * 1024
"""Of a delivery status that is looked into."""
_SIGNS = (Column.UID, Column.PREFIX, Column.HEAD, Column.BODYSTRUCTURE)
_WHOLE = (Column.UID, Column.PREFIX, Column.CONTENT_SIZE, Column.HEAD, Column.BLOB, Column.BODY)


class Known(NamedTuple):
    """What has been found out of a mailbox."""

    mark: int
    """Messages with a UID below have been looked at."""
    sizes: Mapping[int, int]
    """Octets of each surrogate, by UID."""


NOTHING = Known(0, {})


class Surrogate:
    """A message with some of its octets replaced."""

    __slots__ = ("_edits", "_message", "size")

    def __init__(self, message: Message, edits: list[Edit]) -> None:
        self._message = message
        self._edits = edits
        self.size = message.size + sum(len(edit.octets) - (edit.end - edit.start) for edit in edits)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its octets, piece by piece."""
        position = 0
        for start, end, octets in chain(self._edits, [Edit(self._message.size, 0, b"")]):
            while position < start:
                chunk = await self._message.read(position, min(CHUNK, start - position))
                if not chunk:
                    raise EOFError("a stored message is shorter than its row says")
                yield chunk
                position += len(chunk)
            if octets:
                yield octets
            position = end


def known(reader: Reader, account: AccountId, mailbox: int) -> Known:
    """What has been found out of a mailbox; nothing, at first."""
    rows = reader.all(
        "SELECT m.uid, s.uid, s.size FROM surrogate_mark m"
        " LEFT JOIN surrogate s ON s.account = m.account AND s.mailbox = m.mailbox"
        " WHERE m.account = ? AND m.mailbox = ?",
        (account, mailbox),
    )
    return Known(rows[0][0] if rows else 0, {uid: size for _, uid, size in rows if uid is not None})


def suspects(reader: Reader, account: AccountId, mailbox: int, ranges: Ranges) -> list[int]:
    """UIDs of those messages that may need a surrogate. Ask for a thousand at a time."""
    return [
        uid
        for uid, prefix, head, structure in fetch(reader, account, mailbox, ranges, _SIGNS)
        if not (prefix.isascii() and head.isascii() and _is_plain(structure))
    ]


def open_one(
    reader: Reader, blobs: Blobs, account: AccountId, mailbox: int, uid: int
) -> tuple[Message, bool] | None:
    """A message, and whether its parts are to be looked at; None when it is gone."""
    columns = (*_WHOLE, Column.BODYSTRUCTURE)
    for _, prefix, *row, structure in fetch(reader, account, mailbox, ((uid, uid),), columns):
        return Message(prefix, from_row(blobs, *row)), not _is_plain(structure)
    return None


def _is_plain(structure: bytes) -> bool:
    """Whether, by its BODYSTRUCTURE, headers of parts are ASCII and none is a delivery status."""
    return structure.isascii() and b'-status"' not in structure


async def surrogate_of(message: Message, *, parts: bool) -> Surrogate | None:
    """What stands for a message; None where it can go out as it is. Raises DatabaseError, EOFError.

    `parts`: its structure is to be found for it, for which a message in a blob is read to its end.
    """
    root = await _structure(message) if parts else None
    statuses = {} if root is None else await _statuses(message, downgrade.status_parts(root))
    edits = downgrade.edits(message.head, root, statuses)
    return Surrogate(message, edits) if edits else None


async def _structure(message: Message) -> Part:
    if message.data is not None:
        return scan(message.data)
    scanner = Scanner()
    async for chunk in message.chunks():
        scanner.feed(chunk)
    return scanner.finish()


async def _statuses(message: Message, parts: Iterable[Part]) -> dict[int, bytes]:
    return {
        part.body_start: await message.read(part.body_start, part.size)
        for part in parts
        if part.size <= _STATUS_OCTETS
    }


def keep(
    tx: Tx, account: AccountId, mailbox: int, mark: int, sizes: Mapping[int, int], gone: Iterable[int]
) -> None:
    """Write down what has been found out up to `mark`; messages that are `gone` need nothing any more."""
    if tx.one("SELECT 1 FROM mailbox WHERE account = ? AND id = ?", (account, mailbox)) is None:
        return
    tx.run(
        "INSERT INTO surrogate_mark (account, mailbox, uid) VALUES (?, ?, ?)"
        " ON CONFLICT (account, mailbox) DO UPDATE SET uid = excluded.uid"
        " WHERE surrogate_mark.uid < excluded.uid",
        (account, mailbox, mark),
    )
    tx.many(
        "INSERT INTO surrogate (account, mailbox, uid, size) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account, mailbox, uid) DO NOTHING",
        [(account, mailbox, uid, size) for uid, size in sizes.items()],
    )
    tx.many(
        "DELETE FROM surrogate WHERE account = ? AND mailbox = ? AND uid = ?",
        [(account, mailbox, uid) for uid in gone],
    )


def forget(tx: Tx, account: AccountId, mailbox: int) -> None:
    """The mailbox has gone."""
    for table in ("surrogate", "surrogate_mark"):
        tx.run(f"DELETE FROM {table} WHERE account = ? AND mailbox = ?", (account, mailbox))
