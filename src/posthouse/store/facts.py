"""Facts of messages: what SEARCH, SORT and THREAD compare, and FETCH returns of many at once.

A message never changes, and neither do its facts. They come in families, each made of some columns of the
store: whoever wants several of many messages reads these once (`make`). `factpages` keeps them for good.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate
from functools import lru_cache
from math import floor, inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from posthouse.mail import imapread, section
from posthouse.mail.casefold import fold
from posthouse.mail.content import HEAD_LIMIT
from posthouse.mail.dates import parse_date, plain
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.subjects import base_subject
from posthouse.store import columns, read
from posthouse.store.read import Column
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

Facts: TypeAlias = "tuple[Any, ...]"
"""Of a family: for each kind a column, see `columns`."""

FIELDS = ("from", "to", "cc", "bcc", "subject")
"""Fields that have search keys of their own."""
FETCHED = tuple(
    b"""
    bcc cc content-class content-description content-disposition content-language content-transfer-encoding
    content-type date delivered-to disposition-notification-to followup-to from importance in-reply-to lines
    list-archive list-help list-id list-post list-subscribe list-unsubscribe list-unsubscribe-post
    mail-followup-to mail-reply-to message-id mime-version newsgroups organization original-recipient
    precedence priority references reply-to resent-date resent-from resent-message-id resent-to return-path
    sender subject to user-agent x-label x-mailer x-priority x-spam-flag x-spam-level x-spam-score
    x-spam-status x-status x-uniform-type-identifier x-universally-unique-identifier xref
    """.split()
)
"""Fields that mail programs fetch of every message; not those that are long and tell of the road it took."""
ADDRESSES = ("from", "to", "cc")
"""Fields by whose addresses one sorts."""
NO_DAY = 0
"""Stands for the ordinal of a day that is not known."""

_BATCH = 1000
_BATCH_OCTETS = 8_000_000
"""Of headers held at once."""
_MOST_REFERENCES = 200
_ID = re.compile(rb"<[^<>\s]++>")


class Family(NamedTuple):
    """Facts that are kept together."""

    name: str
    columns: tuple[Column, ...]
    """Of the store, of which they are made."""
    kinds: str
    """One letter for each fact, see `columns`."""
    make: Callable[..., tuple[Any, ...]]
    """The facts of one message, of the values of `columns`."""
    none: tuple[Any, ...]
    """Those of a message that has gone."""


def make(
    reader: Reader,
    account: AccountId,
    mailbox: int,
    families: Sequence[Family],
    uids: Sequence[int],
    sizes: Sequence[int],
) -> list[Facts]:
    """The facts of some messages, by ascending UID, for each family; read from the store.

    `sizes`: of the messages, octets, by which it is bounded what is held at once.
    """
    wanted = tuple(dict.fromkeys(column for family in families for column in family.columns))
    places = [[1 + wanted.index(column) for column in family.columns] for family in families]
    found: dict[int, list[tuple[Any, ...]]] = {}
    for some in _batches(uids, sizes):
        for row in read.fetch(reader, account, mailbox, ranges_of(some), (Column.UID, *wanted)):
            found[row[0]] = [
                family.make(*[row[at] for at in where])
                for family, where in zip(families, places, strict=True)
            ]
    nothing = [family.none for family in families]
    rows = [found.get(uid, nothing) for uid in uids]
    return [
        columns.columns(family.kinds, [row[number] for row in rows]) for number, family in enumerate(families)
    ]


def _batches(uids: Sequence[int], sizes: Sequence[int]) -> Iterator[Sequence[int]]:
    """The messages in batches whose headers are held at once."""
    start = octets = 0
    for at, size in enumerate(sizes):
        octets += min(size, HEAD_LIMIT)
        if at - start == _BATCH or octets > _BATCH_OCTETS:
            if at > start:
                yield uids[start:at]
            start, octets = at, min(size, HEAD_LIMIT)
    if start < len(uids):
        yield uids[start:]


# Dates


def _sent(envelope: bytes, arrived: float) -> tuple[float]:
    """The second it was sent; where the Date field names none, that of its arrival (RFC 5256 §2.2)."""
    value = imapread.text(envelope, imapread.DATE)
    sent = parse_date(value.decode("latin-1")) if value else None
    return (second(arrived) if sent is None else sent,)


def second(moment: float) -> float:
    """The second in which a moment lies, as INTERNALDATE shows it; what is no moment stays what it is."""
    return floor(moment) if moment > -inf else moment


def _day(prefix: bytes, head: bytes) -> tuple[int]:
    day = sent_day(_index(prefix, head))
    return (NO_DAY if day is None else day.toordinal(),)


def sent_day(header: HeaderIndex) -> datetime.date | None:
    """The day in the Date field, as written there: its zone does not count (RFC 3501 §6.4.4)."""
    value = (header.first("Date") or b"").decode("latin-1")
    parsed = parsedate(value) or parsedate(plain(value))
    try:
        return None if parsed is None else datetime.date(*parsed[:3])
    except ValueError:
        return None


# The header


@lru_cache(maxsize=1)
def _index(prefix: bytes, head: bytes) -> HeaderIndex:
    return HeaderIndex(prefix + head)


def _field(name: str) -> Callable[[bytes, bytes], tuple[bytes]]:
    def maker(prefix: bytes, head: bytes) -> tuple[bytes]:
        return (b"".join(map(_value, _index(prefix, head).all(name))),)

    return maker


def _fetched(prefix: bytes, head: bytes) -> tuple[bytes]:
    return (section.named_fields(FETCHED, [prefix + head])[0],)


@lru_cache(maxsize=4096)
def _value(value: bytes) -> bytes:
    """A field as it is compared; what stands before it is in no text that is sought."""
    return b"\0" + _octets(fold(field_value_text(value)))


def _octets(text: str) -> bytes:
    """A text as it is kept: UTF-8 has the order of its characters."""
    return text.encode("utf-8", "replace")


def _subject(envelope: bytes) -> tuple[bytes, bool]:
    return _base(imapread.text(envelope, imapread.SUBJECT))


@lru_cache(maxsize=4096)
def _base(subject: bytes) -> tuple[bytes, bool]:
    base = base_subject(field_value_text(subject))
    return _octets(base.text), base.reply


# Addresses


def _addresses(envelope: bytes) -> tuple[bytes, ...]:
    places = imapread.FROM, imapread.TO, imapread.CC
    local = [_octets(fold(imapread.first_local(envelope, at).decode("utf-8", "replace"))) for at in places]
    return (*local, _display(envelope, imapread.FROM), _display(envelope, imapread.TO))


def _display(envelope: bytes, field: int) -> bytes:
    """The first address as it is shown to a reader (RFC 5957 §3)."""
    address = imapread.first_address(envelope, field)
    if address is None:
        return b""
    name, mailbox, host = (address[part] for part in (imapread.NAME, imapread.MAILBOX, imapread.HOST))
    if not name:
        # a group has no domain, and its name where others have the local part
        name = b"@".join([part for part in (mailbox, host) if isinstance(part, bytes)])
    return _shown(name)


@lru_cache(maxsize=4096)
def _shown(name: bytes) -> bytes:
    return _octets(fold(field_value_text(name)))


# Threads


def _ids(envelope: bytes, head: bytes) -> tuple[bytes, bytes]:
    own = _ID.search(imapread.text(envelope, imapread.MESSAGE_ID))
    return b"" if own is None else own[0], b" ".join(_references(envelope, head))


def _references(envelope: bytes, head: bytes) -> Sequence[bytes]:
    """RFC 5256 §3 (1): the ids in References, or the first in In-Reply-To."""
    start = (b"\n" + head).lower().find(b"\nreferences:")
    if start >= 0 and (found := _found_ids(HeaderIndex(head[start:]).first("References") or b"")):
        return found
    return _found_ids(imapread.text(envelope, imapread.IN_REPLY_TO))[:1]


def _found_ids(value: bytes) -> list[bytes]:
    return _ID.findall(value)[-_MOST_REFERENCES:]


def _family(name: str, needs: tuple[Column, ...], kinds: str, make: Callable[..., tuple[Any, ...]]) -> Family:
    of_nothing = {Column.ENVELOPE: imapread.NOTHING, Column.ARRIVED: -inf}
    return Family(name, needs, kinds, make, make(*[of_nothing.get(column, b"") for column in needs]))


ARRIVED = _family("arrived", (Column.ARRIVED,), "d", lambda arrived: (arrived,))
"""The internal date."""
SENT = _family("sent", (Column.ENVELOPE, Column.ARRIVED), "d", _sent)
"""When it was sent."""
_HEADER = Column.PREFIX, Column.HEAD
DAY = _family("day", _HEADER, "i", _day)
"""The day in the Date field."""
FIELD = {name: _family(f"field {name}", _HEADER, "t", _field(name)) for name in FIELDS}
"""The text of a field, or of all such fields."""
SUBJECT = _family("subject", (Column.ENVELOPE,), "tb", _subject)
"""Base subject, and whether that is of a reply."""
ADDRESS = _family("address", (Column.ENVELOPE,), "t" * (len(ADDRESSES) + 2), _addresses)
"""The local part of the first address in each of `ADDRESSES` (RFC 5256 §3); how From and To are shown."""
REFERENCES = _family("references", (Column.ENVELOPE, Column.HEAD), "tt", _ids)
"""Message-ID, and the ids that it refers to, parted by spaces."""

ENVELOPE = _family("envelope", (Column.ENVELOPE,), "t", lambda envelope: (envelope,))
BODYSTRUCTURE = _family("bodystructure", (Column.BODYSTRUCTURE,), "t", lambda structure: (structure,))
HEADER_FIELDS = _family("header fields", _HEADER, "t", _fetched)
"""The fields of `FETCHED` as they stand, in their order, and the empty line: a header itself."""


@lru_cache(maxsize=256)
def fields(names: frozenset[bytes]) -> Family:
    """Some of the fields of `HEADER_FIELDS`, which a mail program asks for; `names` in small letters."""
    ordered = tuple(sorted(names))
    named = " ".join(["fields", *(name.decode("latin-1") for name in ordered)])
    return _family(
        named, _HEADER, "t", lambda prefix, head: tuple(section.named_fields(ordered, [prefix + head]))
    )


FAMILIES = (ARRIVED, SENT, DAY, *FIELD.values(), SUBJECT, ADDRESS, REFERENCES)
"""What is compared."""
READY = (ENVELOPE, BODYSTRUCTURE, HEADER_FIELDS)
"""What FETCH returns of all messages of a mailbox, as it stands."""
KEPT = FAMILIES + READY
"""All there are.

What they say lies in pages (`factpages`). Whoever changes it has those made anew: by another
`fulltext_sqlite.VERSION`, and by a migration that empties search_facts.
"""
