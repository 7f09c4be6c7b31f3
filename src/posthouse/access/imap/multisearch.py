"""ESEARCH: one search in many mailboxes (RFC 7377).

Each mailbox is searched as if it were selected, one after the other; what is found is told by UID, and
mailboxes where nothing is found are not told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.access.imap import results
from posthouse.access.imap.contexts import TAG_REUSE
from posthouse.access.imap.filters import spelled_out
from posthouse.access.imap.listing import names
from posthouse.access.imap.search import Search, keep_up_to_date, modseq_of, scores_of, tag_in_use
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.sources import Among, Source, chosen
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.rights import EVERY
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.places import Foreign
    from posthouse.mail.envelope import AccountId
    from posthouse.store.mailboxes import Listed, Mailbox
    from posthouse.store.rights import Rights


_NOT_SELECTED = Result("BAD", "ESEARCH: select a mailbox first")


class _Searched(NamedTuple):
    """A mailbox to be searched, with the name that it has for the user."""

    account: AccountId
    mailbox: Mailbox
    rights: Rights


async def esearch(user: User, command: commands.MultiSearch) -> Result:
    """ESEARCH."""
    if user.selected is None and _needs_selected(command):
        return _NOT_SELECTED
    if tag_in_use(user, command):
        return TAG_REUSE
    listed, others = await user.read(lambda reader: names(reader, user))
    command = await spelled_out(user, command)
    said = []
    for one in _searched(user, command.sources, listed, others):
        try:
            said.append(await _in(user, command, one))
        except MailboxNotFound:
            continue  # deleted meanwhile
    return completed("ESEARCH", untagged=b"".join(said) + await user.news(expunges=True))


def _needs_selected(command: commands.MultiSearch) -> bool:
    """RFC 7377 §2.2."""
    return Return.UPDATE in command.returns or any(
        source.among is Among.SELECTED for source in command.sources
    )


def _searched(
    user: User, sources: tuple[Source, ...], listed: list[Listed], others: dict[str, Foreign]
) -> list[_Searched]:
    """The mailboxes to be searched, each once: those that may be read."""
    subscribed = {entry.name for entry in listed if entry.subscribed}
    there: dict[str, _Searched] = {}
    for entry in listed:
        other = others.get(entry.name)
        if other is not None and "r" in other.rights:
            there[entry.name] = _Searched(other.account, other.mailbox, other.rights)
        elif other is None and entry.mailbox is not None:
            there[entry.name] = _Searched(user.account, entry.mailbox, EVERY)
    own = [name for name, one in there.items() if one.account == user.account]
    wanted: dict[str, None] = {}
    for source in sources:
        if source.among is Among.SELECTED:
            wanted.update((name, None) for name, one in there.items() if _is_selected(user, one))
        else:
            among = own if source.among in (Among.PERSONAL, Among.INBOXES) else list(there)
            wanted.update(dict.fromkeys(chosen(source, among, subscribed.__contains__)))
    return [there[name] for name in wanted]


def _is_selected(user: User, one: _Searched) -> bool:
    selected = user.selected
    return selected is not None and (selected.account, selected.mailbox) == (one.account, one.mailbox.id)


async def _in(user: User, command: commands.MultiSearch, one: _Searched) -> bytes:
    mailbox = one.mailbox
    if user.selected is not None and _is_selected(user, one):
        selected = user.selected
    else:
        view = await user.services.snapshots.open(one.account, mailbox.id)
        selected = Selected(one.account, one.rights, view, True, view.recent, user.enabled)
    found = await Search(user, selected, selected.saved).run(command.key)
    name = mailbox_octets(mailbox.name, user.enabled)
    where = b" MAILBOX %b UIDVALIDITY %d" % (name, mailbox.uidvalidity)
    said = b""
    if selected is user.selected:
        if Return.SAVE in command.returns:
            kept = results.returned(found, command.returns, command.partial)
            selected.saved = ranges_of(sorted(selected.view.uids[index] for index in kept))
        if Return.UPDATE in command.returns:
            said = keep_up_to_date(user, selected, command, found, where=where)
    if not found:
        return said
    uids = [selected.view.uids[index] for index in found]
    scores = await scores_of(user, selected, command, found)
    modseq = modseq_of(selected, found, command)
    return results.response("SEARCH", command, uids, modseq, where, scores) + said
