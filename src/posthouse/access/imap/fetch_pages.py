"""FETCH of many messages from the pages that are kept of them (`store.factpages`): little is read for much.

What FETCH returns of a whole mailbox, again and again, lies in these pages side by side: ENVELOPE,
BODYSTRUCTURE, internal dates, and the header fields that mail programs show. Where one thing that is wanted
is not there, nothing is taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from posthouse.access.imap import sections
from posthouse.access.imap.fetch_fields import FieldColumn
from posthouse.access.imap.fetch_lines import Columns
from posthouse.access.imap.fetch_plan import Plan
from posthouse.access.imap.lines import some
from posthouse.db import DatabaseError
from posthouse.protocol.imap.fetching import Section, Text
from posthouse.store import factpages, facts
from posthouse.store.columns import Texts
from posthouse.store.read import Column

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.store.factpages import Stored

MANY = 200
"""Messages from which on it is less to read a page."""

_FAMILIES = {
    Column.ARRIVED: facts.ARRIVED,
    Column.ENVELOPE: facts.ENVELOPE,
    Column.BODYSTRUCTURE: facts.BODYSTRUCTURE,
}
_OF_HEADS = {Column.UID, Column.PREFIX, Column.HEAD}
"""Columns that are in no page: UIDs are in the view, and of heads there are the fields."""
_FETCHED = frozenset(facts.FETCHED)


class Pages:
    """The pages of one FETCH, which goes from the first message to the last; it keeps those read last."""

    def __init__(self, user: User, selected: Selected, wanted: Plan) -> None:
        self._user = user
        self._selected = selected
        self._columns = [column for column in wanted.columns if column in _FAMILIES]
        self._fields = [
            (item, FieldColumn(user.services.knowledge, selected, item.fields))
            for item, _ in wanted.plain
            if isinstance(item, Section) and _in_pages(wanted)
        ]
        self._families = [_FAMILIES[column] for column in self._columns]
        if not all(fields.complete for _, fields in self._fields):
            self._families.append(facts.HEADER_FIELDS)
        self.serve = _in_pages(wanted)
        """They may have all that is wanted."""
        self._stored: Stored | None = None

    async def columns(self, indexes: Sequence[int]) -> Columns | None:
        """What is wanted of some messages; None where it is to be read from the store."""
        if not self.serve or len(indexes) < MANY:
            return None
        found: dict[Column | Section, Sequence[Any]] = {}
        known = [(item, fields.known(indexes)) for item, fields in self._fields]
        if self._columns or any(texts is None for _, texts in known):
            view = self._selected.view
            stored = await self._covering(view.uids[indexes[0]], view.uids[indexes[-1]])
            where = None if stored is None else _where(stored.emails, some(view.emails, indexes))
            if stored is None or where is None:
                return None
            for column in self._columns:
                found[column] = _cut(stored.facts[_FAMILIES[column].name][0], where)
            heads: Sequence[bytes] | None = None
            for at, (item, fields) in enumerate(self._fields):
                if known[at][1] is None:
                    heads = heads or _cut(stored.facts[facts.HEADER_FIELDS.name][0], where)
                    known[at] = item, fields.learn(indexes, heads)
        for item, texts in known:
            assert texts is not None
            found[item] = sections.cut(item, texts)
        return found

    def keep(self) -> None:
        """The FETCH has come to its end: what was found out on the way is for the next one."""
        for _, fields in self._fields:
            fields.keep()

    async def _covering(self, first: int, last: int) -> Stored | None:
        stored, fulltext = self._stored, self._user.services.fulltext
        if stored is not None and stored.first <= first and last < stored.below:
            return stored
        if fulltext is None:
            return None
        account, mailbox, families = self._selected.account, self._selected.mailbox, self._families
        try:
            self._stored = await fulltext.database.read(
                lambda reader: factpages.load(reader, account, mailbox, families, (first, last))
            )
        except DatabaseError:
            return None
        return self._stored


def _in_pages(wanted: Plan) -> bool:
    """Whether there is a place in pages for all that is wanted."""
    if wanted.bodies or not wanted.columns:
        return False
    if not (_FAMILIES.keys() | _OF_HEADS).issuperset(wanted.columns):
        return False
    fetched = [item for item, _ in wanted.plain if isinstance(item, Section)]
    names = [name.lower() for item in fetched for name in item.fields]
    return all(item.text is Text.FIELDS for item in fetched) and _FETCHED.issuperset(names)


def _where(kept: Sequence[int], emails: Sequence[int]) -> range | bytes | None:
    """Where the messages stand in a page: in a row, or as a mask; None where one is not there."""
    start = kept.index(emails[0]) if emails[0] in kept else 0
    if kept[start : start + len(emails)] == emails:
        return range(start, start + len(emails))
    mask = factpages.aligned(kept, emails)
    return mask if mask.count(1) == len(emails) else None


def _cut(column: Any, where: range | bytes) -> Sequence[Any]:
    if isinstance(where, bytes):
        return list(compress(column, where))
    if isinstance(column, Texts):
        return column.part(where.start, where.stop)
    part: Sequence[Any] = column[where.start : where.stop]
    return part
