"""GETMETADATA and SETMETADATA: annotations of mailboxes and of the server (RFC 5464, RFC 9590).

Whoever sees a mailbox and may read, write or insert there gets and sets his own `/private` entries and
gets the `/shared` ones; to set those takes the right `w`. The server's shared entries are set by
administrators. `/private/specialuse` is what the mailbox is for (RFC 6154 §4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from posthouse.access.imap.messages import owner
from posthouse.access.imap.state import User, completed
from posthouse.access.places import Found, NoPermission, Place, find_any, place, require
from posthouse.accounts import account as accounts
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.metadata import Wanted
from posthouse.protocol.imap.search_arguments import stored_search
from posthouse.protocol.imap.searching import FilterCharset, UnknownCharset
from posthouse.protocol.imap.syntax import SyntaxProblem, mailbox_octets, quoted
from posthouse.store import mailboxes, metadata
from posthouse.store.mailboxes import Mailbox, MailboxError, SpecialUse
from posthouse.store.metadata import PRIVATE, SERVER, SHARED, TooManyEntries, ValueTooLarge, Where

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

_TOO_LARGE = Result(
    "NO",
    f"A value has {metadata.VALUE_LIMIT} octets at most",
    f"METADATA MAXSIZE {metadata.VALUE_LIMIT}",
)
_TOO_MANY = Result("NO", "There is no room for more entries", "METADATA TOOMANY")
_ADMIN = "/shared/admin"
"""How to reach the administrator, as a URI (RFC 5464 §3.2.1.1)."""
_FILTER = re.compile("/(?:shared|private)/filters/values/[^/]+")
_SPECIAL_USE = "/private/specialuse"


class BadUse(MailboxError):
    """No mailbox is kept for that."""

    code = "USEATTR"


class NoSearch(MailboxError):
    """A filter would not be one."""


class Annotated(NamedTuple):
    """What was asked for of one mailbox."""

    line: bytes
    """The untagged METADATA; empty where there is nothing to say."""
    longest: int
    """Octets of the longest value that was left out for its length; 0: none was."""


async def get_metadata(user: User, command: commands.GetMetadata) -> Result:
    """GETMETADATA (RFC 5464 §4.2); the empty name is the server."""
    if not command.mailbox:
        where = Where(SERVER, 0, user.account)
        found = await user.read(lambda reader: annotated(reader, user, "", where, None, command.wanted))
        return _got(found)
    at = await place(user, command.mailbox)

    def look(reader: Reader) -> Annotated:
        there = _visible(reader, user, at)
        where = Where(there.account, there.mailbox.id, user.account)
        return annotated(reader, user, at.full, where, there.mailbox, command.wanted)

    return _got(await user.read(look))


def _got(found: Annotated) -> Result:
    code = f"METADATA LONGENTRIES {found.longest}" if found.longest else ""
    return completed("GETMETADATA", code, found.line)


def _visible(reader: Tx | Reader, user: User, at: Place) -> Found:
    """RFC 5464 §3.3: `l`, and one of the rights to do something with the mail."""
    there = find_any(reader, user, at, "rswip")
    require(there.rights, "l", at.full)
    return there


def annotated(
    reader: Reader, user: User, name: str, where: Where, mailbox: Mailbox | None, wanted: Wanted
) -> Annotated:
    """The entries of a mailbox, which has this `name` for the user; those that are not there are NIL."""
    values: dict[str, bytes | None] = dict.fromkeys(
        entry for entry in wanted.entries if entry not in (SHARED, PRIVATE)
    )
    values |= metadata.get(reader, where, wanted.entries, wanted.depth)
    if mailbox is None and metadata.is_wanted(_ADMIN, wanted.entries, wanted.depth):
        values[_ADMIN] = b"mailto:postmaster@" + user.login.rpartition("@")[2].encode()
    if _SPECIAL_USE in values and mailbox is not None and mailbox.special and where.account == user.account:
        values[_SPECIAL_USE] = mailbox.special.encode()
    longest = 0
    if wanted.max_size is not None:
        long = [entry for entry, value in values.items() if len(value or b"") > wanted.max_size]
        longest = max((len(values.pop(entry) or b"") for entry in long), default=0)
    if not values:
        return Annotated(b"", longest)
    pairs = b" ".join([_pair(entry, value) for entry, value in values.items()])
    return Annotated(b"* METADATA %b (%b)\r\n" % (mailbox_octets(name, user.enabled), pairs), longest)


def _pair(entry: str, value: bytes | None) -> bytes:
    if value is None:
        return entry.encode() + b" NIL"
    if b"\0" in value:
        return b"%b ~{%d}\r\n%b" % (entry.encode(), len(value), value)  # literal8 of RFC 3516 §5
    return entry.encode() + b" " + quoted(value)


async def set_metadata(user: User, command: commands.SetMetadata) -> Result:
    """SETMETADATA (RFC 5464 §4.3): all or nothing."""
    values = dict(command.values)
    try:
        if not command.mailbox:
            modseq = await user.write(lambda tx: _set_of_server(tx, user, values))
            account: AccountId | None = user.account
        else:
            at = await place(user, command.mailbox)
            modseq = await user.write(lambda tx: _set(tx, user, at, values), *owner(at))
            account = at.account
    except ValueTooLarge:
        return _TOO_LARGE
    except TooManyEntries:
        return _TOO_MANY
    if modseq:
        user.tell(modseq, account)
    if not command.mailbox:
        # What all share has no modseq; time grows as well.
        user.tell(int(user.services.clock.now() * 1_000_000), SERVER)
    user.has_changed(at.full if command.mailbox else "")
    return completed("SETMETADATA", untagged=await user.news(expunges=True))


def _set_of_server(tx: Tx, user: User, values: Mapping[str, bytes | None]) -> int:
    if _ADMIN in values:
        raise NoPermission(f"{_ADMIN} is not set here")  # RFC 5464 §3.2.1.1: always read-only
    for entry, value in values.items():
        if value is not None and _FILTER.fullmatch(entry):
            _must_be_search(value)
    if _any_shared(values):
        account = accounts.by_id(tx, user.account)
        if account is None or not account.admin:
            raise NoPermission("Only administrators set what all users of the server share")
    return metadata.put(tx, Where(SERVER, 0, user.account), values)


def _set(tx: Tx, user: User, at: Place, values: dict[str, bytes | None]) -> int:
    there = _visible(tx, user, at)
    if _any_shared(values):
        require(there.rights, "w", at.full)
    values, modseq = dict(values), 0
    if _SPECIAL_USE in values:
        if there.account != user.account:
            raise BadUse("Only the owner can say what a mailbox is for")
        use = _use(values.pop(_SPECIAL_USE))
        modseq = mailboxes.set_special_use(tx, there.account, there.mailbox.name, use)
    modseq = metadata.put(tx, Where(there.account, there.mailbox.id, user.account), values) or modseq
    if modseq:
        mailboxes.touch(tx, there.account, there.mailbox.id, modseq)  # RFC 7162 §3.2
    return modseq


def _must_be_search(value: bytes) -> None:
    """RFC 5466 §3.2: a filter is a full search. Raises NoSearch."""
    try:
        stored_search(value)
    except (SyntaxProblem, UnknownCharset, FilterCharset) as problem:
        raise NoSearch(f"That is no search: {problem}") from None


def _any_shared(entries: Iterable[str]) -> bool:
    return any(entry.startswith(SHARED) for entry in entries)


def _use(value: bytes | None) -> SpecialUse | None:
    if not value:
        return None
    for use in SpecialUse:
        if use.value.lower().encode() == value.lower():
            return use
    raise BadUse("A mailbox can be one of " + ", ".join(use.value for use in SpecialUse))
