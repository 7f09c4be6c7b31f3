"""Export: the mail of one account as a new Maildir or a directory of mbox files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from posthouse.accounts.problem import no_such
from posthouse.admin.exchange.folders import Folder, Item, lf_form
from posthouse.store import mailboxes, read
from posthouse.store.mailboxes import Listed
from posthouse.store.read import Column, Message
from posthouse.store.uids import ALL, ranges_of

if TYPE_CHECKING:
    from posthouse.admin.exchange.bring import Progress
    from posthouse.db import Database, Reader
    from posthouse.db.blobs import Blobs
    from posthouse.mail.envelope import AccountId

AT_ONCE: Final = 50
"""Messages read at a time."""


class Target(Protocol):
    """Where mail is written. For each folder `begin`, `add` by ascending UID, `end`; at last `close`."""

    def begin(self, folder: Folder) -> None: ...

    def add(self, item: Item, data: bytes) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


async def take(
    target: Target,
    database: Database,
    blobs: Blobs,
    account: AccountId,
    only: Sequence[str],
    progress: Progress,
) -> dict[str, int]:
    """Write the mailboxes of an account, or `only` some of them; messages of each. A message that is
    expunged meanwhile is left out.

    Raises NoSuchEntry where one of `only` is missing, OSError, DatabaseError.
    """
    counts: dict[str, int] = {}
    listed = await database.read(lambda reader: mailboxes.listing(reader, account))
    names = [one.name for one in listed if one.mailbox is not None]
    for name in only:
        if name not in names:
            raise no_such("mailbox", name, names)
    for one in listed:
        if one.mailbox is not None and (not only or one.name in only):
            counts[one.name] = await _folder(target, database, blobs, account, one, progress)
    target.close()
    return counts


async def _folder(
    target: Target, database: Database, blobs: Blobs, account: AccountId, listed: Listed, progress: Progress
) -> int:
    mailbox = listed.mailbox
    assert mailbox is not None
    id = mailbox.id
    uids = [
        uid
        for (uid,) in await database.read(lambda reader: read.fetch(reader, account, id, ALL, [Column.UID]))
    ]
    progress.stage(listed.name, len(uids))
    target.begin(
        Folder(listed.name, id, None, listed.subscribed, mailbox.uidvalidity, mailbox.uidnext, len(uids))
    )
    written = 0
    for start in range(0, len(uids), AT_ONCE):
        ranges = ranges_of(uids[start : start + AT_ONCE])

        def look(reader: Reader, ranges: list[tuple[int, int]] = ranges) -> list[tuple[Item, Message]]:
            columns = [Column.UID, Column.FLAGS, Column.KEYWORDS, Column.ARRIVED]
            marks = read.fetch(reader, account, id, ranges, columns)
            messages = dict(read.messages(reader, blobs, account, id, ranges))
            return [
                (Item((), None, uid, flags, tuple(keywords.split()), arrived), messages[uid])
                for uid, flags, keywords, arrived in marks
            ]

        for item, message in await database.read(look):
            target.add(item, lf_form(await _whole(message)))
            written += 1
        progress.advance(min(AT_ONCE, len(uids) - start))
    target.end()
    return written


async def _whole(message: Message) -> bytes:
    if message.data is not None:
        return message.data
    return b"".join([piece async for piece in message.chunks()])
