"""What NOTIFY tells of mailboxes that are not selected: how they were, and how they are (RFC 5465 §5).

A look takes in everything that the groups of a client may be about: the names that LIST has for him, the
numbers of his mailboxes and of those of others that he may read, and annotations where he asks for them.
Two looks are compared, and each difference that a group asks for becomes a STATUS, LIST or METADATA. Events
of all groups that have a mailbox count together (§6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from posthouse.access.imap.listing import list_line, names
from posthouse.access.imap.mailboxes import status_line
from posthouse.access.places import OTHERS, SHARED
from posthouse.protocol.imap.notifying import Event, Group
from posthouse.protocol.imap.sources import NAMED, Among, chosen
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.store import mailboxes, metadata
from posthouse.store.mailboxes import SEPARATOR, Listed, Mailbox, Status
from posthouse.store.metadata import SERVER, Where

if TYPE_CHECKING:
    from posthouse.access.imap.state import Put, User
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

_OF_MESSAGES = frozenset({Event.NEW, Event.EXPUNGE, Event.FLAGS})
_NONE: frozenset[Event] = frozenset()
_SELECTED = (Among.SELECTED, Among.SELECTED_DELAYED)
_OWN = (Among.PERSONAL, Among.INBOXES)
_SPECIAL_USE = "/private/specialuse"

Key: TypeAlias = "tuple[AccountId, int]"
"""A mailbox, whatever its name: whose, and its id."""


class Seen(NamedTuple):
    """One mailbox, at one look."""

    name: str
    """That it has for the user."""
    status: Status | None
    """None: he may not read it."""


class Look(NamedTuple):
    """Everything, at one look."""

    seen: Mapping[Key, Seen]
    listed: Mapping[str, Listed]
    notes: Mapping[tuple[Key, str], int]
    """Annotations by mailbox and entry: what tells one value from another."""

    def subscribed(self, name: str) -> bool:
        entry = self.listed.get(name)
        return entry is not None and entry.subscribed

    def names_subscribed(self) -> set[str]:
        return {name for name, entry in self.listed.items() if entry.subscribed}


NOTHING = Look({}, {}, {})


def take(reader: Reader, user: User, groups: Sequence[Group], before: Look) -> Look:
    """A look at everything; only mailboxes that changed since `before` are counted anew."""
    entries, others = names(reader, user)
    seen: dict[Key, Seen] = {}
    for entry in entries:
        if entry.mailbox is None:
            continue
        other = others.get(entry.name)
        account = user.account if other is None else other.account
        readable = other is None or "r" in other.rights
        status = _status(reader, account, entry.mailbox, before) if readable else None
        seen[account, entry.mailbox.id] = Seen(entry.name, status)
    wanted = frozenset().union(*(group.events for group in groups))
    notes: dict[tuple[Key, str], int] = {}
    if Event.MAILBOX_METADATA in wanted:
        notes = _notes(reader, user, seen)
    if Event.SERVER_METADATA in wanted:
        for entry_name, value in metadata.all_of(reader, Where(SERVER, 0, user.account)):
            notes[(SERVER, 0), entry_name] = hash(value)
    return Look(seen, {entry.name: entry for entry in entries}, notes)


def _status(reader: Reader, account: AccountId, mailbox: Mailbox, before: Look) -> Status | None:
    known = before.seen.get((account, mailbox.id))
    if known is not None and known.status is not None and known.status.mailbox.modseq == mailbox.modseq:
        return known.status._replace(mailbox=mailbox)
    there = mailboxes.find_id(reader, account, mailbox.id)
    return None if there is None else mailboxes.status(reader, account, there.name)


def _notes(reader: Reader, user: User, seen: Mapping[Key, Seen]) -> dict[tuple[Key, str], int]:
    found: dict[tuple[Key, str], int] = {}
    for (account, id), one in seen.items():
        if one.status is None:
            continue  # RFC 5465 §5: `l` and `r`
        for entry, value in metadata.all_of(reader, Where(account, id, user.account)):
            found[(account, id), entry] = hash(value)
        if account == user.account and one.status.mailbox.special:
            found[(account, id), _SPECIAL_USE] = hash(one.status.mailbox.special)
    return found


class Differences:
    """What one look has and another had not, as the groups of a client want it told."""

    def __init__(
        self,
        user: User,
        groups: Sequence[Group],
        before: Look,
        now: Look,
        caused: Iterable[str] = (),
        put: Put | None = None,
    ) -> None:
        """`caused`: names of mailboxes, empty for the server, that commands of this session have changed, and
        `put`: messages that they have put into some: it need not be told of that."""
        self._user = user
        self._groups = groups
        self._before = before
        self._now = now
        self._caused = frozenset(caused)
        self._put = put or {}
        self._told: set[str] = set()
        self._events = self._events_by_name()

    def lines(self) -> list[bytes]:
        """Everything there is to say."""
        return [*self._names(), *self._subscriptions(), *self._no_access(), *self._statuses(), *self._notes()]

    def first_lines(self, *, status: bool) -> list[bytes]:
        """What is said when NOTIFY is taken (RFC 5465 §3.1)."""
        lines = list(self._no_access())
        if status:
            for key, seen in self._now.seen.items():
                events = self._wanted(seen.name)
                if seen.status is not None and events & _OF_MESSAGES and not self._is_selected(key):
                    items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
                    # With CONDSTORE the server has it, whether the client has enabled it or not.
                    items += ["UNSEEN", "HIGHESTMODSEQ"] if Event.FLAGS in events else self._modseq()
                    lines.append(status_line(self._user, seen.name, seen.status, items))
        return lines

    def _events_by_name(self) -> dict[str, frozenset[Event]]:
        """What is to be told of each name, of a mailbox or of none."""
        every = list({**self._now.listed, **self._before.listed})
        own = [name for name in every if not name.startswith((OTHERS + SEPARATOR, SHARED + SEPARATOR))]
        found: dict[str, frozenset[Event]] = {}
        for group in self._groups:
            if group.source.among not in _SELECTED:
                among = own if group.source.among in _OWN else every
                for name in chosen(group.source, among, self._is_subscribed):
                    found[name] = found.get(name, _NONE) | group.events
        return found

    def _is_subscribed(self, name: str) -> bool:
        return self._now.subscribed(name) or self._before.subscribed(name)

    def _wanted(self, name: str) -> frozenset[Event]:
        return self._events.get(name, _NONE)

    def _is_selected(self, key: Key) -> bool:
        selected = self._user.selected
        return selected is not None and (selected.account, selected.mailbox) == key

    def _modseq(self) -> list[str]:
        return ["HIGHESTMODSEQ"] if self._user.enabled.condstore else []

    # Names (RFC 5465 §5.4, §5.5)

    def _names(self) -> Iterable[bytes]:
        old = {key: seen.name for key, seen in self._before.seen.items()}
        new = {key: seen.name for key, seen in self._now.seen.items()}
        renamed = {old[key]: name for key, name in new.items() if key in old and old[key] != name}
        for older, name in renamed.items():
            # what is below a renamed mailbox goes with it, and is not told of
            above, tail = older.rpartition(SEPARATOR)[0], SEPARATOR + older.rpartition(SEPARATOR)[2]
            if above and renamed.get(above, "") + tail == name:
                continue
            if Event.NAME in self._wanted(name) | self._wanted(older) and name not in self._caused:
                more = b' ("OLDNAME" (%b))' % mailbox_octets(older, self._user.enabled)
                yield self._line(name, more)
        gone = [old[key] for key in old.keys() - new.keys() if old[key] not in new.values()]
        made = [new[key] for key in new.keys() - old.keys()]
        affected = {*gone, *made}
        affected |= {above for name in affected if (above := name.rpartition(SEPARATOR)[0])}
        for name in sorted(affected):
            if Event.NAME in self._wanted(name) and not self._is_caused(name, {*gone, *made}):
                yield self._line(name)

    def _is_caused(self, name: str, changed: set[str]) -> bool:
        """Whether this session has done it: to the name itself, or to all below it that changed."""
        if name in changed:
            return name in self._caused
        below = {one for one in changed if one.rpartition(SEPARATOR)[0] == name}
        return below <= self._caused

    def _subscriptions(self) -> Iterable[bytes]:
        changed = self._before.names_subscribed() ^ self._now.names_subscribed()
        for name in sorted(changed - self._told - self._caused):
            if Event.SUBSCRIPTION in self._wanted(name):
                yield self._line(name)

    def _line(self, name: str, more: bytes = b"", attribute: str = "") -> bytes:
        """LIST with all attributes, as they are now."""
        self._told.add(name)
        entry = self._now.listed.get(name) or Listed(name, None, False, False)
        attributes = [attribute] if attribute else []
        if entry.mailbox is None:
            attributes.append("\\NonExistent")
        attributes.append("\\HasChildren" if entry.children else "\\HasNoChildren")
        if entry.subscribed:
            attributes.append("\\Subscribed")
        if entry.mailbox is not None and entry.mailbox.special:
            attributes.append(entry.mailbox.special)
        return list_line(self._user, "LIST", entry, attributes, more)

    def _no_access(self) -> Iterable[bytes]:
        """LIST for mailboxes that may be seen and not read, or no longer, or again (RFC 5465 §3.1, §5.9)."""
        for key, seen in self._now.seen.items():
            old = self._before.seen.get(key)
            had = old is not None and old.status is not None
            has = seen.status is not None
            if (old is None and has) or (old is not None and had == has):
                continue
            if self._wanted(seen.name) & _OF_MESSAGES and seen.name not in self._told:
                yield self._line(seen.name, attribute="" if has else "\\NoAccess")

    # Messages (RFC 5465 §5.1 to §5.3)

    def _statuses(self) -> Iterable[bytes]:
        for key, seen in self._now.seen.items():
            if seen.status is None or self._is_selected(key):
                continue
            old = self._before.seen.get(key)
            before = None if old is None else old.status
            if before is not None and before.mailbox.modseq == seen.status.mailbox.modseq:
                continue
            items = _items(self._wanted(seen.name), seen.status, before)
            if items and not self._is_own(key, seen.status, before):
                yield status_line(self._user, seen.name, seen.status, [*items, *self._modseq()])

    def _is_own(self, key: Key, now: Status, before: Status | None) -> bool:
        """Whether all that is to be told are messages that this session has put there (RFC 5465 §5)."""
        own = self._put.get((key[0], now.mailbox.uidvalidity))
        if own is None or before is None or before.mailbox.uidvalidity != now.mailbox.uidvalidity:
            return False
        if Event.FLAGS in self._wanted(self._now.seen[key].name):
            return False  # other flags may have changed as well
        arrived = range(before.mailbox.uidnext, now.mailbox.uidnext)
        return now.messages - before.messages == len(arrived) and own.issuperset(arrived)

    # Annotations (RFC 5465 §5.6, §5.7)

    def _notes(self) -> Iterable[bytes]:
        old, new = self._before.notes, self._now.notes
        changed: dict[Key, list[str]] = {}
        for key, entry in sorted(old.keys() | new.keys()):
            if old.get((key, entry)) != new.get((key, entry)):
                changed.setdefault(key, []).append(entry)
        for key, entries in changed.items():
            name = self._name_for_notes(key)
            if name is not None and name not in self._caused:
                text = " ".join(entries).encode()
                yield b"* METADATA %b %b\r\n" % (mailbox_octets(name, self._user.enabled), text)

    def _name_for_notes(self, key: Key) -> str | None:
        """The name of a mailbox whose annotations are of interest, empty for the server."""
        if key[0] == SERVER:
            return ""
        seen = self._now.seen.get(key)
        if seen is None or Event.MAILBOX_METADATA not in self._wanted(seen.name):
            return None
        return seen.name


def goes_abroad(groups: Sequence[Group]) -> bool:
    """Whether groups may mean mailboxes of others."""
    return any(
        group.source.among is Among.SUBSCRIBED
        or (
            group.source.among in NAMED
            and any(name.startswith((OTHERS, SHARED)) for name in group.source.names)
        )
        for group in groups
    )


def _items(events: frozenset[Event], now: Status, before: Status | None) -> list[str]:
    """The numbers of a mailbox that say what happened in it (RFC 5465 §5.1 to §5.3)."""
    if before is None:
        return ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"] if Event.NEW in events else []
    arrived = now.mailbox.uidnext - before.mailbox.uidnext
    expunged = before.messages + arrived - now.messages
    if Event.NEW in events and (arrived or expunged):
        return ["MESSAGES", "UIDNEXT", "UIDVALIDITY", *(("UNSEEN",) if Event.FLAGS in events else ())]
    return ["UIDVALIDITY", "UNSEEN"] if Event.FLAGS in events else []
