"""What the full-text index knows of a search: keys that it can answer become sets of messages.

BODY and TEXT become what it found. HEADER, FROM, SUBJECT and the like are about one field, of which it
knows nothing; but where the whole header does not hold a string, no field does. All that is true of the
messages that are in the index as a whole. The others are read, as if there were none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from posthouse.db import DatabaseError
from posthouse.mail.casefold import fold
from posthouse.observe import log, metrics
from posthouse.protocol.imap.searching import All, Among, And, InBody, InHeader, InText, Not, Or, SearchKey
from posthouse.store.fulltext import Found, Sought, Where

if TYPE_CHECKING:
    from posthouse.mail.envelope import AccountId
    from posthouse.store.fulltext import FullText
    from posthouse.store.snapshot import Snapshot

_log = log.get("search")
_MESSAGES = metrics.counters(
    "posthouse_search_messages_total",
    "messages looked for a string in headers or bodies",
    "by",
    ("index", "reading"),
)


class Answered(NamedTuple):
    """A search in two halves."""

    known: list[int]
    """Indexes of the messages that are in the index, ascending."""
    key: SearchKey
    """What has still to be asked of them."""
    unknown: list[int]
    """Indexes of the others, of which everything has."""


async def look_up(
    fulltext: FullText | None, account: AccountId, view: Snapshot, key: SearchKey
) -> Answered | None:
    """The search in two halves; None where the index is of no help."""
    wanted = set(_sought(key))
    if not wanted:
        return None
    found: Found | None = None
    if fulltext is not None:
        try:
            found = await fulltext.look_up(account, view.mailbox.id, wanted)
        except DatabaseError as error:
            _log.warning("the full-text index does not answer; messages are read", reason=str(error))
    if found is None or not found.hits:
        _MESSAGES["reading"].add(len(view))
        return None
    known: list[int] = []
    unknown: list[int] = []
    for index, (uid, email) in enumerate(zip(view.uids, view.emails, strict=True)):
        (known if uid < found.mark and email not in found.partial else unknown).append(index)
    _MESSAGES["index"].add(len(known))
    _MESSAGES["reading"].add(len(unknown))
    answered = _answered(key, found)
    return Answered(known, _all_of([_bound(answered), answered]), unknown)


def _sought(key: SearchKey) -> Iterator[Sought]:
    match key:
        case And(keys):
            for part in keys:
                yield from _sought(part)
        case Or(one, other):
            yield from _sought(one)
            yield from _sought(other)
        case Not(inner):
            yield from _sought(inner)
        case _:
            if sought := _of(key):
                yield sought


def _of(key: SearchKey) -> Sought | None:
    """What a key seeks, if the index may know of it."""
    match key:
        case InBody(text):
            where = Where.BODY
        case InText(text):
            where = Where.TEXT
        case InHeader(_, text):
            where = Where.HEAD
        case _:
            return None
    folded = fold(text)
    return Sought(where, folded) if folded else None


def _answered(key: SearchKey, found: Found) -> SearchKey:
    """The same, with what the index knows."""
    match key:
        case And(keys):
            return _all_of([_answered(part, found) for part in keys])
        case Or(one, other):
            return Or(_answered(one, found), _answered(other, found))
        case Not(inner):
            return Not(_answered(inner, found))
    sought = _of(key)
    hits = None if sought is None else found.hits.get(sought)
    if hits is None:
        return key
    if hits.exact and not isinstance(key, InHeader):
        return Among(hits.emails)
    return And((Among(hits.emails), key))


def _bound(key: SearchKey) -> SearchKey:
    """What is true wherever `key` is, as far as it can be told without reading; `All` where it cannot."""
    match key:
        case Among():
            return key
        case And(keys):
            return _all_of(map(_bound, keys))
        case Or(one, other):
            first, second = _bound(one), _bound(other)
            if isinstance(first, Among) and isinstance(second, Among):
                return Among(first.emails | second.emails)
            return All() if isinstance(first, All) or isinstance(second, All) else Or(first, second)
    return All()


def _all_of(keys: Iterable[SearchKey]) -> SearchKey:
    """All of some keys as one: without `And` in `And`, sets of messages as one."""
    emails: frozenset[int] | None = None
    rest: list[SearchKey] = []
    waiting = list(keys)[::-1]
    while waiting:
        key = waiting.pop()
        if isinstance(key, And):
            waiting += reversed(key.keys)
        elif isinstance(key, Among):
            emails = key.emails if emails is None else emails & key.emails
        elif not isinstance(key, All):
            rest.append(key)
    if emails is not None:
        rest.insert(0, Among(emails))
    if not rest:
        return All()
    return rest[0] if len(rest) == 1 else And(tuple(rest))
