"""Which octets a section of a letter is: `BODY[1.2.HEADER.FIELDS (From)]` and others (RFC 9051 §6.4.5.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from posthouse.mail.header import HeaderIndex
from posthouse.mail.mime import NESTING_LIMIT, Part

Range: TypeAlias = tuple[int, int]
"""Start and end, in octets from the first of the letter."""

_SECTION = re.compile(
    r"(?P<numbers>[1-9]\d{0,8}(?:\.[1-9]\d{0,8})*)?"
    r"(?:(?(numbers)\.|)(?P<text>HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)"
    r"(?: \((?P<fields>[^()]*)\))?)?\Z",
    re.IGNORECASE,
)
_EMPTY_LINE = re.compile(rb"^\r?\n\Z", re.MULTILINE)
_FIELD_NAME = re.compile(r'"([!-9;-~]+)"|([!-!#-9;-~]+)')


class Section(NamedTuple):
    """A section specification."""

    numbers: tuple[int, ...] = ()
    """The part number; empty for the letter itself."""
    text: str = ""
    """HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME, or empty."""
    fields: tuple[str, ...] = ()
    """Names of the fields, as given."""


def parse_section(text: str) -> Section:
    """The section between the brackets of `BODY[…]`. Raises ValueError where it is none."""
    match = _SECTION.match(text)
    if match is None:
        raise ValueError("no such kind of section")
    numbers = tuple(map(int, match["numbers"].split("."))) if match["numbers"] else ()
    kind = (match["text"] or "").upper()
    fields: tuple[str, ...] = ()
    if kind.startswith("HEADER.FIELDS"):
        fields = tuple(quoted or plain for quoted, plain in _FIELD_NAME.findall(match["fields"] or ""))
        if not fields:
            raise ValueError("HEADER.FIELDS needs a list of field names")
    elif match["fields"] is not None:
        raise ValueError("only HEADER.FIELDS takes a list of field names")
    if kind == "MIME" and not numbers:
        raise ValueError("MIME needs a part number")
    if len(numbers) > NESTING_LIMIT:
        raise ValueError("the part number is too deep")
    return Section(numbers, kind, fields)


def find_part(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """The part with this number; None where there is none.

    Part 1 of a letter that is no multipart is its body: the letter's own `Part`.
    """
    part = root
    at_letter = True  # `part` is a letter, whose number 1 may be itself
    for number in numbers:
        if not at_letter and part.message is not None:
            part = part.message
            at_letter = True
        if part.type == "multipart":
            if number > len(part.parts):
                return None
            part = part.parts[number - 1]
        elif number != 1 or not at_letter:
            return None
        at_letter = False
    return part


def ranges(
    root: Part, section: Section, read: Callable[[int, int], bytes] | None = None
) -> list[Range] | None:
    """The octets that make the section, in order, neighbours joined; None where there is no such part.

    `read(start, end)` gives octets of the letter; it is asked only for the rare header longer than
    the scanner keeps.
    """
    part = find_part(root, section.numbers)
    if part is None:
        return None
    letter_itself = not section.numbers
    if not section.text:
        return [(part.header_start if letter_itself else part.body_start, part.end)]
    if section.text == "MIME":
        # Part 1 of a letter that is no multipart has the letter's header for its own.
        return [(part.header_start, part.body_start)]
    letter = part if letter_itself else part.message
    if letter is None:  # HEADER and TEXT are of letters only
        return None
    if section.text == "TEXT":
        return [(letter.body_start, letter.end)]
    if section.text == "HEADER":
        return [(letter.header_start, letter.body_start)]
    return _fields(letter, section, read)


def _fields(letter: Part, section: Section, read: Callable[[int, int], bytes] | None) -> list[Range]:
    """The fields that are named, or not named, and the empty line after the header (RFC 9051 §6.4.5.1)."""
    header = letter.header
    if not letter.header_complete and read is not None:
        header = read(letter.header_start, letter.body_start)
    names = {name.lower().encode() for name in section.fields}
    wanted = section.text == "HEADER.FIELDS"
    found: list[Range] = []
    end = 0
    for name, start, end in HeaderIndex(header).fields:
        if (name.lower() in names) == wanted:
            _append(found, letter.header_start + start, letter.header_start + end)
    empty_line = _EMPTY_LINE.search(header, end)
    if empty_line is not None:
        _append(found, letter.header_start + empty_line.start(), letter.header_start + len(header))
    return found


def named_fields(names: tuple[bytes, ...], heads: Iterable[bytes]) -> list[bytes]:
    """What HEADER.FIELDS is of each header: the fields of these names as they stand, and the empty line."""
    find, join = _pattern(names).findall, b"".join
    return [
        join(fields)[1:] + b"\n\r\n"  # as nearly all are
        if (fields := find(b"\n" + head)) and head.endswith(b"\n\r\n")
        else _with_ends(fields, head)
        for head in heads
    ]


@lru_cache(maxsize=256)
def _pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Finds the named fields in a header, each with the line end before it and without its own.

    A client asks for the same ones of each of many messages. What begins with a certain octet is found fast.
    """
    alternatives = b"|".join(re.escape(name) for name in names)
    return re.compile(rb"(?i)\n(?:%b)[ \t]*:.*+(?:\n[ \t].*+)*+" % alternatives)


def _with_ends(fields: list[bytes], head: bytes) -> bytes:
    """Fields as `_pattern` finds them, the last one's line end, and the empty line that ends the header.

    Of what the header has: it may be cut off in its last line.
    """
    end = b""
    if head.endswith((b"\n\r\n", b"\n\n")) or head in (b"\r\n", b"\n"):
        end = b"\r\n" if head.endswith(b"\r\n") else b"\n"
    if not fields:
        return end
    cut_off = not head.endswith(b"\n") and (b"\n" + head).endswith(fields[-1])
    return b"".join(fields)[1:] + (b"" if cut_off else b"\n") + end


def _append(found: list[Range], start: int, end: int) -> None:
    if found and found[-1][1] == start:
        found[-1] = (found[-1][0], end)
    else:
        found.append((start, end))
