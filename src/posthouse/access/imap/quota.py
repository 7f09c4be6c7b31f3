"""GETQUOTA and GETQUOTAROOT: what an account stores, and what it may (RFC 9208).

An account is a quota root: the user's own is the empty name, that of another is its address, and is told
to those who may read one of its mailboxes. Its one resource is STORAGE, in units of 1024 octets; an account
without a quota has none. Quotas are set by administrators, not over IMAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthouse.access.imap.state import User, completed
from posthouse.access.places import find, foreign, place
from posthouse.accounts import account as accounts
from posthouse.accounts.usage import usage
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.syntax import mailbox_octets, quoted

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

_UNIT = 1024
_NO_ROOT = Result("NO", "There is no such quota root", "NONEXISTENT")


async def get_quota(user: User, command: commands.GetQuota) -> Result:
    """GETQUOTA (RFC 9208 §4.1.1)."""
    account = await user.read(lambda reader: _account(reader, user, command.root))
    if account is None:
        return _NO_ROOT
    return completed("GETQUOTA", untagged=await _quota(user, account))


def _account(reader: Reader, user: User, root: str) -> AccountId | None:
    """Whose root it is, where the user may know of it."""
    if not root:
        return user.account
    readable = {other.account for other in foreign(reader, user) if "r" in other.rights}
    owner = accounts.find(reader, root)
    return owner.id if owner is not None and owner.id in readable else None


async def get_quota_root(user: User, command: commands.GetQuotaRoot) -> Result:
    """GETQUOTAROOT (RFC 9208 §4.1.2): of one's own mailboxes, there or not, and others that there are."""
    at = await place(user, command.mailbox)
    account = user.account
    if at.account != account:
        account = (await user.read(lambda reader: find(reader, user, at, "r"))).account
    root = quoted((await _root(user, account)).encode())
    said = b"* QUOTAROOT %b %b\r\n" % (mailbox_octets(at.full, user.enabled), root)
    return completed("GETQUOTAROOT", untagged=said + await _quota(user, account))


async def _root(user: User, account: AccountId) -> str:
    if account == user.account:
        return ""
    owner = await user.read(lambda reader: accounts.by_id(reader, account))
    return "" if owner is None else owner.address


async def _quota(user: User, account: AccountId) -> bytes:
    root = quoted((await _root(user, account)).encode())
    default = user.services.mailbox_size_limit
    used, limit = await user.read(lambda reader: usage(reader, account, default))
    # A unit that has been begun is used; one that is not whole cannot be.
    storage = b"STORAGE %d %d" % (-(-used // _UNIT), limit // _UNIT) if limit else b""
    return b"* QUOTA %b (%b)\r\n" % (root, storage)
