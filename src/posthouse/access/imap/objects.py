"""Object identifiers (RFC 8474): names that no rename, copy or move changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from posthouse.store import threads

if TYPE_CHECKING:
    from posthouse.access.imap.state import User
    from posthouse.mail.envelope import AccountId

_THREAD = re.compile("T([0-9a-f]{1,15})")


def mailbox_id(id: int) -> str:
    """MAILBOXID of the mailbox with this id."""
    return f"F{id:x}"


def thread_id(thread: int) -> str:
    """THREADID of the emails of this thread."""
    return f"T{thread:x}"


async def know_threads(user: User, account: AccountId) -> None:
    """See to it that every email of the account has its thread: those of older versions have none yet."""
    if await user.read(lambda reader: threads.incomplete(reader, account)):
        while await user.write(lambda tx: threads.complete(tx, account), account, long=True):
            pass


async def emails_of_thread(user: User, account: AccountId, id: str) -> frozenset[int]:
    """The emails whose THREADID is `id`; none where it is no such id. Threads must be known."""
    found = _THREAD.fullmatch(id)
    if found is None:
        return frozenset()
    thread = int(found[1], 16)
    return frozenset(await user.read_much(lambda reader: threads.members(reader, account, thread)))


def email_id(email: int) -> str:
    """EMAILID of the email with this id."""
    return f"M{email:x}"
