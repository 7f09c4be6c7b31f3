"""Export: the mail of one account as a new Maildir or a directory of mbox files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from posthouse.accounts.problem import no_such
from posthouse.admin.exchange.folders import Folder, Item, lf_form
from posthouse.store import mailboxes, read, snapshot
from posthouse.store.mailboxes import Listed, MailboxNotFound
from posthouse.store.read import Column, Fetched, Message
from posthouse.store.uids import Ranges, ranges_of

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
    try:
        view = await database.read(partial(snapshot.take, account=account, mailbox=id))
    except MailboxNotFound:  # deleted meanwhile
        return 0
    progress.stage(listed.name, len(view))
    target.begin(
        Folder(listed.name, id, None, listed.subscribed, mailbox.uidvalidity, mailbox.uidnext, len(view))
    )
    written = 0
    for start in range(0, len(view), AT_ONCE):
        entries = map(view.entry, range(start, min(start + AT_ONCE, len(view))))
        marks = {entry.uid: (entry.flags, tuple(entry.keywords.split())) for entry in entries}
        ranges = ranges_of(marks)

        def look(reader: Reader, ranges: Ranges = ranges) -> list[tuple[float, Fetched]]:
            arrived = read.fetch(reader, account, id, ranges, [Column.UID, Column.ARRIVED])
            messages = read.messages(reader, blobs, account, id, ranges)
            return [(date, fetched) for (_, date), fetched in zip(arrived, messages, strict=True)]

        for arrived, (uid, message) in await database.read(look):
            target.add(Item((), None, uid, *marks[uid], arrived), lf_form(await _whole(message)))
            written += 1
        progress.advance(len(marks))
    target.end()
    return written


async def _whole(message: Message) -> bytes:
    if message.data is not None:
        return message.data
    return b"".join([piece async for piece in message.chunks()])
