"""FETCH (RFC 3501 §6.4.5): columns of the view and of the store, joined to lines.

What never changes lies ready in the store; flags, UIDs and sizes are in the view. One query per batch of
messages brings the rest. Of a few messages the answer is made at once; many go out in batches, as fast as the
client takes them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.access.imap import bodies, fetch_lines, message_limit, resync
from posthouse.access.imap.fetch_pages import Pages
from posthouse.access.imap.fetch_plan import Plan, is_plain, plan
from posthouse.access.imap.lines import some
from posthouse.access.imap.objects import know_threads
from posthouse.access.imap.readahead import next_reading
from posthouse.access.imap.results import part
from posthouse.access.imap.selected import OwnChange, Runs, Selected, batches, indexes_of
from posthouse.access.imap.state import EXPUNGED, GONE, LOST, UNKNOWN_ENCODING, RightsLost, User, completed
from posthouse.db import DatabaseError
from posthouse.mail.content import INLINE_LIMIT
from posthouse.net.session import Stream
from posthouse.observe import log
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.fetching import FetchItem, Item
from posthouse.protocol.imap.server import TRY_LATER, Result
from posthouse.store import changes, read
from posthouse.store.changes import Action
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.read import Column
from posthouse.store.uids import Ranges, joined, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader

_log = log.get("access")

_BATCH = 1000
"""Messages per query where no content is read."""
_BATCH_HEADS = 500
_FEW = 8
"""Messages up to which a query is a look-up by key, too short for another thread."""


def fetch(user: User, command: commands.Fetch) -> Stream | Coroutine[Any, Any, Result]:
    """FETCH and UID FETCH: little at once, much as a stream whose result is set at its end."""
    selected = user.open
    runs = selected.runs(command.numbers, uid=command.uid)
    items = command.items
    if command.changed_since is not None:
        # RFC 7162 §3.1.4.1: who asks for changes is told their modseq.
        items = tuple(dict.fromkeys((*items, Item.MODSEQ)))
    wanted = plan(items, uid=command.uid and not user.enabled.uidonly)
    limited = ""
    if limit := user.services.imap.message_limit:
        if command.partial is None:
            runs, limited = message_limit.newest(user, selected, runs)
        elif abs(command.partial[1] - command.partial[0]) >= limit:
            return _refused(message_limit.refusal(limit))
    if not limited and _is_little(selected, runs, wanted, command):
        return _at_once(user, selected, indexes_of(runs), wanted, command)
    stream = Stream(())
    stream.pieces = _lines(user, selected, runs, wanted, command, stream, limited)
    return stream


async def _refused(result: Result) -> Result:
    return result


def _is_little(selected: Selected, runs: Runs, wanted: Plan, command: commands.Fetch) -> bool:
    """A few messages, named as such, whose bodies can be held."""
    if sum([end - first for first, end in runs]) > _FEW or wanted.previews:
        return False
    if command.changed_since is not None or command.partial is not None:
        return False
    if not wanted.bodies:
        return True
    sizes = some(selected.view.sizes, indexes_of(runs))
    return sum(sizes) <= bodies.HELD_LIMIT if wanted.whole else max(sizes, default=0) <= INLINE_LIMIT


async def _at_once(
    user: User, selected: Selected, indexes: Sequence[int], wanted: Plan, command: commands.Fetch
) -> Result:
    """The answer about a few messages. News come first: so what was read ahead is known to be there still."""
    user.decoding.unknown = False
    said = b""
    try:
        said, indexes = await _news_before(user, selected, indexes, command)
        if Column.THREAD in wanted.columns:
            await know_threads(user, selected.account)
        marking = _mark_seen(user, selected, indexes) if wanted.seen and selected.may_mark else None
        rows = await bodies.held(
            user.services.blobs, wanted, await _rows_of_few(user, selected, wanted, indexes)
        )
        there = indexes if len(rows) == len(indexes) or not wanted.columns else _still_there(selected, rows)
        if fetch_lines.has_large(wanted, rows):
            said += b"".join(
                [piece async for piece in fetch_lines.written(user, selected, wanted, there, rows)]
            )
        else:
            said += fetch_lines.in_memory(user, selected, wanted, there, rows)
        if marking is not None:
            own = await _marked(user, selected, marking)
            said += await user.news(expunges=command.uid, own=own)
        return _result(user, said, missing=len(there) < len(indexes) and not command.uid)
    except _PROBLEMS as problem:
        return _refusal(problem)._replace(untagged=said)
    except EOFError as problem:
        _log.error("a message cannot be fetched", reason=str(problem))
        return TRY_LATER._replace(untagged=said)


async def _news_before(
    user: User, selected: Selected, indexes: Sequence[int], command: commands.Fetch
) -> tuple[bytes, Sequence[int]]:
    """What there is to say first, and where the messages stand then; those gone are left out."""
    uids = some(selected.view.uids, indexes)
    said = await user.look_at_rights() + await user.news(expunges=command.uid)
    if said and command.uid:
        indexes = [at for uid in uids if (at := selected.view.index(uid)) is not None]
    return said, indexes


async def _rows_of_few(
    user: User, selected: Selected, wanted: Plan, indexes: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Who fetches one message after the other has the next ones read with it."""
    if not wanted.columns or not indexes:
        return []
    if len(indexes) > 1 or not wanted.heads or Column.THREAD in wanted.columns or user.hears_nothing:
        return await user.read(_query(selected, _ranges(selected, indexes), wanted.columns))
    ahead, uids, columns = user.services.read_ahead, selected.view.uids, wanted.columns
    (index,) = indexes
    key = selected.account, selected.mailbox, columns
    known = None if selected.is_gone(uids[index]) else ahead.take((*key, uids[index]))
    if known is not None:
        return [known]
    reading = selected.reading = next_reading(selected.reading, columns, index, selected.view.sizes)
    ranges = ((uids[index], uids[reading.following - 1]),)
    rows = await user.read(_query(selected, ranges, columns))
    others = [row for row in rows if row[0] != uids[index]]
    ahead.keep(((*key, row[0]), row) for row in bodies.at_hand(user.services.blobs, wanted, others))
    return [row for row in rows if row[0] == uids[index]]


async def _lines(
    user: User,
    selected: Selected,
    runs: Runs,
    wanted: Plan,
    command: commands.Fetch,
    stream: Stream,
    limited: str,
) -> AsyncIterator[bytes]:
    missing, uid = False, command.uid
    user.decoding.unknown = False
    try:
        changed_rights = await user.look_at_rights()
        if changed_rights:
            yield changed_rights
        if command.changed_since is not None and command.vanished:
            uids = _uids_named(selected, command)
            yield await resync.vanished(user, selected, command.changed_since, uids)
        if command.partial is not None:
            wanted_part = part(indexes_of(runs), command.partial)
            runs = [(first, last + 1) for first, last in ranges_of(wanted_part)]
        if command.changed_since is not None:  # RFC 9394 §3.4: what has changed of that part
            changed = resync.changed_since(user, selected, runs, command.changed_since)
            runs = [(first, last + 1) for first, last in ranges_of(changed)]
        if Column.THREAD in wanted.columns:
            await know_threads(user, selected.account)
        marking = _mark_seen(user, selected, indexes_of(runs)) if wanted.seen and selected.may_mark else None
        most = _BATCH_HEADS if wanted.heads else _BATCH
        pages = Pages(user, selected, wanted)
        sizes = selected.view.sizes
        for many in batches(indexes_of(runs), sizes, most, 0 if pages.serve else wanted.sections):
            found = await pages.columns(many)
            if found is not None:
                yield fetch_lines.of_columns(selected, wanted, many, found)
                continue
            reading = batches(many, sizes, most, wanted.sections)
            async with aclosing(_read(user, selected, wanted, reading)) as read_batches:
                async for rows, there, complete in read_batches:
                    missing = missing or not complete
                    async for piece in fetch_lines.written(user, selected, wanted, there, rows):
                        yield piece
        pages.keep()
        own = await _marked(user, selected, marking)
        said = await user.news(expunges=uid, own=own)
        stream.then = message_limit.told(_result(user, said, missing=missing and not uid), limited)
    except _PROBLEMS as problem:
        stream.then = _refusal(problem)


class _Batch(NamedTuple):
    """The columns of some messages."""

    rows: Sequence[tuple[Any, ...]]
    there: Sequence[int]
    """Which of the messages the store still had."""
    complete: bool


async def _read(
    user: User, selected: Selected, wanted: Plan, indexes: Iterable[Sequence[int]]
) -> AsyncGenerator[_Batch, None]:
    """The messages batch by batch; while one is written the next is read."""
    tasks: deque[asyncio.Task[_Batch]] = deque()
    try:
        for some in indexes:
            if not wanted.columns:
                yield _Batch((), some, True)
                continue
            tasks.append(asyncio.create_task(_read_batch(user, selected, wanted, some)))
            if len(tasks) > 1:
                yield await tasks.popleft()
        if tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_batch(user: User, selected: Selected, wanted: Plan, indexes: Sequence[int]) -> _Batch:
    rows = await user.read_much(_query(selected, _ranges(selected, indexes), wanted.columns))
    complete = len(rows) == len(indexes)
    there = indexes if complete else _still_there(selected, rows)
    return _Batch(await bodies.held(user.services.blobs, wanted, rows), there, complete)


_PROBLEMS = (RightsLost, DatabaseError, MailboxNotFound)


def _refusal(problem: Exception) -> Result:
    if isinstance(problem, RightsLost):
        return LOST
    return TRY_LATER if isinstance(problem, DatabaseError) else GONE


def _result(user: User, said: bytes, *, missing: bool) -> Result:
    """How the command ends; `missing`: messages that are there by their number are gone."""
    if user.decoding.unknown:
        return UNKNOWN_ENCODING._replace(untagged=said)
    return EXPUNGED._replace(untagged=said) if missing else completed("FETCH", untagged=said)


def is_ready(items: Sequence[FetchItem]) -> bool:
    """Whether items take no reading of bodies."""
    return all(map(is_plain, items))


async def lines_of(
    user: User, selected: Selected, indexes: Sequence[int], items: tuple[FetchItem, ...]
) -> bytes:
    """The lines of messages of which somebody is told unasked; the items are ready. \\Seen is not set."""
    wanted = plan(items, uid=not user.enabled.uidonly)
    if Column.THREAD in wanted.columns:
        await know_threads(user, selected.account)
    said = []
    for batch in batches(indexes, selected.view.sizes, _BATCH_HEADS, wanted.sections):
        rows, there = [], batch
        if wanted.columns:
            rows = await user.read_much(_query(selected, _ranges(selected, batch), wanted.columns))
            there = _still_there(selected, rows)
        said.append(fetch_lines.in_memory(user, selected, wanted, there, rows))
    return b"".join(said)


def _uids_named(selected: Selected, command: commands.Fetch) -> Ranges:
    """The UIDs of UID FETCH, those included that are no longer there.

    `*` is the last message, or one that was the last when the client looked: both are meant.
    """
    numbers = command.numbers.without_saved()
    ever = max(selected.view.mailbox.uidnext - 1, 1)
    last = selected.view.uids[-1] if selected.view.uids else ever
    saved = selected.saved if command.numbers.has_saved else ()
    return joined([*saved, *numbers.resolve(last), *numbers.resolve(ever)])


def _query(
    selected: Selected, ranges: Ranges, columns: tuple[Column, ...]
) -> Callable[[Reader], list[tuple[Any, ...]]]:
    return lambda reader: read.fetch(reader, selected.account, selected.mailbox, ranges, columns)


def _mark_seen(
    user: User, selected: Selected, indexes: Sequence[int]
) -> asyncio.Future[changes.Stored] | None:
    """Begin to set \\Seen where it is not; the new flags are said with the other news."""
    view = selected.view
    uids = [view.uids[index] for index in indexes if not view.flags[index] & Flag.SEEN]
    if not uids:
        return None
    ranges, account, mailbox = ranges_of(uids), selected.account, selected.mailbox
    return user.services.database.write(
        [account],
        lambda tx: changes.store(tx, account, mailbox, ranges, Action.ADD, Flag.SEEN),
        long=len(uids) > _BATCH,
    )


async def _marked(
    user: User, selected: Selected, marking: asyncio.Future[changes.Stored] | None
) -> OwnChange | None:
    """The change of flags that was begun, once it is durable; the client is shown it."""
    if marking is None:
        return None
    own = OwnChange((await marking).modseq, None, True)
    user.tell(own.modseq, selected.account)
    return own


def _ranges(selected: Selected, indexes: Sequence[int]) -> Ranges:
    """UID ranges that name these messages and no other of the view."""
    uids = selected.view.uids
    if isinstance(indexes, range):
        return [(uids[indexes[0]], uids[indexes[-1]])]
    return [(uids[first], uids[last]) for first, last in ranges_of(indexes)]


def _still_there(selected: Selected, rows: list[tuple[Any, ...]]) -> list[int]:
    """The messages that the store still had."""
    found = (selected.view.index(row[0]) for row in rows)
    return [index for index in found if index is not None]
