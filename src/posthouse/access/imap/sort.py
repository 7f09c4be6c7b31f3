"""SORT and THREAD (RFC 5256): what is known of the messages found, their order, and their threads.

What is compared is made from the ENVELOPE that lies ready in the store, and for THREAD from the References
field, and kept as facts of the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from posthouse.access.imap import search, threads
from posthouse.access.imap.facts import Family
from posthouse.access.imap.filters import spelled_out
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.mail.casefold import fold
from posthouse.mail.dates import parse_date
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.subjects import base_subject
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.searching import SearchKey
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.sorting import Algorithm, By, Criterion
from posthouse.store.read import Column

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
    command = await spelled_out(user, command)
    found = await search.found(user, command)

    async def order(indexes: Sequence[int]) -> list[int]:
        return await sorted_by(user, selected, list(indexes), command.criteria, command.key)

    return await search.answer(user, command, await order(found), "SORT", order)


async def sorted_by(
    user: User, selected: Selected, indexes: list[int], criteria: Sequence[Criterion], key: SearchKey
) -> list[int]:
    """The messages in the order that the criteria say; `key` is what they were found by."""
    columns = {one.by: await _column(user, selected, indexes, one.by, key) for one in criteria}
    places = list(range(len(indexes)))
    # RFC 5256 §3: what is equal stays in the order of the mailbox, whatever is reversed
    for criterion in reversed(criteria):
        places.sort(key=columns[criterion.by].__getitem__, reverse=criterion.reverse)
    return [indexes[place] for place in places]


async def _column(
    user: User, selected: Selected, indexes: list[int], by: By, key: SearchKey
) -> Sequence[Any]:
    """What messages are compared by. What has gone meanwhile has empty values."""
    if by is By.RELEVANCY:  # RFC 6203 §5: what fits best comes first
        return [-score for score in await search.relevancy(user, selected, key, indexes)]
    if by is By.SIZE:
        return [selected.view.sizes[index] for index in indexes]
    columns = await user.services.knowledge.of_some(user, selected, _FAMILIES[by], indexes)
    return columns[0]


def _sent(envelope: bytes, arrived: float) -> float:
    """The moment it was sent; where the Date field names none, that of its arrival (RFC 5256 §2.2)."""
    value = _text(envelope, _DATE)
    sent = parse_date(value.decode("latin-1")) if value else None
    return arrived if sent is None else sent


def _subject(envelope: bytes, arrived: float) -> bytes:
    value = _text(envelope, _SUBJECT)
    return _octets(base_subject(field_value_text(value)).text) if value else b""


def _octets(text: str) -> bytes:
    """A text as it is kept: UTF-8 has the order of its characters."""
    return text.encode("utf-8", "replace")


def _address(field: int) -> Callable[[bytes, float], bytes]:
    """The local part of the first address (RFC 5256 §3)."""

    def maker(envelope: bytes, arrived: float) -> bytes:
        whole = _matched(envelope)
        if whole is not None:
            first = _FIRST_LOCAL.match(whole[field + 1])
            return b"" if first is None else _folded(_ESCAPE.sub(rb"\1", first[1] or b""))
        addresses = _parsed(envelope)[field]
        if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], list):
            return b""
        local = addresses[0][_MAILBOX]
        return _folded(local) if isinstance(local, bytes) else b""

    return maker


def _folded(local: bytes) -> bytes:
    return _octets(fold(local.decode("utf-8", "replace")))


def _display(field: int) -> Callable[[bytes, float], bytes]:
    """The first address as it is shown to a reader (RFC 5957 §3)."""

    def maker(envelope: bytes, arrived: float) -> bytes:
        addresses = _parsed(envelope)[field]
        if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], list):
            return b""
        name, mailbox, host = (addresses[0][place] for place in (_NAME, _MAILBOX, _HOST))
        if not name:
            # a group has no domain, and its name where others have the local part
            name = b"@".join([part for part in (mailbox, host) if isinstance(part, bytes)])
        return _octets(fold(field_value_text(name)))

    return maker


def _family(by: By, kind: str, maker: Callable[[bytes, float], Any]) -> Family:
    return Family(
        f"sort by {by.value}",
        (Column.ENVELOPE, Column.ARRIVED),
        kind,
        lambda envelope, arrived: (maker(envelope, arrived),),
        (maker(_NO_ENVELOPE, 0.0),),
    )


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
    command = await spelled_out(user, command)
    found = await search.found(user, command)
    knowledge = user.services.knowledge
    question = f"{'UID ' if command.uid else ''}THREAD {command.algorithm.value}"
    everything = len(found) == len(selected.view)
    said = knowledge.answered(selected, question) if everything else None
    if said is None:
        uids = selected.view.uids[:]
        said = await _threads(user, selected, command, found)
        if everything:
            knowledge.remember(selected, uids, question, said)
    response = b"* THREAD" + (b" " + said if said else b"") + b"\r\n"
    return completed("THREAD", untagged=response + await search.news(user, command))


async def _threads(user: User, selected: Selected, command: commands.Thread, found: list[int]) -> bytes:
    uids = selected.view.uids
    numbers = [uids[index] for index in found] if command.uid else [index + 1 for index in found]
    by_references = command.algorithm is Algorithm.REFERENCES
    columns = await user.services.knowledge.of_some(user, selected, _THREAD, found)

    def make(reader: Reader) -> bytes:
        known = [
            threads.Known(number, sent, subject, bool(reply), id, references.split())
            for number, sent, subject, reply, id, references in zip(numbers, *columns, strict=True)
        ]
        return threads.write(threads.by_references(known) if by_references else threads.by_subject(known))

    return await user.read_much(make)


def _threading(envelope: bytes, arrived: float, head: bytes) -> tuple[Any, ...]:
    subject = base_subject(field_value_text(_text(envelope, _SUBJECT)))
    return (
        _sent(envelope, arrived),
        _octets(subject.text),
        subject.reply,
        next(iter(_ids(_text(envelope, _MESSAGE_ID))), b""),
        b" ".join(_references(envelope, head)),
    )


def _references(envelope: bytes, head: bytes) -> Sequence[bytes]:
    """RFC 5256 §3 (1): the ids in References, or the first in In-Reply-To."""
    start = (b"\n" + head).lower().find(b"\nreferences:")
    if start >= 0 and (found := _ids(HeaderIndex(head[start:]).first("References") or b"")):
        return found
    return _ids(_text(envelope, _IN_REPLY_TO))[:1]


def _ids(value: bytes) -> list[bytes]:
    return _ID.findall(value)[-_MOST_REFERENCES:]


_FAMILIES = {
    By.ARRIVAL: _family(By.ARRIVAL, "d", lambda envelope, arrived: arrived),
    By.DATE: _family(By.DATE, "d", _sent),
    By.SUBJECT: _family(By.SUBJECT, "t", _subject),
    **{by: _family(by, "t", _address(field)) for by, field in _ADDRESSES.items()},
    By.DISPLAYFROM: _family(By.DISPLAYFROM, "t", _display(_FROM)),
    By.DISPLAYTO: _family(By.DISPLAYTO, "t", _display(_TO)),
}
_THREAD = Family(
    "thread",
    (Column.ENVELOPE, Column.ARRIVED, Column.HEAD),
    "dtbtt",
    _threading,
    _threading(_NO_ENVELOPE, 0.0, b""),
)
"""When it was sent, base subject, whether that is of a reply, Message-ID, and what it refers to."""
