"""What SEARCH compares of headers and dates, as facts that are kept: see `facts`."""

from __future__ import annotations

import datetime
from email.utils import parsedate
from functools import lru_cache
from math import nan

from posthouse.access.imap import masks
from posthouse.access.imap.facts import Facts, Family
from posthouse.mail.casefold import fold
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.protocol.imap import searching
from posthouse.protocol.imap.searching import Day, SearchKey
from posthouse.store.read import Column

FIELDS = ("from", "to", "cc", "bcc", "subject")
"""Fields that have search keys of their own."""
_NO_DAY = 0


def _facts(prefix: bytes, head: bytes) -> tuple[object, ...]:
    header = HeaderIndex(prefix + head)
    day = sent_day(header)
    texts = [b"".join(map(_folded, header.all(name))) for name in FIELDS]
    return (_NO_DAY if day is None else day.toordinal(), *texts)


@lru_cache(maxsize=4096)
def _folded(value: bytes) -> bytes:
    """A field as it is compared; what stands before it is in no text that is sought."""
    return b"\0" + fold(field_value_text(value)).encode("utf-8", "replace")


HEADER = Family(
    "header", (Column.PREFIX, Column.HEAD), "i" + "t" * len(FIELDS), _facts, (_NO_DAY, *[b""] * len(FIELDS))
)
"""The day in the Date field, and the text of each of `FIELDS`."""

ARRIVED = Family("arrived", (Column.ARRIVED,), "d", lambda arrived: (arrived,), (nan,))
"""The internal date."""


def family_of(key: SearchKey) -> Family | None:
    """The facts that decide a key, if there are any."""
    if isinstance(key, searching.InternalDate | searching.Age):
        return ARRIVED
    if isinstance(key, searching.SentDate) or (isinstance(key, searching.InHeader) and key.name in FIELDS):
        return HEADER
    return None


def mask(key: SearchKey, facts: Facts, now: float) -> bytes:
    """Where a key holds, by the facts of its family."""
    match key:
        case searching.Age(seconds, older):
            edge = now - seconds
            return masks.where(edge.__ge__ if older else edge.__le__, facts[0])
        case searching.InternalDate(how, date):
            return masks.where(lambda arrived: compare(day_of(arrived), how, date), facts[0])
        case searching.SentDate(how, date):
            wanted = date.toordinal()
            return masks.where_distinct(lambda day: day != _NO_DAY and compare(day, how, wanted), facts[0])
        case searching.InHeader(name, text):
            column = facts[1 + FIELDS.index(name)]
            sought = fold(text).encode("utf-8", "replace")
            found: bytes = column.containing(sought) if sought else column.filled()
            return found
    raise AssertionError(key)


def day_of(moment: float) -> datetime.date | None:
    """The day of an internal date."""
    try:
        return datetime.datetime.fromtimestamp(moment, datetime.UTC).date()
    except (ValueError, OverflowError):
        return None


def sent_day(header: HeaderIndex) -> datetime.date | None:
    """The day in the Date field, as written there: its zone does not count (RFC 3501 §6.4.4)."""
    value = header.first("Date")
    parsed = None if value is None else parsedate(value.decode("latin-1"))
    try:
        return None if parsed is None else datetime.date(*parsed[:3])
    except ValueError:
        return None


def compare(day: datetime.date | int | None, how: Day, date: datetime.date | int) -> bool:
    """Whether a day is before, on or since a date; both dates, or both ordinals."""
    if day is None:
        return False
    if how is Day.BEFORE:
        return day < date  # type: ignore[operator]
    return day == date if how is Day.ON else day >= date  # type: ignore[operator]
