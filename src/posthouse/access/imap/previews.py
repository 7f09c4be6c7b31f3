"""PREVIEW: how a message begins, found out once and kept, or by the indexer beforehand (RFC 8970).

Of a message that lies in a blob nothing is found out for a client that said LAZY.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from posthouse.mail.text import preview
from posthouse.store import previews, read
from posthouse.store.content import from_row
from posthouse.store.read import Column, Message
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.db import Reader

_BATCH = 50
"""Messages whose bodies are held at once."""
_COLUMNS = (
    Column.UID, Column.EMAIL, Column.PREFIX, Column.CONTENT_SIZE, Column.HEAD, Column.BLOB, Column.BODY,
)  # fmt: skip


async def found_out(
    user: User, selected: Selected, indexes: Sequence[int], *, lazy: bool
) -> dict[int, str | None]:
    """The previews of some messages, by email; None with `lazy` where it would take long."""
    found: dict[int, str | None] = {}
    for start in range(0, len(indexes), _BATCH):
        for _, email, prefix, *columns in await _read(user, selected, indexes[start : start + _BATCH]):
            message = Message(prefix, from_row(user.services.blobs, *columns))
            if lazy and message.data is None:
                found[email] = None
            else:
                root = await user.structures.of(email, message)
                found[email] = await preview(message, root, previews.CHARACTERS)
    account, texts = selected.account, {email: text for email, text in found.items() if text is not None}
    if texts:
        user.services.database.write_later(lambda tx: previews.keep(tx, account, texts), (account,))
    return found


async def _read(user: User, selected: Selected, indexes: Sequence[int]) -> list[tuple[Any, ...]]:
    ranges = ranges_of(selected.view.uids[index] for index in indexes)
    account, mailbox = selected.account, selected.mailbox

    def query(reader: Reader) -> list[tuple[Any, ...]]:
        return read.fetch(reader, account, mailbox, ranges, _COLUMNS)

    return await user.read_much(query)
