"""GETQUOTA and GETQUOTAROOT: what the account stores, and what it may (RFC 9208).

There is one quota root, the empty name: the account. Its one resource is STORAGE, in units of 1024
octets; an account without a quota has none. Quotas are set by administrators, not over IMAP.
"""

from __future__ import annotations

from posthouse.access.imap.state import User, completed
from posthouse.accounts.usage import usage
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store import mailboxes
from posthouse.store.mailboxes import MailboxNotFound, canonical_name

_UNIT = 1024
_NO_ROOT = Result("NO", "There is no such quota root", "NONEXISTENT")


async def get_quota(user: User, command: commands.GetQuota) -> Result:
    """GETQUOTA (RFC 9208 §4.2.1)."""
    if command.root:
        return _NO_ROOT
    return completed("GETQUOTA", untagged=await _quota(user))


async def get_quota_root(user: User, command: commands.GetQuotaRoot) -> Result:
    """GETQUOTAROOT (RFC 9208 §4.2.2), of a mailbox that there is."""
    account, name = user.account, canonical_name(command.mailbox)
    if not await user.read(lambda reader: mailboxes.exists(reader, account, name)):
        raise MailboxNotFound(f"There is no mailbox {name}")
    root = b'* QUOTAROOT %b ""\r\n' % mailbox_octets(name, user.enabled)
    return completed("GETQUOTAROOT", untagged=root + await _quota(user))


async def _quota(user: User) -> bytes:
    account, default = user.account, user.services.mailbox_size_limit
    used, limit = await user.read(lambda reader: usage(reader, account, default))
    # A unit that has been begun is used; one that is not whole cannot be.
    storage = b"STORAGE %d %d" % (-(-used // _UNIT), limit // _UNIT) if limit else b""
    return b'* QUOTA "" (%b)\r\n' % storage
