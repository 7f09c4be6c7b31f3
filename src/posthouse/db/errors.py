"""What can go wrong with a database, in words its callers act on.

`reply_to` is what SMTP says to each; the other protocols have their own words.
"""

from __future__ import annotations

from posthouse.mail import reply
from posthouse.mail.reply import Reply


class DatabaseError(Exception):
    """Any failure of the database; nothing of the closure's work remains."""


class DatabaseAway(DatabaseError):
    """Out of reach, locked for too long, shut down, or broken; later may be better."""


class DiskFull(DatabaseError):
    """No space for the write. Works again once there is."""


class Overloaded(DatabaseError):
    """More is waiting to be written than the backlog may hold."""


class UniqueViolation(DatabaseError):
    """A row with this key exists already. Inside a transaction the transaction goes on."""


def reply_to(error: BaseException) -> Reply:
    """The SMTP reply for a write that failed (RFC 5321 §4.2.3): always a temporary one."""
    if isinstance(error, DiskFull):
        return reply.INSUFFICIENT_STORAGE
    if isinstance(error, Overloaded):
        return reply.OVERLOADED
    if isinstance(error, DatabaseAway):
        return reply.DATABASE_AWAY
    return reply.LOCAL_ERROR
