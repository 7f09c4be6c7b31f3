"""What SEARCH compares of headers and dates, by the facts that are kept: see `facts`."""

from __future__ import annotations

import datetime

from posthouse.access.imap import masks
from posthouse.mail.casefold import fold
from posthouse.protocol.imap import searching
from posthouse.protocol.imap.searching import Day, SearchKey
from posthouse.store.facts import ARRIVED, DAY, FIELD, NO_DAY, Facts, Family


def family_of(key: SearchKey) -> Family | None:
    """The facts that decide a key, if there are any."""
    if isinstance(key, searching.InternalDate | searching.Age):
        return ARRIVED
    if isinstance(key, searching.SentDate):
        return DAY
    return FIELD.get(key.name) if isinstance(key, searching.InHeader) else None


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
            return masks.where_distinct(lambda day: day != NO_DAY and compare(day, how, wanted), facts[0])
        case searching.InHeader(_, text):
            sought = fold(text).encode("utf-8", "replace")
            found: bytes = facts[0].containing(sought) if sought else facts[0].filled()
            return found
    raise AssertionError(key)


def day_of(moment: float) -> datetime.date | None:
    """The day of an internal date."""
    try:
        return datetime.datetime.fromtimestamp(moment, datetime.UTC).date()
    except (ValueError, OverflowError):
        return None


def compare(day: datetime.date | int | None, how: Day, date: datetime.date | int) -> bool:
    """Whether a day is before, on or since a date; both dates, or both ordinals."""
    if day is None:
        return False
    if how is Day.BEFORE:
        return day < date  # type: ignore[operator]
    return day == date if how is Day.ON else day >= date  # type: ignore[operator]
