"""FETCH (RFC 3501 §6.4.5): columns of the view and of the store, joined to lines.

What never changes lies ready in the store; flags, UIDs and sizes are in the view. One query per batch
of messages brings the rest, and each item becomes a column of byte strings; a line is a join across
the columns. Messages in memory go out in batches; the octets of a large one are read and written piece
by piece, as fast as the client takes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.access.imap import binary, resync, sections
from posthouse.access.imap.binary import Decoding
from posthouse.access.imap.lines import Values, some
from posthouse.access.imap.objects import email_id, know_threads, thread_id
from posthouse.access.imap.results import part
from posthouse.access.imap.selected import OwnChange, Runs, Selected, batches, indexes_of
from posthouse.access.imap.state import EXPUNGED, GONE, LOST, UNKNOWN_ENCODING, RightsLost, User, completed
from posthouse.db import DatabaseError
from posthouse.mail.content import INLINE_LIMIT
from posthouse.mail.dates import imap_datetime
from posthouse.mail.imapform import body as body_of
from posthouse.mail.mime import scan
from posthouse.mail.text import preview
from posthouse.net.session import Stream
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.fetching import Binary, FetchItem, Item, Preview, Section
from posthouse.protocol.imap.sequence import SAVED
from posthouse.protocol.imap.server import TRY_LATER, Result
from posthouse.protocol.imap.syntax import quoted
from posthouse.store import changes, read
from posthouse.store.changes import Action
from posthouse.store.content import from_row
from posthouse.store.flags import Flag
from posthouse.store.mailboxes import MailboxNotFound
from posthouse.store.read import Column, Message
from posthouse.store.uids import Ranges, ranges_of

if TYPE_CHECKING:
    import asyncio

    from posthouse.db import Reader

_BATCH = 1000
"""Messages per query where no content is read."""
_BATCH_HEADS = 500
_PREVIEW = 200
"""Characters of a preview (RFC 8970 §3.2)."""
_FEW = 8
"""Messages up to which a query is a look-up by key, too short for another thread."""

_STORED = {
    Item.INTERNALDATE: Column.ARRIVED,
    Item.ENVELOPE: Column.ENVELOPE,
    Item.BODYSTRUCTURE: Column.BODYSTRUCTURE,
    Item.THREADID: Column.THREAD,
}


_OF_MESSAGE = (Column.CONTENT_SIZE, Column.HEAD, Column.BLOB, Column.BODY, Column.PREFIX)


class Plan(NamedTuple):
    """What a FETCH needs."""

    items: tuple[FetchItem, ...]
    columns: tuple[Column, ...]
    """Of the store, UID first; empty where the view has all."""
    heads: bool
    bodies: bool
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
    bodies = not all(map(_is_plain, items))
    columns = [_STORED[item] for item in items if isinstance(item, Item) and item in _STORED]
    if Item.SAVEDATE in items:
        columns += [Column.SAVED, Column.ARRIVED]
    if wanted or bodies:
        columns += [Column.PREFIX, Column.HEAD]
    if bodies:
        columns += [Column.CONTENT_SIZE, Column.BLOB, Column.BODY]
    seen = not all(item.peek for item in wanted)
    heads = bool(wanted) or bodies
    return Plan(items, (Column.UID, *columns) if columns else (), heads, bodies, len(wanted) + heads, seen)


def fetch(user: User, command: commands.Fetch) -> Stream | Coroutine[Any, Any, Result]:
    """FETCH and UID FETCH: little at once, much as a stream whose result is set at its end."""
    selected = user.open
    runs = selected.runs(command.numbers, uid=command.uid)
    items = command.items
    if command.changed_since is not None:
        # RFC 7162 §3.1.4.1: who asks for changes is told their modseq.
        items = tuple(dict.fromkeys((*items, Item.MODSEQ)))
    wanted = plan(items, uid=command.uid and not user.enabled.uidonly)
    stream = Stream(())
    pieces = stream.pieces = _lines(user, selected, runs, wanted, command, stream)
    return _at_once(stream, pieces) if _is_little(selected, runs, wanted) else stream


def _is_little(selected: Selected, runs: Runs, wanted: Plan) -> bool:
    """A few messages, with no body that lies in a blob."""
    if sum(end - first for first, end in runs) > _FEW:
        return False
    sizes = selected.view.sizes
    return not wanted.bodies or all(sizes[index] <= INLINE_LIMIT for index in indexes_of(runs))


async def _at_once(stream: Stream, pieces: AsyncIterator[bytes]) -> Result:
    said = [piece async for piece in pieces]
    result: Result = stream.then
    return result._replace(untagged=b"".join([*said, result.untagged]))


async def _lines(
    user: User, selected: Selected, runs: Runs, wanted: Plan, command: commands.Fetch, stream: Stream
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
            changed = resync.changed_since(selected, runs, command.changed_since)
            runs = [(first, last + 1) for first, last in ranges_of(changed)]
        if Column.THREAD in wanted.columns:
            await know_threads(user, selected.account)
        marking = _mark_seen(user, selected, runs) if wanted.seen and _may_mark(selected) else None
        most = _BATCH_HEADS if wanted.heads else _BATCH
        for indexes in batches(indexes_of(runs), selected.view.sizes, most, wanted.sections):
            if not wanted.columns:
                yield selected.join(indexes, _columns(selected, wanted, indexes, []))
                continue
            ranges = _ranges(selected, indexes)
            look_up = user.read if len(indexes) <= _FEW else user.read_much
            rows = await look_up(_query(selected, ranges, wanted.columns))
            if len(rows) < len(indexes):
                missing = True
                indexes = _still_there(selected, rows)
            if wanted.bodies:
                async for piece in _with_bodies(user, selected, wanted, indexes, rows):
                    yield piece
            else:
                yield selected.join(indexes, _columns(selected, wanted, indexes, rows))
        own = None
        if marking is not None:
            own = OwnChange((await marking).modseq, None, True)
            user.tell(own.modseq, selected.account)
        said = await user.news(expunges=uid, own=own)
        result = EXPUNGED if missing and not uid else completed("FETCH")
        if user.decoding.unknown:
            result = UNKNOWN_ENCODING
        stream.then = result._replace(untagged=said)
    except RightsLost:
        stream.then = LOST
    except DatabaseError:
        stream.then = TRY_LATER
    except MailboxNotFound:
        stream.then = GONE


def is_ready(items: Sequence[FetchItem]) -> bool:
    """Whether items take no reading of bodies."""
    return all(map(_is_plain, items))


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
        said.append(selected.join(there, _columns(selected, wanted, there, rows)))
    return b"".join(said)


def _uids_named(selected: Selected, command: commands.Fetch) -> Ranges:
    """The UIDs of UID FETCH, those included that are no longer there."""
    last = selected.view.uids[-1] if selected.view.uids else selected.view.mailbox.uidnext - 1
    return selected.saved if command.numbers == SAVED else command.numbers.resolve(last)


def _query(
    selected: Selected, ranges: Ranges, columns: tuple[Column, ...]
) -> Callable[[Reader], list[tuple[Any, ...]]]:
    return lambda reader: read.fetch(reader, selected.account, selected.mailbox, ranges, columns)


def _may_mark(selected: Selected) -> bool:
    return not selected.examining and "s" in selected.rights


def _mark_seen(user: User, selected: Selected, runs: Runs) -> asyncio.Future[changes.Stored] | None:
    """Begin to set \\Seen where it is not; the new flags are said with the other news."""
    view = selected.view
    uids = [view.uids[index] for index in indexes_of(runs) if not view.flags[index] & Flag.SEEN]
    if not uids:
        return None
    ranges, account, mailbox = ranges_of(uids), selected.account, selected.mailbox
    return user.services.database.write(
        [account],
        lambda tx: changes.store(tx, account, mailbox, ranges, Action.ADD, Flag.SEEN),
        long=len(uids) > _BATCH,
    )


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


def _columns(
    selected: Selected, wanted: Plan, indexes: Sequence[int], rows: list[tuple[Any, ...]]
) -> list[Values]:
    """One column per item, for messages whose sections need no body."""
    by_column = dict(zip(wanted.columns, zip(*rows, strict=True), strict=True)) if rows else {}
    heads: list[bytes] = []
    if Column.HEAD in by_column:
        heads = list(map(add, by_column[Column.PREFIX], by_column[Column.HEAD]))
    return [
        Values(sections.of_heads(item, heads), item.label() + b" ")
        if isinstance(item, Section)
        else _item_column(selected, item, indexes, by_column)
        for item in wanted.items
        if not isinstance(item, Binary | Preview)
    ]


def _item_column(
    selected: Selected, item: Item, indexes: Sequence[int], by_column: Mapping[Column, Sequence[Any]]
) -> Values:
    view = selected.view
    if item is Item.FLAGS:
        return Values(selected.flags_of(indexes))
    if item is Item.UID:
        return Values(map(b"UID %d".__mod__, some(view.uids, indexes)))
    if item is Item.MODSEQ:
        return Values(map(b"MODSEQ (%d)".__mod__, some(view.modseqs, indexes)))
    if item is Item.EMAILID:
        return Values([b"EMAILID (%b)" % email_id(email).encode() for email in some(view.emails, indexes)])
    if item is Item.THREADID:
        threads = by_column.get(Column.THREAD, ())
        return Values([b"THREADID (%b)" % thread_id(thread).encode() for thread in threads])
    if item is Item.SAVEDATE:
        pairs = zip(by_column[Column.SAVED], by_column[Column.ARRIVED], strict=True) if by_column else ()
        return Values(
            [b'SAVEDATE "%b"' % imap_datetime(saved or arrived).encode() for saved, arrived in pairs]
        )
    if item is Item.SIZE:
        return Values(map(b"RFC822.SIZE %d".__mod__, some(view.sizes, indexes)))
    if item is Item.INTERNALDATE:
        dates = by_column.get(Column.ARRIVED, ())
        return Values([b'INTERNALDATE "%b"' % imap_datetime(arrived).encode() for arrived in dates])
    return Values(by_column.get(_STORED[item], ()), item.value.encode() + b" ")


async def _with_bodies(
    user: User, selected: Selected, wanted: Plan, indexes: Sequence[int], rows: list[tuple[Any, ...]]
) -> AsyncIterator[bytes]:
    """Lines of messages whose bodies are wanted: one after the other, large ones in pieces."""
    plain = wanted._replace(items=tuple(item for item in wanted.items if _is_plain(item)))
    ready_made = [map(item.label.__add__, item.values) for item in _columns(selected, plain, indexes, rows)]
    columns = zip(*ready_made, strict=True) if plain.items else repeat(())
    at = {column: position for position, column in enumerate(wanted.columns)}
    others = [item for item in wanted.items if not _is_plain(item) and not isinstance(item, Preview)]
    previews = [item for item in wanted.items if isinstance(item, Preview)]
    in_memory = _InMemory(others, user.decoding)
    size, head, blob, body, prefix = (at[column] for column in _OF_MESSAGE)
    ready: list[bytes] = []
    for index, start, values, row in zip(indexes, selected.openings(indexes), columns, rows, strict=False):
        content = from_row(user.services.blobs, row[size], row[head], row[blob], row[body])
        message = Message(row[prefix], content)
        data = message.data
        for wish in previews:
            values = (*values, await _preview(user, wish, selected.view.emails[index], message))
        separator = b" " if values else b""
        opening = start + b" ".join(values)
        if data is not None or not others:
            ready.append(opening)
            if data is not None:
                ready += in_memory.pieces(data, len(message.head), separator)
            ready.append(b")\r\n")
            continue
        if ready:
            yield b"".join(ready)
            ready.clear()
        email = selected.view.emails[index]
        async for piece in _line_of_large(user, others, email, message, opening + separator):
            yield piece
    if ready:
        yield b"".join(ready)


def _is_plain(item: FetchItem) -> bool:
    """Whether an item needs no body."""
    if isinstance(item, Section):
        return sections.only_head(item)
    return item is not Item.BODY and not isinstance(item, Binary | Preview)


class _InMemory:
    """Items that need the body of a message, for messages in memory."""

    def __init__(self, items: Sequence[Item | Section | Binary], decoding: Decoding) -> None:
        self._items = [(item, b"BODY" if isinstance(item, Item) else item.label()) for item in items]
        self._structured = any(map(_needs_structure, items))
        self._decoding = decoding

    def pieces(self, data: bytes, head_size: int, separator: bytes) -> list[bytes]:
        """What is said of one message; `separator` stands before the first item."""
        root = scan(data) if self._structured else None
        pieces = []
        for item, label in self._items:
            pieces.append(separator + label + b" ")
            separator = b" "
            if isinstance(item, Section):
                structure = root if sections.needs_structure(item) else None
                pieces.append(sections.of_data(item, data, head_size, structure))
            elif root is not None:
                pieces.append(
                    binary.of_data(item, data, root, self._decoding)
                    if isinstance(item, Binary)
                    else body_of(root)
                )
        return pieces


def _needs_structure(item: FetchItem) -> bool:
    return not isinstance(item, Section) or sections.needs_structure(item)


async def _line_of_large(
    user: User, items: Sequence[FetchItem], email: int, message: Message, opening: bytes
) -> AsyncIterator[bytes]:
    """The line of a large message from `opening` on. Raises DatabaseError only before the first octet.

    Where octets that were promised cannot be read, the session must end: EOFError.
    """
    begun = False
    try:
        for item in items:
            async for piece in _first_two_as_one(_large(user, item, email, message)):
                yield opening + piece
                opening, begun = b"", True
            opening = b" "
    except DatabaseError as problem:
        if not begun:
            raise
        raise EOFError("a stored message cannot be read") from problem
    yield b")\r\n"


async def _first_two_as_one(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What announces a literal goes out with the first of its octets, when these have been read."""
    yield await anext(pieces, b"") + await anext(pieces, b"")
    async for piece in pieces:
        yield piece


async def _preview(user: User, wanted: Preview, email: int, message: Message) -> bytes:
    if wanted.lazy and message.data is None:
        return b"PREVIEW NIL"  # RFC 8970 §3.1: not at hand
    root = await user.structures.of(email, message)
    return b"PREVIEW " + quoted((await preview(message, root, _PREVIEW)).encode())


async def _large(user: User, item: FetchItem, email: int, message: Message) -> AsyncIterator[bytes]:
    """One item of a large message, piece by piece."""
    if isinstance(item, Binary):
        label = item.label() + b" "
        async for piece in binary.of_large(item, email, message, user.structures, user.decoding):
            yield label + piece
            label = b""
        return
    if not isinstance(item, Section):
        yield b"BODY " + body_of(await user.structures.of(email, message))
        return
    pieces = await sections.of_large(item, email, message, user.structures)
    if pieces is None:
        yield item.label() + b" NIL"
        return
    yield item.label() + b" {%d}\r\n" % pieces.size
    async for chunk in pieces.read():
        yield chunk
