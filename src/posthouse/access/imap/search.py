"""SEARCH (RFC 3501 §6.4.4): the tree of keys evaluated over the view and, where need be, the store.

Keys that the view can answer (flags, numbers, sizes) narrow the messages first; what remains is read in
batches, the least that the other keys need: internal dates, headers, or whole messages. Of messages that are
in the full-text index most need not be read at all (`lookup`). Large messages are read piece by piece, and
others have their turn between messages: decoding holds the interpreter, in whatever thread it is done.
"""

from __future__ import annotations

import asyncio
import datetime
from bisect import bisect_right
from collections.abc import Callable, Sequence
from email.utils import parsedate
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.access.imap import flags, results
from posthouse.access.imap.contexts import Choose
from posthouse.access.imap.lookup import look_up
from posthouse.access.imap.objects import email_id, emails_of_thread, know_threads
from posthouse.access.imap.selected import Runs, Selected, batches, indexes_of_uids
from posthouse.access.imap.state import User, completed
from posthouse.mail.casefold import Finder, contains, fold
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.mime import scan
from posthouse.mail.text import body_text, header_text, read_body_text, surely_lacks
from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.searching import Day, SearchKey
from posthouse.protocol.imap.sequence import SAVED, SequenceSet
from posthouse.protocol.imap.server import Result
from posthouse.store import read
from posthouse.store.content import from_row
from posthouse.store.read import Column, Message
from posthouse.store.uids import Ranges, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader


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
_BATCH = {Need.DATE: 2000, Need.HEAD: 200, Need.BODY: 50}


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


Searching: TypeAlias = commands.Search | commands.Sort | commands.Thread


async def search(user: User, command: commands.Search) -> Result:
    """SEARCH and UID SEARCH."""
    if command.returns is None and user.enabled.rev2:
        command = command._replace(returns=frozenset({Return.ALL}))  # RFC 9051 §6.4.4
    return await answer(user, command, await found(user, command), "SEARCH")


async def found(user: User, command: Searching) -> list[int]:
    """Indexes of the messages that a command is about, ascending."""
    selected = user.open
    before = selected.saved
    if _saves(command):
        selected.saved = ()  # RFC 5182 §2.1: where the search fails, `$` stands for nothing
    return await Search(user, selected, before).run(command.key)


def _saves(command: Searching) -> bool:
    return not isinstance(command, commands.Thread) and Return.SAVE in (command.returns or ())


async def answer(
    user: User,
    command: commands.Search | commands.Sort,
    indexes: list[int],
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
    numbers = [uids[index] for index in indexes] if command.uid else [index + 1 for index in indexes]
    said = results.response(name, command, numbers, modseq_of(selected, indexes, command))
    if command.returns is not None and Return.UPDATE in command.returns:
        said += selected.contexts.begin(
            command,
            [uids[index] for index in indexes],
            lambda some: Search(user, selected, ()).among(some, command.key),
            order,
        )
    return completed(name, untagged=said + await news(user, command))


async def news(user: User, command: Searching) -> bytes:
    """What has changed meanwhile. RFC 9051 §7.5.1: no number changes its message while numbers are sought."""
    return await user.news(expunges=command.uid and not searching.numbered(command.key))


def modseq_of(
    selected: Selected, found: list[int], command: commands.Search | commands.Sort | commands.MultiSearch
) -> int:
    """The greatest modseq of what is returned, where it was sought (RFC 7162 §3.1.5, §3.1.10); else 0."""
    if not searching.seeks_modseq(command.key):
        return 0
    return max((selected.view.modseqs[index] for index in _returned(found, command)), default=0)


def _returned(
    found: list[int], command: commands.Search | commands.Sort | commands.MultiSearch
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

    async def run(self, key: SearchKey) -> list[int]:
        """Indexes of the messages for which `key` holds, ascending."""
        await self._prepare(key)
        selected = self._selected
        answered = await look_up(self._user.services.fulltext, selected.account, selected.view, key)
        if answered is None:
            return await self._those_of(range(len(selected.view)), key)
        known = await self._those_of(answered.known, answered.key)
        return sorted(known + await self._those_of(answered.unknown, key))

    async def among(self, indexes: Sequence[int], key: SearchKey) -> list[int]:
        """Those of a few messages for which `key` holds, ascending."""
        await self._prepare(key)
        return await self._those_of(indexes, key)

    async def _prepare(self, key: SearchKey) -> None:
        for id in searching.thread_ids(key):
            await know_threads(self._user, self._selected.account)
            self._threads[id] = await emails_of_thread(self._user, self._selected.account, id)

    async def _those_of(self, indexes: Sequence[int], key: SearchKey) -> list[int]:
        """Those of `indexes` for which `key` holds, ascending."""
        keys = key.keys if isinstance(key, searching.And) else (key,)
        emails = self._selected.view.emails
        for part in keys:
            if isinstance(part, searching.Among):
                hits = part.emails
                indexes = [index for index in indexes if emails[index] in hits]
        keys = tuple(part for part in keys if not isinstance(part, searching.Among))
        for wanted, parts in groupby(sorted(keys, key=need), key=need):
            if not indexes:
                break
            indexes = await self._narrow(indexes, searching.And(tuple(parts)), wanted)
        return list(indexes)

    async def _narrow(self, indexes: Sequence[int], key: SearchKey, wanted: Need) -> list[int]:
        """Those of `indexes` for which `key` holds, which needs `wanted`."""
        if wanted is Need.VIEW:
            test = self._test(key)
            return [index for index in indexes if test(Subject(index))]
        found: list[int] = []
        held = 0 if wanted is Need.DATE else 1
        done = 0
        for some in batches(indexes, self._selected.view.sizes, _BATCH[wanted], held):
            self._user.progress = done, len(indexes)
            done += len(some)
            for subject in await self._subjects(some, wanted):
                if await self._holds(key, subject):
                    found.append(subject.index)
                if wanted is Need.BODY:
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
        assert isinstance(key, searching.InBody | searching.InText)
        sought = fold(key.text)
        if not sought or (isinstance(key, searching.InText) and sought in subject.header_text):
            return True
        message = subject.message
        assert message is not None
        data = message.data
        if data is not None:
            return not surely_lacks(data, sought) and contains(body_text(data, scan(data)), sought)
        root = await self._user.structures.of(self._selected.view.emails[subject.index], message)
        finder = Finder([sought])
        async for piece in read_body_text(message, root):
            if not finder.feed(piece, False):
                return True
            await asyncio.sleep(0)
        return not finder.feed("", True)

    def _test(self, key: SearchKey) -> Callable[[Subject], bool]:
        """A key that needs no body, as a function."""
        view = self._selected.view
        match key:
            case searching.All():
                return lambda subject: True
            case searching.And(keys):
                tests = [self._test(part) for part in sorted(keys, key=need)]
                return lambda subject: all(test(subject) for test in tests)
            case searching.Or(one, other):
                first, second = self._test(one), self._test(other)
                return lambda subject: first(subject) or second(subject)
            case searching.Not(inner):
                test = self._test(inner)
                return lambda subject: not test(subject)
            case searching.Numbers(numbers):
                return _within(self._runs(numbers, uid=False))
            case searching.Uids(uids):
                return _within(self._runs(uids, uid=True))
            case searching.HasFlag(flag):
                return self._flag_test(flag)
            case searching.Larger(octets):
                return lambda subject: view.sizes[subject.index] > octets
            case searching.Smaller(octets):
                return lambda subject: view.sizes[subject.index] < octets
            case searching.ModSeq(modseq):
                return lambda subject: view.modseqs[subject.index] >= modseq
            case searching.ObjectId("THREADID", id):
                emails = self._threads[id]
                return lambda subject: view.emails[subject.index] in emails
            case searching.ObjectId(_, id):
                return lambda subject: email_id(view.emails[subject.index]) == id
            case searching.Age(seconds, older):
                edge = self._user.services.clock.now() - seconds
                if older:
                    return lambda subject: bool(subject.row[1] <= edge)
                return lambda subject: bool(subject.row[1] >= edge)
            case searching.InternalDate(how, date):
                return lambda subject: _compare(_day_of(subject.row[1]), how, date)
            case searching.SavedDate(how, date):
                return lambda subject: _compare(_day_of(subject.row[-1] or subject.row[1]), how, date)
            case searching.SentDate(how, date):
                return lambda subject: _compare(_sent_day(subject.header), how, date)
            case searching.Among(emails):
                return lambda subject: view.emails[subject.index] in emails
            case searching.InHeader(name, text):
                return _header_test(name, fold(text))
        raise AssertionError(key)

    def _runs(self, numbers: SequenceSet, *, uid: bool) -> Runs:
        if numbers == SAVED:
            return indexes_of_uids(self._selected.view, self._saved)
        return self._selected.runs(numbers, uid=uid)

    def _flag_test(self, flag: str) -> Callable[[Subject], bool]:
        selected, view = self._selected, self._selected.view
        if flag == "\\Recent":
            return lambda subject: selected.is_recent(view.uids[subject.index])
        bit = flags.SYSTEM.get(flag)
        if bit is not None:
            return lambda subject: bool(view.flags[subject.index] & bit)
        word = flag.lower()
        return lambda subject: word in view.keywords[subject.index].lower().split()


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
        case searching.SentDate() | searching.InHeader():
            return Need.HEAD
        case searching.InBody() | searching.InText():
            return Need.BODY
    return Need.VIEW


def _within(runs: Runs) -> Callable[[Subject], bool]:
    starts = [first for first, _ in runs]

    def test(subject: Subject) -> bool:
        at = bisect_right(starts, subject.index) - 1
        return at >= 0 and subject.index < runs[at][1]

    return test


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


def _day_of(moment: float) -> datetime.date | None:
    try:
        return datetime.datetime.fromtimestamp(moment, datetime.UTC).date()
    except (ValueError, OverflowError):
        return None


def _sent_day(header: HeaderIndex) -> datetime.date | None:
    """The day in the Date field, as written there: its zone does not count (RFC 3501 §6.4.4)."""
    value = header.first("Date")
    parsed = None if value is None else parsedate(value.decode("latin-1"))
    try:
        return None if parsed is None else datetime.date(*parsed[:3])
    except ValueError:
        return None


def _compare(day: datetime.date | None, how: Day, date: datetime.date) -> bool:
    if day is None:
        return False
    if how is Day.BEFORE:
        return day < date
    return day == date if how is Day.ON else day >= date
