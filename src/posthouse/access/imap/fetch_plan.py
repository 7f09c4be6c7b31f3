"""What a FETCH needs to be answered: found once for each list of items that clients ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeGuard

from posthouse.access.imap import sections
from posthouse.protocol.imap.fetching import Binary, FetchItem, Item, Preview, Section, Text
from posthouse.store.read import Column

STORED = {
    Item.INTERNALDATE: Column.ARRIVED,
    Item.ENVELOPE: Column.ENVELOPE,
    Item.BODYSTRUCTURE: Column.BODYSTRUCTURE,
    Item.THREADID: Column.THREAD,
}


_IN_VIEW = frozenset({Item.UID, Item.FLAGS, Item.SIZE})


class Plan(NamedTuple):
    """What a FETCH needs."""

    plain: tuple[tuple[Item | Section, bytes], ...]
    """Items that need no body, each with what stands before its value."""
    previews: tuple[Preview, ...]
    others: tuple[tuple[Item | Section | Binary, bytes], ...]
    columns: tuple[Column, ...]
    """Of the store, UID first; empty where the view has all."""
    heads: bool
    bodies: bool
    whole: bool
    """Of bodies, nothing is said but the octets, all of them: nobody has to look into one."""
    quick: bool
    """All of it is said of one message as it stands (`fetch_one`)."""
    sections: int
    """How often octets of the message are held at once."""
    seen: bool
    """Sets \\Seen."""


@lru_cache(maxsize=256)
def plan(items: tuple[FetchItem, ...], *, uid: bool) -> Plan:
    """What the items need. UID FETCH answers the UID whether asked or not (RFC 3501 §6.4.8)."""
    if uid and Item.UID not in items:
        items = (Item.UID, *items)
    wanted = [item for item in items if isinstance(item, Section | Binary)]
    previews = tuple([item for item in items if isinstance(item, Preview)])
    bodies = not all(is_plain(item) or isinstance(item, Preview) for item in items)
    columns = [STORED[item] for item in items if isinstance(item, Item) and item in STORED]
    if Item.SAVEDATE in items:
        columns += [Column.SAVED, Column.ARRIVED]
    if previews:
        columns.append(Column.PREVIEW)
    if wanted or bodies:
        columns += [Column.PREFIX, Column.HEAD]
    if bodies:
        columns += [Column.CONTENT_SIZE, Column.BLOB, Column.BODY]
    heads = bool(wanted) or bodies
    whole = all(is_whole(item) for item in items if not is_plain(item) and not isinstance(item, Preview))
    plain = [item for item in items if isinstance(item, Item | Section) and is_plain(item)]
    return Plan(
        plain=tuple([(item, _label(item)) for item in plain]),
        previews=previews,
        others=tuple(
            [(item, _label(item)) for item in items if not isinstance(item, Preview) and not is_plain(item)]
        ),
        columns=(Column.UID, *columns) if columns else (),
        heads=heads,
        bodies=bodies,
        whole=whole,
        quick=whole and not previews and _IN_VIEW.issuperset(plain),
        sections=len(wanted) + heads,
        seen=not all(item.peek for item in wanted),
    )


def _label(item: Item | Section | Binary) -> bytes:
    return (item.value.encode() if isinstance(item, Item) else item.label()) + b" "


def is_whole(item: FetchItem) -> TypeGuard[Section]:
    """Whether an item is what the columns of the store are, without a cut."""
    if not isinstance(item, Section) or item.part or item.partial is not None:
        return False
    return item.text in (Text.WHOLE, Text.TEXT)


def is_plain(item: FetchItem) -> bool:
    """Whether an item needs no body."""
    if isinstance(item, Section):
        return sections.only_head(item)
    return item is not Item.BODY and not isinstance(item, Binary | Preview)
