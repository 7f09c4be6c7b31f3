"""LIST and LSUB: which mailboxes there are (RFC 3501 §6.3.8, RFC 3348, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize

from posthouse.access.imap.mailboxes import old_name, status_line
from posthouse.access.imap.metadata import Annotated, annotated
from posthouse.access.imap.permissions import myrights_line
from posthouse.access.imap.state import User, completed
from posthouse.access.places import Foreign, foreign
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.patterns import matches
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.syntax import mailbox_octets, quoted
from posthouse.store import mailboxes
from posthouse.store.mailboxes import Listed, parents
from posthouse.store.metadata import Where
from posthouse.store.rights import EVERY, Rights

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.protocol.imap.metadata import Wanted


async def list_mailboxes(user: User, command: commands.List) -> Result:
    """LIST, plain and extended."""
    if command.patterns == ("",) and not command.extended:
        # RFC 3501 §6.3.8: what is the separator, and the root of the reference?
        return completed("LIST", untagged=b'* LIST (\\Noselect) "/" ""\r\n')
    listed, others = await user.read(lambda reader: names(reader, user))
    given = [command.reference + pattern for pattern in command.patterns]
    patterns = [normalize("NFC", pattern) for pattern in given]  # RFC 9051 §5.1
    old_names = {kept: old for kept, old in zip(patterns, given, strict=True) if kept != old}
    chosen = _chosen(listed, patterns, command.selection)
    statuses = {}
    if command.status:
        shown = [other for name, other in others.items() if name in chosen]
        statuses = await user.read_much(lambda reader: _statuses(reader, user, shown))
    below = _with_chosen_below(listed, patterns, command.selection)
    # RFC 5258 §3.5: the options that something below meets
    criteria = b" ".join(
        quoted(name.encode()) for name in sorted(command.selection - {"RECURSIVEMATCH", "REMOTE"})
    )
    childinfo = b' ("CHILDINFO" (%b))' % criteria
    notes: dict[str, Annotated] = {}
    if command.metadata is not None:
        wanted, some = command.metadata, [entry for entry in listed if entry.name in chosen]
        notes = await user.read_much(lambda reader: _notes(reader, user, some, others, wanted))
    lines = []
    for entry in listed:
        # what only has below it what is listed anyway is not listed for that
        if entry.name not in chosen and entry.name not in below.unfit:
            continue
        more = childinfo if entry.name in below.any else b""
        if entry.name in old_names and not more:
            more = old_name(user, old_names[entry.name])
        held = others[entry.name].rights if entry.name in others else EVERY
        lines.append(list_line(user, "LIST", entry, _attributes(user, entry, command, held), more))
        if entry.name in statuses and entry.name in chosen:
            lines.append(status_line(user, entry.name, statuses[entry.name], command.status))
        if "MYRIGHTS" in command.wanted and entry.mailbox is not None:  # RFC 8440 §3
            lines.append(myrights_line(user, entry.name, held))
        if entry.name in notes and entry.name in chosen:
            lines.append(notes[entry.name].line)
    longest = max((note.longest for note in notes.values()), default=0)
    code = f"METADATA LONGENTRIES {longest}" if longest else ""
    return completed("LIST", code, b"".join(lines) + await user.news(expunges=True))


def _notes(
    reader: Reader, user: User, entries: Iterable[Listed], others: dict[str, Foreign], wanted: Wanted
) -> dict[str, Annotated]:
    """The annotations of mailboxes that the user may know (RFC 9590 §3)."""
    found: dict[str, Annotated] = {}
    for entry in entries:
        if entry.mailbox is None:
            continue
        other = others.get(entry.name)
        if other is None or other.rights.intersection("rswip"):
            whose = user.account if other is None else other.account
            where = Where(whose, entry.mailbox.id, user.account)
            found[entry.name] = annotated(reader, user, entry.name, where, entry.mailbox, wanted)
    return found


def names(reader: Reader, user: User) -> tuple[list[Listed], dict[str, Foreign]]:
    """Every name that there is for the user, and the mailboxes of others among them by their name."""
    others = {other.mailbox.name: other for other in foreign(reader, user)}
    return mailboxes.listing(reader, user.account, [other.mailbox for other in others.values()]), others


def _statuses(reader: Reader, user: User, others: Iterable[Foreign]) -> dict[str, mailboxes.Status]:
    """The numbers of the user's mailboxes and of those of others that he may read (RFC 4314 §4)."""
    found: dict[str, mailboxes.Status] = {}
    for other in others:
        inner = mailboxes.find_id(reader, other.account, other.mailbox.id)
        if inner is not None and "r" in other.rights:
            found[other.mailbox.name] = mailboxes.status(reader, other.account, inner.name)
    return found | mailboxes.statuses(reader, user.account)


def _selected(entry: Listed, selection: frozenset[str]) -> bool:
    """Whether a name meets the selection options; without any, it must be a mailbox, or above one."""
    if "SPECIAL-USE" in selection and not (entry.mailbox and entry.mailbox.special):
        return False
    if "SUBSCRIBED" in selection:
        return entry.subscribed
    return entry.mailbox is not None or entry.children


def _fits(patterns: Sequence[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


def _chosen(listed: Iterable[Listed], patterns: Sequence[str], selection: frozenset[str]) -> set[str]:
    return {entry.name for entry in listed if _selected(entry, selection) and _fits(patterns, entry.name)}


class _Below(NamedTuple):
    """Names that fit the patterns and have something below them that meets the selection options."""

    any: set[str]
    unfit: set[str]
    """Those of them below which something meets the options that does not fit itself."""


def _with_chosen_below(
    listed: Iterable[Listed], patterns: Sequence[str], selection: frozenset[str]
) -> _Below:
    """RFC 5258 §3.5: what RECURSIVEMATCH adds."""
    below = _Below(set(), set())
    if "RECURSIVEMATCH" not in selection:
        return below
    for entry in listed:
        if _selected(entry, selection):
            above = {name for name in parents(entry.name) if _fits(patterns, name)}
            below.any.update(above)
            if not _fits(patterns, entry.name):
                below.unfit.update(above)
    return below


def _attributes(user: User, entry: Listed, command: commands.List, held: Rights) -> list[str]:
    attributes = []
    if entry.mailbox is None:
        # \Noselect is what IMAP4rev1 knows; \NonExistent implies it (RFC 5258 §3).
        attributes.append("\\NonExistent" if command.extended or user.enabled.rev2 else "\\Noselect")
    elif "r" not in held:
        attributes.append("\\Noselect")  # RFC 5819 §2
    attributes.append("\\HasChildren" if entry.children else "\\HasNoChildren")
    if entry.subscribed and "SUBSCRIBED" in command.selection | command.wanted:
        attributes.append("\\Subscribed")
    if entry.mailbox is not None and entry.mailbox.special:
        attributes.append(entry.mailbox.special)
    return attributes


def list_line(user: User, name: str, entry: Listed, attributes: Iterable[str], more: bytes = b"") -> bytes:
    """An untagged LIST or LSUB (`name`); `more`: extended data items, each with a space before it."""
    return b'* %b (%b) "/" %b%b\r\n' % (
        name.encode(),
        " ".join(attributes).encode(),
        mailbox_octets(entry.name, user.enabled),
        more,
    )


async def list_subscribed(user: User, command: commands.Lsub) -> Result:
    """LSUB (RFC 3501 §6.3.9): what is subscribed, there or not."""
    listed, _ = await user.read(lambda reader: names(reader, user))
    pattern = normalize("NFC", command.reference + command.pattern)
    by_name = {entry.name: entry for entry in listed}
    found = {entry.name: entry.mailbox is None for entry in listed if entry.subscribed}
    if "%" in pattern:
        # A parent that fits stands for subscribed names below it that do not.
        for name in [name for name in found if not matches(pattern, name)]:
            for parent in parents(name):
                if matches(pattern, parent):
                    found.setdefault(parent, True)
    lines = []
    for name in sorted(found):
        if matches(pattern, name):
            entry = by_name.get(name) or Listed(name, None, False, True)
            lines.append(list_line(user, "LSUB", entry, ["\\Noselect"] if found[name] else []))
    return completed("LSUB", untagged=b"".join(lines) + await user.news(expunges=True))
