"""Dates of mail: written as RFC 5322 §3.3 and RFC 9051 `date-time` want, read with tolerance.

Moments are seconds since 1970-01-01 UTC, as floats; offsets from UTC are minutes, east positive.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

# RFC 5322 §4.3; other letters say nothing, so UTC.
_ZONES = {
    "est": -300,
    "edt": -240,
    "cst": -360,
    "cdt": -300,
    "mst": -420,
    "mdt": -360,
    "pst": -480,
    "pdt": -420,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMMENT = re.compile(r"\([^()]*\)")
_AROUND = re.compile(r"\s*+([:,])\s*+")
_DATE = re.compile(
    r"\s*(?:[A-Za-z]{3,9}\.?,?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*\.?[\s-]+(\d{2,4})"
    r"[\s,]+(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:\.\d+)?)?\s*([+-]\s?\d{2}:?\d{2}|[A-Za-z]{1,5})?"
)
_ASCTIME = re.compile(
    r"\s*[A-Za-z]{3},?\s+([A-Za-z]{3})[a-z]*\s+(\d{1,2})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s+"
    r"(?:([A-Za-z]{1,5}|[+-]\d{4})\s+)?(\d{4})"
)
_IMAP = re.compile(r'"?([ \d]\d|\d)-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-]\d{4})"?\Z')


@lru_cache(maxsize=256)
def _format_second(second: int, offset_minutes: int) -> str:
    moment = _EPOCH + timedelta(seconds=second, minutes=offset_minutes)
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {sign}{hours:02}{minutes:02}"
    )


def format_date(epoch: float, offset_minutes: int = 0) -> str:
    """`Mon, 2 Nov 2026 13:04:05 +0000`: a date-time of RFC 5322 §3.3, in the zone of that offset."""
    return _format_second(int(epoch // 1), offset_minutes)


def plain(value: str) -> str:
    """A date without comments, and without white space that means nothing (RFC 5322 §4.3)."""
    return _AROUND.sub(r"\1", _COMMENT.sub(" ", value[:1000]))


def parse_date(value: str) -> float | None:
    """The moment a Date field names; None where it names none. Missing zones are UTC."""
    if "(" in value or " :" in value or " ," in value:
        value = plain(value)
    match = _DATE.match(value)
    if match is not None:
        day, month, year, hour, minute, second, zone = match.groups()
        return _moment(year, month, day, hour, minute, second, zone)
    match = _ASCTIME.match(value)
    if match is not None:
        month, day, hour, minute, second, zone, year = match.groups()
        return _moment(year, month, day, hour, minute, second, zone)
    return None


def _moment(
    year: str, month: str, day: str, hour: str, minute: str, second: str | None, zone: str | None
) -> float | None:
    number = int(year)
    if len(year) < 4:  # RFC 5322 §4.3
        number += 2000 if len(year) == 2 and number < 50 else 1900
    try:
        # A leap second is the last second of its minute to us.
        moment = datetime(
            number,
            _MONTH[month.lower()],
            int(day),
            int(hour),
            int(minute),
            min(int(second or 0), 59),
            tzinfo=UTC,
        )
    except (KeyError, ValueError):
        return None
    return (moment - _EPOCH).total_seconds() - 60 * _offset(zone)


def _offset(zone: str | None) -> int:
    """Minutes east of UTC."""
    if not zone:
        return 0
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").strip()
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return -minutes if zone[0] == "-" else minutes
    return _ZONES.get(zone.lower(), 0)


_FIRST = int((datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds())
_LAST = int((datetime.max.replace(microsecond=0, tzinfo=UTC) - _EPOCH).total_seconds())


@lru_cache(maxsize=256)
def _imap_second(second: int) -> str:
    moment = _EPOCH + timedelta(seconds=second)
    return (
        f"{moment.day:2}-{_MONTHS[moment.month - 1]}-{moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} +0000"
    )


def imap_datetime(epoch: float) -> str:
    """` 2-Nov-2026 13:04:05 +0000`: RFC 9051 date-time without its quotation marks, in UTC.

    It has four digits for the year: what is beyond them is told as the first moment of all, or the last.
    """
    return _imap_second(min(max(int(epoch // 1), _FIRST), _LAST))


def parse_imap_datetime(value: str) -> float | None:
    """The moment of an RFC 9051 date-time, with or without its quotation marks; None if it is none."""
    match = _IMAP.match(value)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    return _moment(year, month, day.strip(), hour, minute, second, zone)
