"""Object identifiers (RFC 8474): names for mailboxes and messages that no rename, copy or move changes.

THREADID is NIL always: threads are not kept (§5.2).
"""

from __future__ import annotations


def mailbox_id(id: int) -> str:
    """MAILBOXID of the mailbox with this id."""
    return f"F{id:x}"


def email_id(email: int) -> str:
    """EMAILID of the email with this id."""
    return f"M{email:x}"
