"""SELECT, and what is done with mailboxes as a whole (RFC 3501 §6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from posthouse.access import places
from posthouse.access.imap import resync
from posthouse.access.imap.messages import owner
from posthouse.access.imap.objects import mailbox_id
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.access.places import NoPermission, Place, find, is_read_only, may_create, place
from posthouse.accounts import usage
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store import changes, mailboxes, removal
from posthouse.store.mailboxes import Mailbox, MailboxError, MailboxExists, SpecialUse, canonical_name
from posthouse.store.rights import EVERY

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId
    from posthouse.store.rights import Rights
    from posthouse.store.snapshot import Snapshot

_log = log.get("access")


class UnknownUse(MailboxError):
    """No mailbox is kept for that (RFC 6154 §3)."""

    code = "USEATTR"


def select_at_hand(user: User, command: commands.Select) -> Result | None:
    """The answer to SELECT or EXAMINE of a mailbox of the user's own to which nothing has happened since it
    was opened last; None where there is more to find out. Raises BadMailboxName, DatabaseAway."""
    if user.selected is not None or command.resync is not None:
        return None
    name = canonical_name(command.mailbox)
    view = user.services.snapshots.at_once(user.account, name)
    if view is None or _is_to_claim(user, command, view, EVERY):
        return None
    selected = Selected(user.account, EVERY, view, command.read_only, view.recent, user.enabled)
    return _opened(user, command, selected, name)


async def select(user: User, command: commands.Select) -> Result:
    """SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2)."""
    user.selected = None
    account, held, name = user.account, EVERY, canonical_name(command.mailbox)
    snapshots = user.services.snapshots
    view = snapshots.at_once(account, name)
    if view is None:
        at = await place(user, command.mailbox)
        found = await user.read(lambda reader: find(reader, user, at, "r"))
        account, held, name = found.account, found.rights, at.full
        view = await snapshots.open(account, found.mailbox.id)
    id, recent_from, uidnext = view.mailbox.id, view.recent, view.mailbox.uidnext
    if _is_to_claim(user, command, view, held):
        recent_from = await user.write(lambda tx: changes.claim_recent(tx, account, id), account)
        # What came in between was claimed with the rest: let it be seen here, and now.
        view = await snapshots.open(account, id)
    selected = Selected(account, held, view, command.read_only, recent_from, user.enabled)
    if view.mailbox.uidnext > uidnext:
        selected.claim_shown(user)
    missed = b""
    if command.resync is not None:
        missed = await resync.since_known(user, selected, command.resync)
    return _opened(user, command, selected, name, missed)


def _is_to_claim(user: User, command: commands.Select, view: Snapshot, held: Rights) -> bool:
    """Whether there is what will be recent to this session and to no other."""
    if user.enabled.rev2 or view.recent >= view.mailbox.uidnext:
        return False
    return not (command.read_only or is_read_only(held))


def _opened(
    user: User, command: commands.Select, selected: Selected, name: str, missed: bytes = b""
) -> Result:
    """The answer, once the mailbox is open. `missed`: what a client is told that has been away."""
    user.selected = selected
    said = selected.greeting() + renamed(user, command.mailbox, name, always=True) + missed
    code = "READ-ONLY" if selected.read_only else "READ-WRITE"
    return completed("EXAMINE" if command.read_only else "SELECT", code, said)


async def unselect(user: User, command: commands.Unselect) -> Result:
    """UNSELECT (RFC 3691)."""
    user.selected = None
    return completed("UNSELECT")


async def create(user: User, command: commands.Create) -> Result:
    """CREATE (RFC 3501 §6.3.3)."""
    at = await place(user, command.mailbox)
    special = _special_use(command.uses)
    if special is not None and at.prefix:
        raise UnknownUse("Only the owner can say what a mailbox is for")
    now = user.services.clock.now()

    def closure(tx: Tx) -> list[Mailbox]:
        account = may_create(tx, user, at)
        if mailboxes.exists(tx, account, at.name):
            raise MailboxExists(f"Mailbox {at.full} exists already")
        return mailboxes.create(tx, account, at.name, now, special=special)

    made = await user.write(closure, *owner(at))
    user.tell(made[-1].modseq, at.account)
    user.has_changed(*(at.prefix + mailbox.name for mailbox in made))
    return completed("CREATE", _mailbox_id(made[-1].id), renamed(user, command.mailbox, at.full))


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


def renamed(user: User, given: str, name: str, *, always: bool = False, attribute: str = "") -> bytes:
    """The LIST that tells a client of IMAP4rev2 what the mailbox is called (RFC 9051 §6.3.9.7)."""
    if not user.enabled.rev2 or (given == name and not always):
        return b""
    line = b'* LIST (%b) "/" %b' % (attribute.encode(), mailbox_octets(name, user.enabled))
    if given != name:
        line += old_name(user, given)
    return line + b"\r\n"


def old_name(user: User, given: str) -> bytes:
    """What tells a client of IMAP4rev2, in a LIST, that it is of the mailbox that it has `given` so."""
    return b' ("OLDNAME" (%b))' % mailbox_octets(given, user.enabled) if user.enabled.rev2 else b""


async def delete(user: User, command: commands.Delete) -> Result:
    """DELETE (RFC 3501 §6.3.4). The name goes at once, the messages after the answer."""
    at = await place(user, command.mailbox)

    def closure(tx: Tx) -> tuple[AccountId, int]:
        found = find(tx, user, at, "x")
        mailboxes.delete(tx, found.account, at.name)
        return found.account, usage.advance(tx, found.account)

    account, modseq = await user.write(closure, *owner(at))
    user.tell(modseq, account)
    user.has_changed(at.full)
    user.services.later(_sweep(user, account))
    said = renamed(user, command.mailbox, at.full, attribute="\\NonExistent")  # RFC 9051 §6.3.5
    return completed("DELETE", untagged=said)


async def _sweep(user: User, account: AccountId) -> None:
    contents = user.services.contents
    while (
        await user.write(lambda tx: removal.sweep(tx, contents, account), account, long=True) >= removal.BATCH
    ):
        _log.debug("deleting the messages of a deleted mailbox", account=account)


async def rename(user: User, command: commands.Rename) -> Result:
    """RENAME (RFC 3501 §6.3.5); INBOX gives its messages away and stays."""
    now = user.services.clock.now()
    old, new = await place(user, command.mailbox), await place(user, command.to)

    def closure(tx: Tx) -> tuple[AccountId, int]:
        if old.account != user.account:
            found = find(tx, user, old, "x")
            if found.account != new.account or old.name == mailboxes.INBOX:
                raise MailboxError("A mailbox stays with its owner, and so does every INBOX")
        account = may_create(tx, user, new)
        if account != old.account:
            raise MailboxError("A mailbox stays with its owner")
        if mailboxes.exists(tx, account, new.name):
            raise MailboxExists(f"Mailbox {new.full} exists already")
        if old.prefix:
            _all_to_be_moved(tx, user, old)
        mailboxes.rename(tx, account, old.name, new.name, now)
        return account, usage.advance(tx, account)

    account, modseq = await user.write(closure, *owner(old), *owner(new), long=True)
    user.tell(modseq, account)
    user.has_changed(old.full, new.full, *(old.prefix + name for name in mailboxes.parents(new.name)))
    said = b""
    if (command.mailbox, command.to) != (old.full, new.full):
        said = renamed(user, command.mailbox, new.full)  # RFC 9051 §6.3.6
    said += await user.news(expunges=True)
    return completed("RENAME", untagged=said)


def _all_to_be_moved(tx: Tx, user: User, at: Place) -> None:
    """Mailboxes below another's are renamed with it, so each must be the user's to take away."""
    assert at.account is not None
    for mailbox in mailboxes.every(tx, at.account):
        if mailbox.name.startswith(at.name + mailboxes.SEPARATOR):
            held = places.held(tx, user, at.account, mailbox.id)
            if "x" not in held:
                raise NoPermission(f"You have no permission to do that with all below {at.full}")


async def subscribe(user: User, command: commands.Subscribe) -> Result:
    """SUBSCRIBE (RFC 3501 §6.3.6), to what is there."""
    at = await place(user, command.mailbox)
    await user.read(lambda reader: find(reader, user, at, "l"))
    await _subscribed(user, at.full, mailboxes.subscribe)
    return completed("SUBSCRIBE")


async def unsubscribe(user: User, command: commands.Unsubscribe) -> Result:
    """UNSUBSCRIBE (RFC 3501 §6.3.7)."""
    at = await place(user, command.mailbox)
    await _subscribed(user, at.full, mailboxes.unsubscribe)
    return completed("UNSUBSCRIBE")


async def _subscribed(user: User, name: str, change: Callable[[Tx, AccountId, str], None]) -> None:
    """Change a subscription, and let other sessions know (RFC 5465 §5.5)."""
    account = user.account

    def closure(tx: Tx) -> int:
        change(tx, account, name)
        return usage.advance(tx, account)

    user.tell(await user.write(closure))
    user.has_changed(name)


async def status(user: User, command: commands.Status) -> Result:
    """STATUS (RFC 3501 §6.3.10)."""
    at = await place(user, command.mailbox)

    def look(reader: Reader) -> mailboxes.Status:
        found = find(reader, user, at, "r")
        return mailboxes.status(reader, found.account, at.name)

    numbers = await user.read_much(look)
    said = status_line(user, at.full, numbers, command.items) + await user.news(expunges=True)
    return completed("STATUS", untagged=said)


def status_line(user: User, name: str, numbers: mailboxes.Status, items: Iterable[str]) -> bytes:
    """The untagged STATUS of one mailbox, which has this name for the user."""
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
    return b"* STATUS %b (%b)\r\n" % (mailbox_octets(name, user.enabled), text.encode())
