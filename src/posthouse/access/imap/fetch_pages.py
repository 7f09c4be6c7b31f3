"""FETCH of many messages from the pages that are kept of them (`store.factpages`): little is read for much.

What FETCH returns of a whole mailbox, again and again, lies in these pages side by side: ENVELOPE,
BODYSTRUCTURE, internal dates, and the header fields that mail programs show. Where one thing that is wanted
is not there, nothing is taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any

from posthouse.access.imap.fetch_lines import Row
from posthouse.access.imap.fetch_plan import Plan
from posthouse.access.imap.lines import some
from posthouse.db import DatabaseError
from posthouse.protocol.imap.fetching import Section, Text
from posthouse.store import factpages, facts
from posthouse.store.columns import Texts
from posthouse.store.facts import Family
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
    Column.HEAD: facts.HEADER_FIELDS,
}
_FETCHED = frozenset(facts.FETCHED)
_OUTSIDE = {Column.UID, Column.PREFIX}
"""Columns that are in no page: UIDs are in the view, and a prefix stands with the fields of the head."""


class Pages:
    """The pages of one FETCH; it keeps those that were read last."""

    def __init__(self, user: User, selected: Selected, wanted: Plan) -> None:
        self._user = user
        self._selected = selected
        self._wanted = wanted.columns
        self._families = _families(wanted)
        self._stored: Stored | None = None

    async def rows(self, indexes: Sequence[int]) -> list[Row] | None:
        """The columns wanted of some messages; None where they are to be read from the store."""
        if not self._families or len(indexes) < MANY:
            return None
        view = self._selected.view
        uids, emails = some(view.uids, indexes), some(view.emails, indexes)
        stored = await self._covering(uids[0], uids[-1])
        if stored is None:
            return None
        where = _where(stored.emails, emails)
        if where is None:
            return None
        columns: list[Any] = []
        for column in self._wanted:
            family = _FAMILIES.get(column)
            if family is not None:
                columns.append(_cut(stored.facts[family.name][0], where))
            else:
                columns.append(uids if column is Column.UID else repeat(b"", len(uids)))
        return list(zip(*columns, strict=True))

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


def _families(wanted: Plan) -> list[Family]:
    """Where the columns are; nothing if one is in no page."""
    if wanted.bodies or any(column not in _FAMILIES.keys() | _OUTSIDE for column in wanted.columns):
        return []
    sections = [item for item, _ in wanted.plain if isinstance(item, Section)]
    names = [name.lower() for item in sections for name in item.fields]
    if any(item.text is not Text.FIELDS for item in sections) or not _FETCHED.issuperset(names):
        return []
    return [_FAMILIES[column] for column in wanted.columns if column in _FAMILIES]


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
