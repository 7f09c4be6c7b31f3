"""Facts of messages that SEARCH, SORT and THREAD compare, kept ready for the sessions of a worker.

They never change, so they are made once, from the ENVELOPE or the header, when a mailbox is first asked for
them; what came since is added, what has gone is taken out. They are columns, as in a snapshot: numbers in
arrays, texts as octets one after the other. What is kept is bounded; what was not used for longest goes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from posthouse.store import read
from posthouse.store.read import Column
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

OCTETS = 64_000_000
"""Of all facts that are kept, at most."""
FEW = 100
"""Messages up to which it is less to read them than to make the facts of a mailbox."""
_BATCH = 1000


class Family(NamedTuple):
    """Facts that are made of the same columns of the store, and kept together."""

    name: str
    columns: tuple[Column, ...]
    kinds: str
    """One letter for each fact: as of `array`, or `t`, a text in octets."""
    make: Callable[..., tuple[Any, ...]]
    """The facts of one message, of the values of `columns`."""
    none: tuple[Any, ...]
    """Those of a message that has gone."""


class Texts:
    """A text for each message."""

    __slots__ = ("_all", "_ends")

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        listed = list(texts)
        self._all = b"".join(listed)
        self._ends = array("q", accumulate(map(len, listed)))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self._ends:
            yield self._all[start:end]
            start = end

    @property
    def octets(self) -> int:
        return len(self._all) + 8 * len(self._ends)

    def extended(self, more: Texts) -> Texts:
        both = Texts()
        before = len(self._all)
        both._all = self._all + more._all
        both._ends = self._ends + array("q", [before + end for end in more._ends])
        return both

    def only(self, kept: Sequence[int]) -> Texts:
        return Texts(compress(self, kept))

    def containing(self, sought: bytes) -> bytes:
        """A mask of the messages whose text has `sought` in it."""
        found = bytearray(len(self._ends))
        ends, text = self._ends, self._all
        at = text.find(sought)
        while at >= 0:
            index = bisect_right(ends, at)
            if at + len(sought) <= ends[index]:
                found[index] = 1
                at = text.find(sought, ends[index])
            else:
                at = text.find(sought, at + 1)
        return bytes(found)

    def filled(self) -> bytes:
        """A mask of the messages that have a text at all."""
        return bytes(end > start for start, end in zip([0, *self._ends], self._ends, strict=False))


Facts: TypeAlias = "tuple[Any, ...]"
"""One column for each kind of a family: an array, or `Texts`."""


class _Kept(NamedTuple):
    uids: array[int]
    facts: Facts
    octets: int


_Key: TypeAlias = "tuple[AccountId, int, str]"


class Knowledge:
    """The facts that one worker keeps; only the loop's thread uses it."""

    def __init__(self, octets: int = OCTETS) -> None:
        """`octets`: of all of them, at most."""
        self._most = octets
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._octets = 0

    def has(self, selected: Selected, family: Family) -> bool:
        """Whether there is something of this mailbox already."""
        return (selected.account, selected.mailbox, family.name) in self._kept

    async def of(self, user: User, selected: Selected, family: Family) -> Facts:
        """The facts of all messages in the view, in its order."""
        key = selected.account, selected.mailbox, family.name
        uids = selected.view.uids[:]
        kept = self._kept.get(key)
        if kept is not None and kept.uids == uids:
            self._kept.move_to_end(key)
            return kept.facts
        known, facts = _known(kept, uids, family)
        missing = uids[known:]
        account, mailbox = selected.account, selected.mailbox

        def make(reader: Reader) -> Facts:
            return _made(reader, account, mailbox, family, missing)

        facts = tuple(map(_extended, facts, await user.read_much(make)))
        self._keep(key, uids, facts)
        return facts

    async def of_some(
        self, user: User, selected: Selected, family: Family, indexes: Sequence[int]
    ) -> list[Sequence[Any]]:
        """The same for some messages of the view; of a few, without making those of all."""
        if len(indexes) <= FEW and not self.has(selected, family):
            account, mailbox = selected.account, selected.mailbox
            uids = [selected.view.uids[index] for index in indexes]
            facts = await user.read_much(lambda reader: _made(reader, account, mailbox, family, uids))
            return [list(column) for column in facts]
        columns: list[Sequence[Any]] = [list(column) for column in await self.of(user, selected, family)]
        if len(indexes) == len(selected.view):
            return columns
        return [[column[index] for index in indexes] for column in columns]

    def answered(self, selected: Selected, question: str) -> bytes | None:
        """What was answered to a question about all messages of the view, if they are the same still."""
        kept = self._kept.get((selected.account, selected.mailbox, question))
        return kept.facts[0] if kept is not None and kept.uids == selected.view.uids else None

    def remember(self, selected: Selected, uids: array[int], question: str, answer: bytes) -> None:
        """Keep an answer about the messages `uids`, which depends on nothing that changes."""
        self._keep((selected.account, selected.mailbox, question), uids, (answer,))

    def _keep(self, key: _Key, uids: array[int], facts: Facts) -> None:
        self._drop(key)
        octets = sum(_octets(column) for column in (uids, *facts))
        self._kept[key] = _Kept(uids, facts, octets)
        self._octets += octets
        while self._octets > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._octets -= kept.octets


def _known(kept: _Kept | None, uids: array[int], family: Family) -> tuple[int, Facts]:
    """Of how many messages, from the first on, the facts are there; and these."""
    if kept is not None:
        there = set(uids)
        mask = bytes(uid in there for uid in kept.uids)
        left = array("I", compress(kept.uids, mask))
        if uids[: len(left)] == left:
            return len(left), kept.facts if all(mask) else tuple(_only(column, mask) for column in kept.facts)
    return 0, tuple(_column(kind, ()) for kind in family.kinds)


def _made(reader: Reader, account: AccountId, mailbox: int, family: Family, uids: Sequence[int]) -> Facts:
    found: dict[int, tuple[Any, ...]] = {}
    columns = (Column.UID, *family.columns)
    for start in range(0, len(uids), _BATCH):
        some = ranges_of(uids[start : start + _BATCH])
        for uid, *row in read.fetch(reader, account, mailbox, some, columns):
            found[uid] = family.make(*row)
    values = [found.get(uid, family.none) for uid in uids]
    by_fact = zip(*values, strict=True) if values else [()] * len(family.kinds)
    return tuple(_column(kind, column) for kind, column in zip(family.kinds, by_fact, strict=True))


def _column(kind: str, values: Iterable[Any]) -> Any:
    return Texts(values) if kind == "t" else array(kind, values)


def _extended(column: Any, more: Any) -> Any:
    return column.extended(more) if isinstance(column, Texts) else column + more


def _only(column: Any, mask: bytes) -> Any:
    if isinstance(column, Texts):
        return column.only(mask)
    return array(column.typecode, compress(column, mask))


def _octets(column: Any) -> int:
    if isinstance(column, bytes):
        return len(column)
    return column.octets if isinstance(column, Texts) else len(column) * column.itemsize
