"""What can go wrong with a database, in words its callers act on.

`reply_to` is what SMTP says to each; the other protocols have their own words.
"""

from __future__ import annotations

import errno

from posthouse.mail import reply
from posthouse.mail.reply import Reply


class DatabaseError(Exception):
    """Any failure of the database; nothing of the closure's work remains."""


class DatabaseAway(DatabaseError):
    """Out of reach, locked for too long, shut down, or broken; later may be better."""


class NotPermitted(DatabaseAway):
    """The files of the database are another user's."""


class Damaged(DatabaseAway):
    """What is there is no database, or broken."""


class NewerDatabase(DatabaseError):
    """The database was made by a newer Posthouse."""


class DiskFull(DatabaseError):
    """No space for the write. Works again once there is."""


class Overloaded(DatabaseError):
    """More is waiting to be written than the backlog may hold."""


class StoreElsewhere(DatabaseError):
    """The mail of this database has moved to another, or is still being brought here."""


class NoSuchBlob(DatabaseError):
    """There is no object of this name."""


class UniqueViolation(DatabaseError):
    """A row with this key exists already."""


class UndefinedTable(DatabaseError):
    """There is no such table: the database is new."""


def reason_is_space(number: int | None) -> bool:
    """Whether an errno says that there is no room on the disk."""
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def reply_to(error: BaseException) -> Reply:
    """The SMTP reply for a write that failed (RFC 5321 §4.2.3): always a temporary one."""
    if isinstance(error, DiskFull):
        return reply.INSUFFICIENT_STORAGE
    if isinstance(error, Overloaded):
        return reply.OVERLOADED
    if isinstance(error, DatabaseAway):
        return reply.DATABASE_AWAY
    return reply.LOCAL_ERROR
