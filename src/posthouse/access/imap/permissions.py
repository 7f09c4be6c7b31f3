"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS: who may do what in a mailbox (RFC 4314 §3).

An identifier is `anyone`, or the address of an account; one without a domain is of the user's own. With
`-` before it its rights are taken away. The owner has every right, and no entry can change that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.access.imap.messages import owner
from posthouse.access.imap.state import User, completed
from posthouse.access.places import Found, Place, find, find_any, place
from posthouse.accounts import account as accounts
from posthouse.accounts import usage
from posthouse.accounts.account import State
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.syntax import mailbox_octets, quoted
from posthouse.store import rights
from posthouse.store.mailboxes import MailboxError
from posthouse.store.rights import ANYONE, EVERY, How, Rights, TooManyEntries

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

_ANYONE = "anyone"
_OWNER = Result("NO", "The owner has all rights, always", "CANNOT")
_NOT_AN_IDENTIFIER = Result("BAD", "That cannot be an identifier")


class NoSuchUser(MailboxError):
    """No account has this address."""


class TooLong(MailboxError):
    """The list has no room for more."""

    code = "LIMIT"


class _Identifier(NamedTuple):
    grantee: AccountId
    negative: bool


async def set_acl(user: User, command: commands.SetAcl) -> Result:
    """SETACL (RFC 4314 §3.1)."""
    try:
        letters = rights.parse(command.rights)
    except rights.BadRights as problem:
        return Result("BAD", str(problem))
    return await _change(user, command.mailbox, command.identifier, How(command.how), letters, "SETACL")


async def delete_acl(user: User, command: commands.DeleteAcl) -> Result:
    """DELETEACL (RFC 4314 §3.2)."""
    return await _change(user, command.mailbox, command.identifier, How.REPLACE, rights.NONE, "DELETEACL")


async def _change(user: User, mailbox: str, identifier: str, how: How, letters: Rights, name: str) -> Result:
    if not _is_identifier(identifier):
        return _NOT_AN_IDENTIFIER
    at = await place(user, mailbox)
    heard = await user.read(lambda reader: _who_hears(reader, user, identifier))

    def closure(tx: Tx) -> tuple[int, int]:
        found = find(tx, user, at, "a")
        meant = _meant(tx, user, identifier)
        if meant.grantee == found.account:
            return 0, 0
        try:
            modseq = rights.change(tx, found.account, found.mailbox.id, *meant, how, letters)
        except TooManyEntries:
            raise TooLong("The mailbox has too many entries") from None
        # RFC 5465 §5.4: it is as if the mailbox had come to him, or gone.
        return modseq, usage.advance(tx, heard) if heard == meant.grantee else 0

    modseq, theirs = await user.write(closure, *owner(at), *(() if heard is None else (heard,)))
    if not modseq:
        return _OWNER
    user.tell(modseq, at.account)
    if theirs and heard is not None:
        user.tell(theirs, heard)
    if _is_anyone(identifier):
        user.tell(int(user.services.clock.now() * 1_000_000), ANYONE)
    return completed(name, untagged=await user.look_at_rights())


def _who_hears(reader: Reader, user: User, identifier: str) -> AccountId | None:
    """The one account whose rights change; None where it is all, or none."""
    try:
        grantee = _meant(reader, user, identifier).grantee
    except NoSuchUser:
        return None
    return None if grantee == ANYONE else grantee


def _is_identifier(text: str) -> bool:
    """What can be prepared by SASLprep (RFC 4314 §3), as far as an address can be."""
    return bool(text.removeprefix("-")) and text.isprintable()


def _is_anyone(identifier: str) -> bool:
    return identifier.removeprefix("-").lower() == _ANYONE


def _meant(reader: Tx | Reader, user: User, identifier: str) -> _Identifier:
    """The account that is named. Raises NoSuchUser."""
    name, negative = identifier.removeprefix("-"), identifier.startswith("-")
    if _is_anyone(identifier):
        return _Identifier(ANYONE, negative)
    try:
        address = canonical(parse_address(name if "@" in name else f"{name}@{user.login.rpartition('@')[2]}"))
    except AddressError as problem:
        raise NoSuchUser(f"{name} is no user: {problem}") from None
    account = accounts.find(reader, address)
    if account is None or account.state is State.RETIRED:
        raise NoSuchUser(f"There is no user {address}")
    return _Identifier(account.id, negative)


async def get_acl(user: User, command: commands.GetAcl) -> Result:
    """GETACL (RFC 4314 §3.3): the owner first."""
    at = await place(user, command.mailbox)
    pairs = await user.read(lambda reader: _pairs(reader, user, at))
    listed = b"".join(b" %b %b" % (quoted(name.encode()), quoted(text.encode())) for name, text in pairs)
    said = b"* ACL %b%b\r\n" % (mailbox_octets(at.full, user.enabled), listed)
    return completed("GETACL", untagged=said)


def _pairs(reader: Reader, user: User, at: Place) -> list[tuple[str, str]]:
    found = find(reader, user, at, "a")
    whose = accounts.by_id(reader, found.account)
    pairs = [] if whose is None else [(whose.address, rights.show(EVERY))]
    for entry in rights.entries(reader, found.account, found.mailbox.id):
        account = accounts.by_id(reader, entry.grantee) if entry.grantee != ANYONE else None
        if entry.grantee != ANYONE and (account is None or account.state is State.RETIRED):
            continue
        name = _ANYONE if account is None else account.address
        pairs.append(("-" * entry.negative + name, rights.show(entry.rights)))
    return pairs


async def list_rights(user: User, command: commands.ListRights) -> Result:
    """LISTRIGHTS (RFC 4314 §3.4): each right by itself, but the owner's, which he always has."""
    if not _is_identifier(command.identifier):
        return _NOT_AN_IDENTIFIER
    at = await place(user, command.mailbox)

    def look(reader: Reader) -> bool:
        found = find(reader, user, at, "a")
        return _meant(reader, user, command.identifier).grantee == found.account

    every = rights.show(EVERY)
    words = [every] if await user.read(look) else ["", *every]
    said = b"* LISTRIGHTS %b %b %b\r\n" % (
        mailbox_octets(at.full, user.enabled),
        quoted(command.identifier.encode()),
        b" ".join([quoted(word.encode()) for word in words]),
    )
    return completed("LISTRIGHTS", untagged=said)


async def my_rights(user: User, command: commands.MyRights) -> Result:
    """MYRIGHTS (RFC 4314 §3.5)."""
    at = await place(user, command.mailbox)
    found: Found = await user.read(lambda reader: find_any(reader, user, at, "lrikxa"))
    return completed("MYRIGHTS", untagged=myrights_line(user, at.full, found.rights))


def myrights_line(user: User, name: str, held: Rights) -> bytes:
    """The untagged MYRIGHTS of a mailbox."""
    return b"* MYRIGHTS %b %b\r\n" % (mailbox_octets(name, user.enabled), quoted(rights.show(held).encode()))
