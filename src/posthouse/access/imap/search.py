"""SEARCH (RFC 3501 §6.4.4): the tree of keys evaluated over the view and, where need be, the store.

Keys that the view can answer (flags, numbers, sizes) narrow the messages first, and then those that are
decided by facts kept in memory (dates, the usual header fields); what remains is read in batches, the least
that the other keys need: internal dates, headers, or whole messages. Of messages that are in the full-text
index most need not be read at all (`lookup`). Large messages are read piece by piece, and others have their
turn between messages: decoding holds the interpreter, in whatever thread it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial, reduce
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.access.imap import collation, contexts, fetch, flags, headers, masks, message_limit, results
from posthouse.access.imap.alike import MISTAKES, alike
from posthouse.access.imap.contexts import TAG_REUSE, Choose
from posthouse.access.imap.facts import FEW
from posthouse.access.imap.filters import spelled_out
from posthouse.access.imap.headers import compare, day_of
from posthouse.access.imap.lookup import look_up
from posthouse.access.imap.objects import email_id, emails_of_thread, know_threads
from posthouse.access.imap.selected import Runs, Selected, batches, indexes_of_uids, numbers_of, with_saved
from posthouse.access.imap.state import User, completed
from posthouse.mail.casefold import Finder, contains, fold
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.text import body_text, header_text, read_body_text, surely_lacks
from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.events import UNKNOWN_CHARSET
from posthouse.protocol.imap.fetching import Section
from posthouse.protocol.imap.searching import SearchKey
from posthouse.protocol.imap.sequence import LARGEST, RESULT, SAVED, SequenceSet
from posthouse.protocol.imap.server import Result
from posthouse.store import read
from posthouse.store.content import from_row
from posthouse.store.facts import Facts, sent_day
from posthouse.store.fulltext import headers_text
from posthouse.store.read import Column, Message
from posthouse.store.uids import Ranges, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.mail.mime import Part


class Need(IntEnum):
    """What a key has to know of a message, from little to much."""

    VIEW = 0
    DATE = 1
    HEAD = 2
    BODY = 3


_COLUMNS: dict[Need, tuple[Column, ...]] = {
    Need.DATE: (Column.UID, Column.ARRIVED, Column.SAVED),
    Need.HEAD: (Column.UID, Column.ARRIVED, Column.PREFIX, Column.HEAD, Column.SAVED),
    Need.BODY: (
        Column.UID,
        Column.ARRIVED,
        Column.PREFIX,
        Column.HEAD,
        Column.CONTENT_SIZE,
        Column.BLOB,
        Column.BODY,
        Column.SAVED,
    ),
}
_BATCH = {Need.DATE: 2000, Need.HEAD: 200, Need.BODY: 200}
_TURN_OCTETS = 32 * 1024
"""Of messages decoded before others have their turn: a millisecond, about."""


_FEW_SCORED = 100
"""Messages that are read to find out how well they fit; of more the index is asked."""


class Subject:
    """One message while it is looked at; its header is indexed once."""

    __slots__ = ("_header", "_lowered", "_text", "index", "message", "row")

    def __init__(self, index: int, row: tuple[Any, ...] = (), message: Message | None = None) -> None:
        self.index = index
        self.row = row
        self.message = message
        self._header: HeaderIndex | None = None
        self._lowered: bytes | None = None
        self._text: str | None = None

    @property
    def header(self) -> HeaderIndex:
        if self._header is None:
            self._header = HeaderIndex(self.row[2] + self.row[3])
        return self._header

    def lacks(self, word: bytes) -> bool:
        """Whether the header surely has no such word: ASCII, lower case, without white space.

        Encoded words, and letters that fold to ASCII, could hide it.
        """
        if self._lowered is None:
            self._lowered = (self.row[2] + self.row[3]).lower()
        return word not in self._lowered and b"=?" not in self._lowered and self._lowered.isascii()

    @property
    def header_text(self) -> str:
        """The whole header, decoded and folded."""
        if self._text is None:
            self._text = fold(header_text(self.header.head))
        return self._text

    async def headers_text(self, root: Part) -> str:
        """The headers of the message and of all its parts, decoded and folded."""
        if not root.parts and root.message is None:
            return self.header_text
        return fold(await headers_text(self.header.head, root))


Searching: TypeAlias = commands.Search | commands.Sort | commands.Thread


async def search(user: User, command: commands.Search) -> Result:
    """SEARCH and UID SEARCH."""
    if command.returns is None and user.enabled.rev2:
        command = command._replace(returns=frozenset({Return.ALL}))  # RFC 9051 §6.4.4
    if isinstance(command.key, searching.UnknownStrings):
        user.open.saved = ()
        return UNKNOWN_CHARSET
    if tag_in_use(user, command):
        return TAG_REUSE
    command = await spelled_out(user, command)
    indexes, limited = await found(user, command)
    return message_limit.told(await answer(user, command, indexes, "SEARCH"), limited)


def tag_in_use(user: User, command: commands.Search | commands.Sort | commands.MultiSearch) -> bool:
    """Whether the results of a command cannot be kept up to date, for others with its tag are."""
    if command.returns is None or Return.UPDATE not in command.returns or user.selected is None:
        return False
    return user.selected.contexts.has(command.tag)


async def found(user: User, command: Searching) -> tuple[Sequence[int], str]:
    """Indexes of the messages that a command is about, ascending; MESSAGELIMIT if not all were looked at."""
    selected = user.open
    one = Search(user, selected, selected.saved)
    if _saves(command):
        selected.saved = ()  # RFC 5182 §2.1: where the search fails, `$` stands for nothing
    key, code = command.key, ""
    if user.services.imap.message_limit:
        some, code = message_limit.newest(user, selected, one.looked_at(key))
        if code:
            first = selected.view.uids[some[0][0]]
            key = searching.And((searching.Uids(SequenceSet(((first, LARGEST),))), key))
    return await one.run(key), code


def _saves(command: Searching) -> bool:
    return not isinstance(command, commands.Thread) and Return.SAVE in (command.returns or ())


async def answer(
    user: User,
    command: commands.Search | commands.Sort,
    indexes: Sequence[int],
    name: str,
    order: Choose | None = None,
) -> Result:
    """What SEARCH and SORT (`name`) say of the messages at `indexes`, which are in the order wanted.

    `order` puts others into it, for RETURN (UPDATE).
    """
    selected = user.open
    uids = selected.view.uids
    if command.returns is not None and _saves(command):
        selected.saved = ranges_of(sorted(uids[index] for index in _returned(indexes, command)))
    numbers = selected.uids_of(indexes) if command.uid else numbers_of(indexes)
    scores = await scores_of(user, selected, command, indexes)
    modseq = modseq_of(selected, indexes, command)
    said = results.response(name, command, numbers, modseq, scores=scores)
    if command.returns is not None and Return.UPDATE in command.returns:
        said += keep_up_to_date(user, selected, command, indexes, order)
    return completed(name, untagged=said + await news(user, command))


def keep_up_to_date(
    user: User,
    selected: Selected,
    command: commands.Search | commands.Sort | commands.MultiSearch,
    indexes: Sequence[int],
    order: Choose | None = None,
    where: bytes = b"",
) -> bytes:
    """RETURN (UPDATE) (RFC 5267 §4.3): from now on tell how the results change; what is said at once."""
    key = searching.changed(command.key, lambda leaf: _of_now(selected, leaf))
    items = tuple(item._replace(peek=True) if isinstance(item, Section) else item for item in command.update)
    if not fetch.is_ready(items):
        return contexts.refused(command.tag, "Whole messages are not sent unasked")
    return selected.contexts.begin(
        command._replace(key=key),
        [selected.view.uids[index] for index in indexes],
        lambda some: Search(user, selected, ()).among(some, key),
        order,
        lambda some: fetch.lines_of(user, selected, some, items),
        where,
    )


def _of_now(selected: Selected, leaf: SearchKey) -> SearchKey:
    """RFC 5267 §4.3: sequence numbers mean the messages that have them now."""
    match leaf:
        case searching.Fuzzy(key):
            return searching.Fuzzy(searching.changed(key, lambda inner: _of_now(selected, inner)))
        case searching.Numbers(numbers) if numbers != SAVED:
            ranges = selected.uid_ranges(selected.runs_within(numbers.without_saved()))
            ranges = [*ranges, RESULT] if numbers.has_saved else ranges
            return searching.Uids(SequenceSet(tuple(ranges))) if ranges else searching.Not(searching.All())
    return leaf


async def news(user: User, command: Searching) -> bytes:
    """What has changed meanwhile. RFC 9051 §7.5.1: no number changes its message while numbers are sought."""
    return await user.news(expunges=command.uid and not searching.numbered(command.key))


async def scores_of(
    user: User,
    selected: Selected,
    command: commands.Search | commands.Sort | commands.MultiSearch,
    indexes: Sequence[int],
) -> list[int]:
    """How well each message fits, where that was asked for (RFC 6203 §4)."""
    if command.returns is None or Return.RELEVANCY not in command.returns:
        return []
    return await relevancy(user, selected, command.key, indexes)


async def relevancy(user: User, selected: Selected, key: SearchKey, indexes: Sequence[int]) -> list[int]:
    """How well each message fits: as it is written, with other endings, or only with mistakes."""
    found = dict.fromkeys(indexes, 0)
    rest = sorted(indexes)
    for score, stricter in (await alike(user, selected, key)).scored(key):
        one = Search(user, selected, ())
        fit = await one.among(rest, stricter) if len(rest) <= _FEW_SCORED else await one.run(stricter)
        found |= dict.fromkeys(found.keys() & set(fit) & set(rest), score)
        rest = [index for index in rest if not found[index]]
        if not rest:
            break
    return [found[index] or 1 for index in indexes]


def modseq_of(
    selected: Selected, found: Sequence[int], command: commands.Search | commands.Sort | commands.MultiSearch
) -> int:
    """The greatest modseq of what is returned, where it was sought (RFC 7162 §3.1.5, §3.1.10); else 0."""
    if not searching.seeks_modseq(command.key):
        return 0
    return max((selected.view.modseqs[index] for index in _returned(found, command)), default=0)


def _returned(
    found: Sequence[int], command: commands.Search | commands.Sort | commands.MultiSearch
) -> Sequence[int]:
    if command.returns is None:
        return found
    return results.returned(found, command.returns, command.partial)


class Search:
    """One search over one view."""

    def __init__(self, user: User, selected: Selected, saved: Ranges) -> None:
        """`saved`: the UIDs that `$` stands for."""
        self._user = user
        self._selected = selected
        self._saved = saved
        self._tests: dict[int, Callable[[Subject], bool]] = {}
        self._threads: dict[str, frozenset[int]] = {}
        self._facts: dict[str, Facts] = {}

    async def run(self, key: SearchKey) -> Sequence[int]:
        """Indexes of the messages for which `key` holds, ascending."""
        key = await self._prepared(key)
        selected, count = self._selected, len(self._selected.view)
        if not await self._at_hand(key):
            answered = await look_up(self._user.services.fulltext, selected.account, selected.view, key)
            if answered is not None:
                known = await self._those_of(masks.of_indexes(answered.known, count), answered.key)
                unknown = await self._those_of(masks.of_indexes(answered.unknown, count), key)
                return sorted([*known, *unknown])
        return await self._those_of(masks.every(count), key)

    def looked_at(self, key: SearchKey) -> Runs:
        """The messages that a search has to look at: those that it names, or all (RFC 9738 §3.1)."""
        mask = self._named(key)
        return [(first, last + 1) for first, last in ranges_of(masks.indexes(mask))]

    def _named(self, key: SearchKey) -> bytes:
        if isinstance(key, searching.And):
            return reduce(masks.both, map(self._named, key.keys))
        if isinstance(key, searching.Numbers | searching.Uids):
            return self._mask(key)
        return masks.every(len(self._selected.view))

    async def among(self, indexes: Sequence[int], key: SearchKey) -> Sequence[int]:
        """Those of a few messages for which `key` holds, ascending."""
        key = await self._prepared(key)
        return await self._those_of(masks.of_indexes(indexes, len(self._selected.view)), key)

    async def _prepared(self, key: SearchKey) -> SearchKey:
        """The key without FUZZY; what it needs to know of threads is known then."""
        if searching.is_fuzzy(key):
            found = await alike(self._user, self._selected, key)
            key = searching.loose(key, found.near(MISTAKES))
        for id in searching.thread_ids(key):
            await know_threads(self._user, self._selected.account)
            self._threads[id] = await emails_of_thread(self._user, self._selected.account, id)
        return key

    async def _at_hand(self, key: SearchKey) -> bool:
        """Whether what decides a key is in memory, or comes there without a header being read."""
        leaves = [leaf for leaf in searching.leaves(key) if need(leaf) is not Need.VIEW]
        families = [headers.family_of(leaf) for leaf in leaves]
        if None in families:
            return False
        if not families or self._by_view(key).count(1) <= FEW:
            return True
        knowledge = self._user.services.knowledge
        return await knowledge.recall(self._user, self._selected, {one for one in families if one})

    def _by_view(self, key: SearchKey) -> bytes:
        """A mask of the messages for which those parts of a key hold that the view decides."""
        keys = key.keys if isinstance(key, searching.And) else (key,)
        masked = (self._mask(part) for part in keys if need(part) is Need.VIEW)
        return reduce(masks.both, masked, masks.every(len(self._selected.view)))

    async def _those_of(self, found: bytes, key: SearchKey) -> Sequence[int]:
        """Indexes of those of the messages `found`, a mask, for which `key` holds, ascending."""
        keys = key.keys if isinstance(key, searching.And) else (key,)
        found = masks.both(found, self._by_view(key))
        rest = [part for part in keys if need(part) is not Need.VIEW]
        await self._learn(rest, found.count(1))
        for part in [part for part in rest if self._decided(part)]:
            found = masks.both(found, self._mask(part))
            rest.remove(part)
        indexes: Sequence[int] = masks.indexes(found)
        for wanted, parts in groupby(sorted(rest, key=need), key=need):
            if not indexes:
                break
            indexes = await self._narrow(indexes, searching.And(tuple(parts)), wanted)
        return indexes

    async def _learn(self, keys: list[SearchKey], candidates: int) -> None:
        """Have the facts ready by which keys are decided, where that is less than to read the candidates."""
        knowledge, selected = self._user.services.knowledge, self._selected
        families = {headers.family_of(leaf) for key in keys for leaf in searching.leaves(key)}
        wanted = [one for one in families if one and (candidates > FEW or knowledge.has(selected, one))]
        found = await knowledge.of(self._user, selected, *wanted)
        self._facts |= {family.name: facts for family, facts in zip(wanted, found, strict=True)}

    def _decided(self, key: SearchKey) -> bool:
        """Whether the view and the facts at hand decide a key."""
        return all(
            need(leaf) is Need.VIEW
            or ((family := headers.family_of(leaf)) is not None and family.name in self._facts)
            for leaf in searching.leaves(key)
        )

    def _mask(self, key: SearchKey) -> bytes:
        """Where a key holds that is decided."""
        count = len(self._selected.view)
        match key:
            case searching.And(keys):
                return reduce(masks.both, map(self._mask, keys), masks.every(count))
            case searching.Or(one, other):
                return masks.either(self._mask(one), self._mask(other))
            case searching.Not(inner):
                return masks.inverse(self._mask(inner))
        family = headers.family_of(key)
        if family is not None:
            return headers.mask(key, self._facts[family.name], self._user.services.clock.now())
        return self._mask_by_view(key, count)

    def _mask_by_view(self, key: SearchKey, count: int) -> bytes:
        selected, view = self._selected, self._selected.view
        match key:
            case searching.All():
                return masks.every(count)
            case searching.Numbers(numbers):
                return masks.of_runs(self._runs(numbers, uid=False), count)
            case searching.Uids(uids):
                return masks.of_runs(self._runs(uids, uid=True), count)
            case searching.HasFlag("\\Recent"):
                return masks.of_runs(selected.recent_runs(), count)
            case searching.HasFlag(flag) if flag in flags.SYSTEM:
                return masks.of_flag(view.flags, flags.SYSTEM[flag])
            case searching.HasFlag(flag):
                word = flag.lower()
                return masks.where_distinct(lambda words: word in words.lower().split(), view.keywords)
            case searching.Larger(octets):
                return masks.where(octets.__lt__, view.sizes)
            case searching.Smaller(octets):
                return masks.where(octets.__gt__, view.sizes)
            case searching.ModSeq(modseq):
                return masks.where(modseq.__le__, view.modseqs)
            case searching.Among(emails):
                return masks.where(emails.__contains__, view.emails)
            case searching.ObjectId("THREADID", id):
                return masks.where(self._threads[id].__contains__, view.emails)
            case searching.ObjectId(_, id):
                return masks.where(lambda email: email_id(email) == id, view.emails)
        raise AssertionError(key)

    async def _narrow(self, indexes: Sequence[int], key: SearchKey, wanted: Need) -> list[int]:
        """Those of `indexes` for which `key` holds, which needs `wanted` to be read."""
        found: list[int] = []
        held = 0 if wanted is Need.DATE else 1
        done = octets = 0
        for some in batches(indexes, self._selected.view.sizes, _BATCH[wanted], held):
            self._user.progress = done, len(indexes)
            done += len(some)
            for subject in await self._subjects(some, wanted):
                if await self._holds(key, subject):
                    found.append(subject.index)
                octets += held * self._selected.view.sizes[subject.index]
                if octets > _TURN_OCTETS:
                    octets = 0
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        return found

    async def _subjects(self, indexes: Sequence[int], wanted: Need) -> list[Subject]:
        view, user = self._selected.view, self._user
        ranges: Ranges = ranges_of(view.uids[index] for index in indexes)
        columns, account, mailbox = _COLUMNS[wanted], self._selected.account, self._selected.mailbox

        def query(reader: Reader) -> list[tuple[Any, ...]]:
            return read.fetch(reader, account, mailbox, ranges, columns)

        subjects = []
        for row in await user.read_much(query):
            at = view.index(row[0])
            if at is None:
                continue
            message = None
            if wanted is Need.BODY:
                content = from_row(user.services.blobs, row[4], row[3], row[5], row[6])
                message = Message(row[2], content)
            subjects.append(Subject(at, row, message))
        return subjects

    async def _holds(self, key: SearchKey, subject: Subject) -> bool:
        """Whether a key holds; what reads bodies waits, all else is `_test`."""
        if need(key) is not Need.BODY:
            test = self._tests.get(id(key))
            if test is None:
                test = self._tests[id(key)] = self._test(key)
            return test(subject)
        if isinstance(key, searching.And):
            for part in sorted(key.keys, key=need):
                if not await self._holds(part, subject):
                    return False
            return True
        if isinstance(key, searching.Or):
            return await self._holds(key.one, subject) or await self._holds(key.other, subject)
        if isinstance(key, searching.Not):
            return not await self._holds(key.key, subject)
        message = subject.message
        assert message is not None
        if isinstance(key, searching.Compared):
            root = await self._user.structures.of(self._selected.view.emails[subject.index], message)
            return await collation.in_message(key, subject.header.head, message, root)
        assert isinstance(key, searching.InBody | searching.InText)
        sought = fold(key.text)
        if not sought or (isinstance(key, searching.InText) and sought in subject.header_text):
            return True
        data = message.data
        if data is not None and surely_lacks(data, sought):
            return False
        root = await self._user.structures.of(self._selected.view.emails[subject.index], message)
        if isinstance(key, searching.InText) and sought in await subject.headers_text(root):
            return True
        if data is not None:
            return contains(body_text(data, root), sought)
        finder = Finder([sought])
        async for piece in read_body_text(message, root):
            if not finder.feed(piece, False):
                return True
            await asyncio.sleep(0)
        return not finder.feed("", True)

    def _test(self, key: SearchKey) -> Callable[[Subject], bool]:
        """A key that needs no body, as a function."""
        if self._decided(key):
            mask = self._mask(key)
            return lambda subject: bool(mask[subject.index])
        match key:
            case searching.And(keys):
                tests = [self._test(part) for part in sorted(keys, key=need)]
                return lambda subject: all(test(subject) for test in tests)
            case searching.Or(one, other):
                first, second = self._test(one), self._test(other)
                return lambda subject: first(subject) or second(subject)
            case searching.Not(inner):
                test = self._test(inner)
                return lambda subject: not test(subject)
            case searching.Age(seconds, older):
                edge = self._user.services.clock.now() - seconds
                if older:
                    return lambda subject: bool(subject.row[1] <= edge)
                return lambda subject: bool(subject.row[1] >= edge)
            case searching.InternalDate(how, date):
                return lambda subject: compare(day_of(subject.row[1]), how, date)
            case searching.SavedDate(how, date):
                return lambda subject: compare(day_of(subject.row[-1] or subject.row[1]), how, date)
            case searching.SentDate(how, date):
                return lambda subject: compare(sent_day(subject.header), how, date)
            case searching.Compared():
                return lambda subject: collation.in_header(key, subject.header)
            case searching.InHeader(name, text):
                return _header_test(name, fold(text))
        raise AssertionError(key)

    def _runs(self, numbers: SequenceSet, *, uid: bool) -> Runs:
        find = partial(self._selected.runs, uid=True) if uid else self._selected.runs_within
        return with_saved(numbers, indexes_of_uids(self._selected.view, self._saved), find)


def need(key: SearchKey) -> Need:
    """What a key has to know of a message."""
    match key:
        case searching.And(keys):
            return max(map(need, keys))
        case searching.Or(one, other):
            return max(need(one), need(other))
        case searching.Not(inner):
            return need(inner)
        case searching.InternalDate() | searching.SavedDate() | searching.Age():
            return Need.DATE
        case searching.Compared(inner):
            return need(inner)
        case searching.SentDate() | searching.InHeader():
            return Need.HEAD
        case searching.InBody() | searching.InText():
            return Need.BODY
    return Need.VIEW


def _header_test(name: str, sought: str) -> Callable[[Subject], bool]:
    # White space may be where a field is folded, so one word is looked for; the longest says most.
    word = max(sought.split(), key=len, default="").encode() if sought.isascii() else b""

    def test(subject: Subject) -> bool:
        if word and subject.lacks(word):
            return False
        values = subject.header.all(name)
        if not sought:  # RFC 3501 §6.4.4: any message that has the field
            return bool(values)
        return any(sought in fold(field_value_text(value)) for value in values)

    return test
