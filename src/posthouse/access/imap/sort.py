"""SORT and THREAD (RFC 5256): what is known of the messages found, their order, and their threads.

What is compared comes from the ENVELOPE that lies ready in the store, and for THREAD=REFERENCES from
the References field. It is read and made ready in the reader's thread, a thousand messages at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from posthouse.access.imap import search, threads
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.mail.casefold import fold
from posthouse.mail.dates import parse_date
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.subjects import base_subject
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.sorting import Algorithm, By, Criterion
from posthouse.store import read
from posthouse.store.read import Column
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader

_BATCH = 1000
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*+)"|\{(\d+)\}\r\n|NIL|[()]| ')
_START = re.compile(rb'\((?:"([^"\\]*+)"|NIL) (?:"([^"\\]*+)"|NIL) ')
_STRING = rb'(?:NIL|"(?:[^"\\]|\\.)*+")'
_LIST = rb"(?:NIL|\((?:\(%b %b %b %b\) ?)++\))" % (_STRING, _STRING, _STRING, _STRING)
_WHOLE = re.compile(rb"\((%b)\)" % rb") (".join([*[_STRING] * 2, *[_LIST] * 6, *[_STRING] * 2]))
_FIRST_LOCAL = re.compile(rb'\(\(%b %b (?:NIL|"((?:[^"\\]|\\.)*+)")' % (_STRING, _STRING))
_ESCAPE = re.compile(rb"\\(.)")
_ID = re.compile(rb"<[^<>\s]++>")
_DATE, _SUBJECT, _FROM, _TO, _CC, _IN_REPLY_TO, _MESSAGE_ID = 0, 1, 2, 5, 6, 8, 9
_ADDRESSES = {By.FROM: _FROM, By.TO: _TO, By.CC: _CC}
_NO_ENVELOPE = b"(%b)" % b" ".join([b"NIL"] * 10)
_MOST_REFERENCES = 200
_NAME, _MAILBOX, _HOST = 0, 2, 3
"""Where display name, local part and domain stand in an address."""


async def sort(user: User, command: commands.Sort) -> Result:
    """SORT and UID SORT, and with RETURN as RFC 5267 §3 has it."""
    selected = user.open
    found = await search.found(user, command)

    async def order(indexes: Sequence[int]) -> list[int]:
        return await sorted_by(user, selected, list(indexes), command.criteria)

    return await search.answer(user, command, await order(found), "SORT", order)


async def sorted_by(
    user: User, selected: Selected, indexes: list[int], criteria: Sequence[Criterion]
) -> list[int]:
    """The messages in the order that the criteria say."""
    columns = await _columns(user, selected, indexes, {criterion.by for criterion in criteria})
    places = list(range(len(indexes)))
    # RFC 5256 §3: what is equal stays in the order of the mailbox, whatever is reversed
    for criterion in reversed(criteria):
        places.sort(key=columns[criterion.by].__getitem__, reverse=criterion.reverse)
    return [indexes[place] for place in places]


async def _columns(
    user: User, selected: Selected, indexes: list[int], wanted: set[By]
) -> dict[By, Sequence[Any]]:
    """What messages are compared by, one column for each. What has gone meanwhile has empty values."""
    view = selected.view
    columns: dict[By, Sequence[Any]] = {By.SIZE: [view.sizes[index] for index in indexes]}
    if wanted == {By.SIZE}:
        return columns
    makers = {by: _MAKERS[by] for by in wanted if by is not By.SIZE}
    uids = [view.uids[index] for index in indexes]

    def make(reader: Reader) -> dict[int, tuple[Any, ...]]:
        made = {}
        for uid, arrived, envelope in _rows(reader, selected, uids, (Column.ARRIVED, Column.ENVELOPE)):
            made[uid] = tuple([maker(envelope, arrived) for maker in makers.values()])
        return made

    made = await user.read_much(make)
    empty = tuple(maker(_NO_ENVELOPE, 0.0) for maker in makers.values())
    values = [made.get(uid, empty) for uid in uids]
    for at, by in enumerate(makers):
        columns[by] = [value[at] for value in values]
    return columns


def _rows(
    reader: Reader, selected: Selected, uids: list[int], columns: tuple[Column, ...]
) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(uids), _BATCH):
        ranges = ranges_of(uids[start : start + _BATCH])
        yield from read.fetch(reader, selected.account, selected.mailbox, ranges, (Column.UID, *columns))


def _sent(envelope: bytes, arrived: float) -> float:
    """The moment it was sent; where the Date field names none, that of its arrival (RFC 5256 §2.2)."""
    value = _text(envelope, _DATE)
    sent = parse_date(value.decode("latin-1")) if value else None
    return arrived if sent is None else sent


def _subject(envelope: bytes, arrived: float) -> str:
    value = _text(envelope, _SUBJECT)
    return base_subject(field_value_text(value)).text if value else ""


def _address(field: int) -> Callable[[bytes, float], str]:
    """The local part of the first address (RFC 5256 §3)."""

    def maker(envelope: bytes, arrived: float) -> str:
        whole = _matched(envelope)
        if whole is not None:
            first = _FIRST_LOCAL.match(whole[field + 1])
            return (
                "" if first is None else fold(_ESCAPE.sub(rb"\1", first[1] or b"").decode("utf-8", "replace"))
            )
        addresses = _parsed(envelope)[field]
        if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], list):
            return ""
        local = addresses[0][_MAILBOX]
        return fold(local.decode("utf-8", "replace")) if isinstance(local, bytes) else ""

    return maker


def _display(field: int) -> Callable[[bytes, float], str]:
    """The first address as it is shown to a reader (RFC 5957 §3)."""

    def maker(envelope: bytes, arrived: float) -> str:
        addresses = _parsed(envelope)[field]
        if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], list):
            return ""
        name, mailbox, host = (addresses[0][place] for place in (_NAME, _MAILBOX, _HOST))
        if not name:
            # a group has no domain, and its name where others have the local part
            name = b"@".join([part for part in (mailbox, host) if isinstance(part, bytes)])
        return fold(field_value_text(name))

    return maker


_MAKERS: dict[By, Callable[[bytes, float], Any]] = {
    By.ARRIVAL: lambda envelope, arrived: arrived,
    By.DATE: _sent,
    By.SUBJECT: _subject,
    **{by: _address(field) for by, field in _ADDRESSES.items()},
    By.DISPLAYFROM: _display(_FROM),
    By.DISPLAYTO: _display(_TO),
}


@lru_cache(maxsize=8)
def _matched(envelope: bytes) -> re.Match[bytes] | None:
    """The fields of an ENVELOPE without literals."""
    return _WHOLE.fullmatch(envelope)


def _text(envelope: bytes, field: int) -> bytes:
    """A field that is a string; empty where there is none."""
    start = _START.match(envelope) if field <= _SUBJECT else None
    if start is not None:  # usually simple, and they come first
        return start[field + 1] or b""
    whole = _matched(envelope)
    if whole is not None:
        return _ESCAPE.sub(rb"\1", whole[field + 1][1:-1]) if whole[field + 1] != b"NIL" else b""
    value = _parsed(envelope)[field]
    return value if isinstance(value, bytes) else b""


@lru_cache(maxsize=8)
def _parsed(envelope: bytes) -> list[Any]:
    """An ENVELOPE with literals in it, as nested lists of strings and None."""
    lists: list[list[Any]] = [[]]
    position = 0
    while position < len(envelope):
        token = _TOKEN.match(envelope, position)
        if token is None:
            break
        position = token.end()
        text = token.group()
        if text == b"(":
            lists.append([])
        elif text == b")":
            closed = lists.pop()
            lists[-1].append(closed)
        elif text == b"NIL":
            lists[-1].append(None)
        elif token[2] is not None:
            lists[-1].append(envelope[position : position + int(token[2])])
            position += int(token[2])
        elif token[1] is not None:
            lists[-1].append(_ESCAPE.sub(rb"\1", token[1]))
    whole: list[Any] = lists[0][0]
    return whole


async def thread(user: User, command: commands.Thread) -> Result:
    """THREAD and UID THREAD."""
    selected = user.open
    found = await search.found(user, command)
    view = selected.view
    uids = [view.uids[index] for index in found]
    numbers = {view.uids[index]: view.uids[index] if command.uid else index + 1 for index in found}
    by_references = command.algorithm is Algorithm.REFERENCES

    def make(reader: Reader) -> bytes:
        columns = (Column.ARRIVED, Column.ENVELOPE, *((Column.HEAD,) if by_references else ()))
        known = [_known(numbers[uid], *row) for uid, *row in _rows(reader, selected, uids, columns)]
        return threads.write(threads.by_references(known) if by_references else threads.by_subject(known))

    said = await user.read_much(make)
    response = b"* THREAD" + (b" " + said if said else b"") + b"\r\n"
    return completed("THREAD", untagged=response + await search.news(user, command))


def _known(number: int, arrived: float, envelope: bytes, head: bytes | None = None) -> threads.Known:
    subject = base_subject(field_value_text(_text(envelope, _SUBJECT)))
    sent = _sent(envelope, arrived)
    if head is None:
        return threads.Known(number, sent, subject.text, subject.reply)
    return threads.Known(
        number,
        sent,
        subject.text,
        subject.reply,
        next(iter(_ids(_text(envelope, _MESSAGE_ID))), b""),
        _references(envelope, head),
    )


def _references(envelope: bytes, head: bytes) -> Sequence[bytes]:
    """RFC 5256 §3 (1): the ids in References, or the first in In-Reply-To."""
    start = (b"\n" + head).lower().find(b"\nreferences:")
    if start >= 0 and (found := _ids(HeaderIndex(head[start:]).first("References") or b"")):
        return found
    return _ids(_text(envelope, _IN_REPLY_TO))[:1]


def _ids(value: bytes) -> list[bytes]:
    return _ID.findall(value)[-_MOST_REFERENCES:]
