"""Facts of messages that SEARCH, SORT and THREAD compare, kept ready for the sessions of a worker.

They never change. When a mailbox is first asked for them they are taken from the pages that are kept beside
the full-text index (`store.factpages`), and made where those have none; what came since is added, what has
gone is taken out. They are columns, as in a snapshot. What is held is bounded; what was not used for longest
goes.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from posthouse.db import DatabaseError
from posthouse.observe import log, metrics
from posthouse.store import columns, factpages, facts
from posthouse.store.facts import Facts, Family

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

OCTETS = 64_000_000
"""Of all facts that are kept, at most."""
FEW = 100
"""Messages up to which it is less to read them than to make the facts of a mailbox."""

_EXPANDED = 4
"""How much larger facts are than they were compressed, about."""

_log = log.get("search")
_FACTS = metrics.counters(
    "posthouse_search_facts_total",
    "messages whose facts a search, a sort or a thread did not find in memory",
    "by",
    ("page", "header"),
)


class _Kept(NamedTuple):
    uids: array[int]
    facts: Facts
    octets: int


_Key: TypeAlias = "tuple[AccountId, int, str]"


class _View(NamedTuple):
    """A mailbox as it was when facts of it were first asked for: a session may change its own meanwhile."""

    account: AccountId
    mailbox: int
    uids: array[int]
    emails: array[int]
    sizes: array[int]


class Knowledge:
    """The facts that one worker keeps; only the loop's thread uses it."""

    def __init__(self, octets: int = OCTETS) -> None:
        """`octets`: of all of them, at most."""
        self._most = octets
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self.octets = 0
        """Of all that is kept now."""

    def has(self, selected: Selected, family: Family) -> bool:
        """Whether there is something of this mailbox already."""
        return (selected.account, selected.mailbox, family.name) in self._kept

    async def recall(self, user: User, selected: Selected, families: Iterable[Family]) -> bool:
        """Whether there is something of all these families, if need be after a look at the pages."""
        absent = [family for family in families if not self.has(selected, family)]
        if absent and await self._fits(user, selected, absent):
            view = _view(selected)
            for family, (known, found) in (await self._from_pages(user, view, absent)).items():
                self._keep((view.account, view.mailbox, family.name), view.uids[:known], found)
        return all(self.has(selected, family) for family in absent)

    async def _fits(self, user: User, selected: Selected, families: Sequence[Family]) -> bool:
        """Whether what the pages have can be kept in memory."""
        fulltext, account, mailbox = user.services.fulltext, selected.account, selected.mailbox
        if fulltext is None:
            return False
        try:
            octets = await fulltext.database.read(
                lambda reader: factpages.octets(reader, account, mailbox, families)
            )
        except DatabaseError:
            return False
        return 0 < octets * _EXPANDED <= self._most

    async def of(self, user: User, selected: Selected, *families: Family) -> list[Facts]:
        """The facts of all messages in the view, in its order, for each family."""
        view = _view(selected)
        found: dict[Family, Facts] = {}
        known: dict[Family, tuple[int, Facts]] = {}
        absent: list[Family] = []
        for family in families:
            key = view.account, view.mailbox, family.name
            kept = self._kept.get(key)
            if kept is None:
                absent.append(family)
            elif kept.uids == view.uids:
                self._kept.move_to_end(key)
                found[family] = kept.facts
            else:
                known[family] = _known(kept, view.uids, family)
        if absent:
            known |= await self._from_pages(user, view, absent)
        for start in sorted({start for start, _ in known.values()}):
            alike = [family for family in known if known[family][0] == start]
            if not start:
                alike += self._beside(view, alike)
            missing = await self._make(user, view, alike, start)
            for family, more in zip(alike, missing, strict=True):
                found[family] = tuple(map(columns.extended, known[family][1], more)) if start else more
                self._keep((view.account, view.mailbox, family.name), view.uids, found[family])
        return [found[family] for family in families]

    def _beside(self, view: _View, families: Sequence[Family]) -> list[Family]:
        """Others that nothing is known of, and that are made of the same columns: at little cost."""
        return [
            family
            for family in facts.FAMILIES
            if family not in families
            and (view.account, view.mailbox, family.name) not in self._kept
            and any(family.columns == one.columns for one in families)
        ]

    async def of_some(
        self, user: User, selected: Selected, families: Sequence[Family], indexes: Sequence[int]
    ) -> list[Sequence[Iterable[Any]]]:
        """The same for some messages of the view; of a few, without having those of all."""
        if len(indexes) <= FEW and not all(self.has(selected, family) for family in families):
            view = _view(selected)
            uids, sizes = ([column[index] for index in indexes] for column in (view.uids, view.sizes))
            made = await user.read_much(
                lambda reader: facts.make(reader, view.account, view.mailbox, families, uids, sizes)
            )
            return list(made)
        count = len(selected.view)
        whole = await self.of(user, selected, *families)
        if len(indexes) == count:
            return list(whole)
        return [[columns.picked(column, indexes) for column in found] for found in whole]

    def known(self, selected: Selected, family: Family) -> tuple[int, Facts]:
        """Of how many messages of the view, from the first on, facts are in memory; and these."""
        key = selected.account, selected.mailbox, family.name
        kept = self._kept.get(key)
        if kept is None:
            return 0, columns.columns(family.kinds, ())
        self._kept.move_to_end(key)
        uids = selected.view.uids
        if kept.uids == uids:
            return len(uids), kept.facts
        count, found = _known(kept, uids, family)
        self._keep(key, uids[:count], found)
        return count, found

    def learn(self, selected: Selected, uids: array[int], family: Family, found: Facts) -> None:
        """Keep the facts of the first messages of the view, those with these `uids`."""
        self._keep((selected.account, selected.mailbox, family.name), uids, found)

    def answered(self, selected: Selected, question: str) -> bytes | None:
        """What was answered to a question about all messages of the view, if they are the same still."""
        kept = self._kept.get((selected.account, selected.mailbox, question))
        return kept.facts[0] if kept is not None and kept.uids == selected.view.uids else None

    def remember(self, selected: Selected, uids: array[int], question: str, answer: bytes) -> None:
        """Keep an answer about the messages `uids`, which depends on nothing that changes."""
        self._keep((selected.account, selected.mailbox, question), uids, (answer,))

    async def _from_pages(
        self, user: User, view: _View, families: Sequence[Family]
    ) -> dict[Family, tuple[int, Facts]]:
        """Of how many messages, from the first on, the pages have the facts; and these."""
        nothing = {family: (0, columns.columns(family.kinds, ())) for family in families}
        fulltext = user.services.fulltext
        if fulltext is None:
            return nothing

        def look(reader: Reader) -> dict[Family, tuple[int, Facts]] | None:
            stored = factpages.load(reader, view.account, view.mailbox, families)
            if stored is None:
                return None
            mask = factpages.aligned(stored.emails, view.emails)
            known = mask.count(1)
            if known == len(mask):
                return {family: (known, stored.facts[family.name]) for family in families}
            return {
                family: (known, tuple(columns.only(column, mask) for column in stored.facts[family.name]))
                for family in families
            }

        try:
            found = await fulltext.database.read(look)
        except DatabaseError as error:
            _log.warning("the facts of messages cannot be read; they are made anew", reason=str(error))
            found = None
        if found:
            _FACTS["page"].add(max(known for known, _ in found.values()))
        return found or nothing

    async def _make(self, user: User, view: _View, families: Sequence[Family], start: int) -> list[Facts]:
        """The facts of all messages from an index on."""
        uids, sizes = view.uids[start:], view.sizes[start:]
        if not uids:
            return [columns.columns(family.kinds, ()) for family in families]
        _FACTS["header"].add(len(uids))
        return await user.read_much(
            lambda reader: facts.make(reader, view.account, view.mailbox, families, uids, sizes)
        )

    def _keep(self, key: _Key, uids: array[int], found: Facts) -> None:
        self._drop(key)
        octets = sum(columns.octets(column) for column in (uids, *found))
        self._kept[key] = _Kept(uids, found, octets)
        self.octets += octets
        while self.octets > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.octets -= kept.octets


def _view(selected: Selected) -> _View:
    view = selected.view
    return _View(selected.account, selected.mailbox, view.uids[:], view.emails[:], view.sizes[:])


def _known(kept: _Kept, uids: array[int], family: Family) -> tuple[int, Facts]:
    """Of how many messages, from the first on, the facts are there; and these."""
    there = set(uids)
    mask = bytes(uid in there for uid in kept.uids)
    left = array("I", compress(kept.uids, mask))
    if uids[: len(left)] == left:
        return len(left), kept.facts if all(mask) else tuple(
            columns.only(column, mask) for column in kept.facts
        )
    return 0, columns.columns(family.kinds, ())
