"""SELECT, and what is done with mailboxes as a whole (RFC 3501 §6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from posthouse.access.imap import resync
from posthouse.access.imap.objects import mailbox_id
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store import changes, mailboxes, removal
from posthouse.store.mailboxes import MailboxError, MailboxNotFound, SpecialUse, canonical_name

_log = log.get("access")


class UnknownUse(MailboxError):
    """No mailbox is kept for that (RFC 6154 §3)."""

    code = "USEATTR"


async def select(user: User, command: commands.Select) -> Result:
    """SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2)."""
    user.selected = None
    account, name = user.account, canonical_name(command.mailbox)
    mailbox = await user.read(lambda reader: mailboxes.find(reader, account, name))
    if mailbox is None:
        raise MailboxNotFound(f"There is no mailbox {name}")
    id = mailbox.id
    snapshots = user.services.snapshots
    view = await snapshots.open(account, id)
    recent_from = view.recent
    if not user.enabled.rev2 and not command.read_only and view.recent < view.mailbox.uidnext:
        recent_from = await user.write(lambda tx: changes.claim_recent(tx, account, id))
        # What came in between was claimed with the rest: let it be seen here, and now.
        view = await snapshots.open(account, id)
    selected = user.selected = Selected(account, view, command.read_only, recent_from, user.enabled)
    said = selected.greeting() + f"* OK [{_mailbox_id(id)}] Its name for ever\r\n".encode()
    said += _renamed(user, command.mailbox, name, always=True)
    if command.resync is not None:
        said += await resync.since_known(user, selected, command.resync)
    name, code = ("EXAMINE", "READ-ONLY") if command.read_only else ("SELECT", "READ-WRITE")
    return completed(name, code, said)


async def unselect(user: User, command: commands.Unselect) -> Result:
    """UNSELECT (RFC 3691)."""
    user.selected = None
    return completed("UNSELECT")


async def create(user: User, command: commands.Create) -> Result:
    """CREATE (RFC 3501 §6.3.3)."""
    account, name = user.account, canonical_name(command.mailbox)
    special = _special_use(command.uses)
    now = user.services.clock.now()
    made = await user.write(lambda tx: mailboxes.create(tx, account, name, now, special=special))
    user.tell(made[-1].modseq)
    return completed("CREATE", _mailbox_id(made[-1].id), _renamed(user, command.mailbox, name))


def _mailbox_id(id: int) -> str:
    """MAILBOXID as a response code, and as STATUS has it (RFC 8474 §4)."""
    return f"MAILBOXID ({mailbox_id(id)})"


def _special_use(uses: Sequence[str]) -> SpecialUse | None:
    """The use a new mailbox is to have: one at most, and one that there is. Raises UnknownUse."""
    known = {use.value.lower(): use for use in SpecialUse}
    found = [known.get(name.lower()) for name in uses]
    if None in found or len(found) > 1:
        raise UnknownUse("A mailbox can be one of " + ", ".join(use.value for use in SpecialUse))
    return found[0] if found else None


def _renamed(user: User, given: str, name: str, *, always: bool = False) -> bytes:
    """The LIST that tells a client of IMAP4rev2 what the mailbox is called (RFC 9051 §6.3.9.7)."""
    if not user.enabled.rev2 or (given == name and not always):
        return b""
    line = b'* LIST () "/" ' + mailbox_octets(name, user.enabled)
    if given != name:
        line += b' ("OLDNAME" (%b))' % mailbox_octets(given, user.enabled)
    return line + b"\r\n"


async def delete(user: User, command: commands.Delete) -> Result:
    """DELETE (RFC 3501 §6.3.4). The name goes at once, the messages after the answer."""
    account, name = user.account, canonical_name(command.mailbox)
    await user.write(lambda tx: mailboxes.delete(tx, account, name))
    user.services.later(_sweep(user))
    return completed("DELETE")


async def _sweep(user: User) -> None:
    account, contents = user.account, user.services.contents
    while await user.write(lambda tx: removal.sweep(tx, contents, account), long=True) >= removal.BATCH:
        _log.debug("deleting the messages of a deleted mailbox", account=account)


async def rename(user: User, command: commands.Rename) -> Result:
    """RENAME (RFC 3501 §6.3.5); INBOX gives its messages away and stays."""
    account, now = user.account, user.services.clock.now()
    old, new = canonical_name(command.mailbox), canonical_name(command.to)
    await user.write(lambda tx: mailboxes.rename(tx, account, old, new, now), long=True)
    said = _renamed(user, command.to, new) + await user.news(expunges=True)
    return completed("RENAME", untagged=said)


async def subscribe(user: User, command: commands.Subscribe) -> Result:
    """SUBSCRIBE (RFC 3501 §6.3.6), to what is there."""
    account, name = user.account, canonical_name(command.mailbox)
    if not await user.read(lambda reader: mailboxes.exists(reader, account, name)):
        raise MailboxNotFound(f"There is no mailbox {name}")
    await user.write(lambda tx: mailboxes.subscribe(tx, account, name))
    return completed("SUBSCRIBE")


async def unsubscribe(user: User, command: commands.Unsubscribe) -> Result:
    """UNSUBSCRIBE (RFC 3501 §6.3.7)."""
    account, name = user.account, canonical_name(command.mailbox)
    await user.write(lambda tx: mailboxes.unsubscribe(tx, account, name))
    return completed("UNSUBSCRIBE")


async def status(user: User, command: commands.Status) -> Result:
    """STATUS (RFC 3501 §6.3.10)."""
    account, name = user.account, canonical_name(command.mailbox)
    numbers = await user.read_much(lambda reader: mailboxes.status(reader, account, name))
    said = status_line(user, numbers, command.items) + await user.news(expunges=True)
    return completed("STATUS", untagged=said)


def status_line(user: User, numbers: mailboxes.Status, items: Iterable[str]) -> bytes:
    """The untagged STATUS of one mailbox."""
    values = {
        "MESSAGES": numbers.messages,
        "RECENT": numbers.recent,
        "UIDNEXT": numbers.mailbox.uidnext,
        "UIDVALIDITY": numbers.mailbox.uidvalidity,
        "UNSEEN": numbers.unseen,
        "DELETED": numbers.deleted,
        "APPENDLIMIT": user.services.message_size_limit,
        "DELETED-STORAGE": numbers.deleted_size,
        "HIGHESTMODSEQ": numbers.mailbox.modseq,  # RFC 7162 §3.1.7
        "SIZE": numbers.size,  # RFC 8438 §3
    }
    words = [
        _mailbox_id(numbers.mailbox.id) if item == "MAILBOXID" else f"{item} {values[item]}" for item in items
    ]
    text = " ".join(words)
    return b"* STATUS %b (%b)\r\n" % (mailbox_octets(numbers.mailbox.name, user.enabled), text.encode())
