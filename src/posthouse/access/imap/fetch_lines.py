"""The lines of FETCH: each item is a column of byte strings, a line is a join across the columns.

Messages in memory are written together, and their octets are copied once; those of a large one are read and
written piece by piece, as fast as the client takes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from operator import add
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.access.imap import binary, previews, sections
from posthouse.access.imap.fetch_plan import STORED, Plan, is_whole
from posthouse.access.imap.lines import Values, some
from posthouse.access.imap.objects import email_id, thread_id
from posthouse.db import DatabaseError
from posthouse.mail.dates import imap_datetime
from posthouse.mail.imapform import body as body_of
from posthouse.mail.mime import scan
from posthouse.protocol.imap.fetching import Binary, Item, Preview, Section, Text
from posthouse.protocol.imap.syntax import quoted
from posthouse.store.content import from_row
from posthouse.store.read import Column, Message

if TYPE_CHECKING:
    from posthouse.access.imap.binary import Decoding
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User

_END = b")\r\n"
_OF_CONTENT = (Column.CONTENT_SIZE, Column.HEAD, Column.BLOB, Column.BODY)

Row: TypeAlias = tuple[Any, ...]
Columns: TypeAlias = Mapping[Column | Section, Sequence[Any]]
"""What is known of some messages: the values of columns of the store, and of sections."""


async def written(
    user: User, selected: Selected, wanted: Plan, indexes: Sequence[int], rows: Sequence[Row]
) -> AsyncIterator[bytes]:
    """The lines about some messages, from the columns `wanted` of each."""
    if not has_large(wanted, rows):
        shown = await _previews(user, selected, wanted, indexes, rows)
        yield in_memory(user, selected, wanted, indexes, rows, shown)
        return
    blob = wanted.columns.index(Column.BLOB)
    for large, group in groupby(zip(indexes, rows, strict=True), lambda pair: pair[1][blob] is not None):
        these, theirs = zip(*group, strict=True)
        if not large:
            shown = await _previews(user, selected, wanted, these, theirs)
            yield in_memory(user, selected, wanted, these, theirs, shown)
            continue
        for index, row in zip(these, theirs, strict=True):
            async for piece in _line_of_large(user, selected, wanted, index, row):
                yield piece


def has_large(wanted: Plan, rows: Sequence[Row]) -> bool:
    """Whether octets that are wanted lie in blobs."""
    if not wanted.bodies:
        return False
    blob = wanted.columns.index(Column.BLOB)
    return any(row[blob] is not None for row in rows)


def in_memory(
    user: User,
    selected: Selected,
    wanted: Plan,
    indexes: Sequence[int],
    rows: Sequence[Row],
    shown: Sequence[Values] = (),
) -> bytes:
    """The same where no body lies in a blob."""
    found: Columns = dict(zip(wanted.columns, zip(*rows, strict=True), strict=True)) if rows else {}
    columns = [*_plain(selected, wanted, indexes, found), *shown]
    if wanted.others:
        columns += _with_bodies(wanted, found, user.decoding)
    return selected.join(indexes, columns)


def of_columns(selected: Selected, wanted: Plan, indexes: Sequence[int], found: Columns) -> bytes:
    """The same of what needs no body."""
    return selected.join(indexes, _plain(selected, wanted, indexes, found))


def _heads(found: Columns) -> list[bytes]:
    """Prefix and head as one."""
    return list(map(add, found[Column.PREFIX], found[Column.HEAD])) if found else []


def _plain(selected: Selected, wanted: Plan, indexes: Sequence[int], found: Columns) -> list[Values]:
    """A column for each item that needs no body."""
    heads: list[bytes] | None = None
    columns = []
    for item, label in wanted.plain:
        if isinstance(item, Section):
            texts = found.get(item)
            if texts is None:
                heads = _heads(found) if heads is None else heads
                texts = sections.of_heads(item, heads)
            columns.append(_literals(label, texts))
        else:
            columns.append(_item_column(selected, item, indexes, found))
    return columns


def _with_bodies(wanted: Plan, found: Columns, decoding: Decoding) -> list[Values]:
    """A column for each item that does."""
    heads = _heads(found)
    bodies = [body or b"" for body in found.get(Column.BODY, ())]
    inside = [item for item, _ in wanted.others if not is_whole(item)]
    looked_into = [_inside(inside, *octets, decoding) for octets in zip(heads, bodies, strict=True) if inside]
    values = zip(*looked_into, strict=True)
    columns = []
    for item, label in wanted.others:
        if not is_whole(item):
            columns.append(Values(next(values, ()), label))
            continue
        pieces = (heads, bodies) if item.text is Text.WHOLE else (bodies,)
        columns.append(_literals(label, *pieces))
    return columns


def _literals(label: bytes, *pieces: Sequence[bytes]) -> Values:
    """A literal for each message, of pieces that stand in as many columns."""
    lengths = [map(len, column) for column in pieces]
    sizes = lengths[0] if len(lengths) == 1 else map(sum, zip(*lengths, strict=True))
    return Values(map(b"{%d}\r\n".__mod__, sizes), label, pieces)


def _inside(
    items: Sequence[Item | Section | Binary], head: bytes, body: bytes, decoding: Decoding
) -> list[bytes]:
    """What items say of one message into which one has to look."""
    data = head + body
    structured = any(not isinstance(item, Section) or sections.needs_structure(item) for item in items)
    root = scan(data) if structured else None
    values = []
    for item in items:
        if isinstance(item, Section):
            structure = root if sections.needs_structure(item) else None
            values.append(sections.of_data(item, data, len(head), structure))
        elif root is not None:
            values.append(
                binary.of_data(item, data, root, decoding) if isinstance(item, Binary) else body_of(root)
            )
    return values


def _item_column(selected: Selected, item: Item, indexes: Sequence[int], found: Columns) -> Values:
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
        threads = found.get(Column.THREAD, ())
        return Values([b"THREADID (%b)" % thread_id(thread).encode() for thread in threads])
    if item is Item.SAVEDATE:
        pairs = zip(found[Column.SAVED], found[Column.ARRIVED], strict=True) if found else ()
        return Values(
            [b'SAVEDATE "%b"' % imap_datetime(saved or arrived).encode() for saved, arrived in pairs]
        )
    if item is Item.SIZE:
        return Values(map(b"RFC822.SIZE %d".__mod__, some(view.sizes, indexes)))
    if item is Item.INTERNALDATE:
        dates = found.get(Column.ARRIVED, ())
        return Values([b'INTERNALDATE "%b"' % imap_datetime(arrived).encode() for arrived in dates])
    return Values(found.get(STORED[item], ()), item.value.encode() + b" ")


async def _line_of_large(
    user: User, selected: Selected, wanted: Plan, index: int, row: Row
) -> AsyncIterator[bytes]:
    """The line of a message that lies in a blob. Raises DatabaseError only before the first octet.

    Where octets that were promised cannot be read, the session must end: EOFError.
    """
    email, message = selected.view.emails[index], _message(user, wanted, row)
    found: Columns = {column: (value,) for column, value in zip(wanted.columns, row, strict=True)}
    columns = [
        *_plain(selected, wanted, [index], found),
        *await _previews(user, selected, wanted, [index], [row]),
    ]
    opening = selected.join([index], columns).removesuffix(_END)
    separator = b" " if columns else b""
    begun = False
    try:
        for item, label in wanted.others:
            async for piece in _first_two_as_one(_large(user, item, label, email, message)):
                yield opening + separator + piece
                opening = separator = b""
                begun = True
            separator = b" "
    except DatabaseError as problem:
        if not begun:
            raise
        raise EOFError("a stored message cannot be read") from problem
    yield opening + _END


async def _first_two_as_one(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What announces a literal goes out with the first of its octets, when these have been read."""
    yield await anext(pieces, b"") + await anext(pieces, b"")
    async for piece in pieces:
        yield piece


async def _previews(
    user: User, selected: Selected, wanted: Plan, indexes: Sequence[int], rows: Sequence[Row]
) -> list[Values]:
    """A column for each PREVIEW: what is kept, and what is found out now, to be kept from now on."""
    if not wanted.previews:
        return []
    at = wanted.columns.index(Column.PREVIEW)
    emails = some(selected.view.emails, indexes)
    texts: dict[int, str | None] = {email: row[at] for email, row in zip(emails, rows, strict=True)}
    unknown = [index for index, email in zip(indexes, emails, strict=True) if texts[email] is None]
    if unknown:
        lazy = all(wish.lazy for wish in wanted.previews)
        texts |= await previews.found_out(user, selected, unknown, lazy=lazy)
    return [Values([_preview(wish, texts[email]) for email in emails]) for wish in wanted.previews]


def _preview(wanted: Preview, text: str | None) -> bytes:
    # RFC 8970 §3.2: NIL only to who is in no hurry, else a message that has just gone has none
    if text is None and wanted.lazy:
        return b"PREVIEW NIL"
    return b"PREVIEW " + quoted((text or "").encode())


def _message(user: User, wanted: Plan, row: Row) -> Message:
    value = dict(zip(wanted.columns, row, strict=True))
    size, head, blob, body = (value[column] for column in _OF_CONTENT)
    return Message(value[Column.PREFIX], from_row(user.services.blobs, size, head, blob, body))


async def _large(
    user: User, item: Item | Section | Binary, label: bytes, email: int, message: Message
) -> AsyncIterator[bytes]:
    """One item of a large message, piece by piece."""
    if isinstance(item, Binary):
        async for piece in binary.of_large(item, email, message, user.structures, user.decoding):
            yield label + piece
            label = b""
        return
    if not isinstance(item, Section):
        yield label + body_of(await user.structures.of(email, message))
        return
    pieces = await sections.of_large(item, email, message, user.structures)
    if pieces is None:
        yield label + sections.NIL
        return
    yield label + b"{%d}\r\n" % pieces.size
    async for chunk in pieces.read():
        yield chunk
