"""Where Posthouse and Dovecot 2.3 read mail differently on purpose: each difference with its name and reason.

A rule tells whether one difference is of its kind, and nothing but of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tests.beside.fetched import STRUCTURES, Difference
from tests.beside.wire import Value


class Rule(NamedTuple):
    """A kind of difference."""

    name: str
    why: str
    covers: Callable[[Difference], bool]


def rule_for(difference: Difference) -> Rule | None:
    """The rule that explains a difference; None: nothing does."""
    return next((rule for rule in RULES if rule.covers(difference)), None)


_PART = re.compile(r"BODY\[([\d.]+?)(?:\.(MIME|HEADER|TEXT)[^\]]*)?\]")
_LINE_END = re.compile(rb"\r*\n|\r")
_FIELD = re.compile(rb"(?m)^[!-9;-~]+[ \t]*:.*\n(?:[ \t].*\n)*|^\r\n\Z")
_GAVE_UP = re.compile(rb"MISSING_MAILBOX|MISSING_DOMAIN|SYNTAX_ERROR|INVALID_ROUTE")


def _nothing(value: Value) -> bool:
    return value is None or value == b""


def _no_such_part(difference: Difference) -> bool:
    return difference.item.startswith("BODY[") and difference.ours is None and difference.theirs == b""


def _below_a_leaf(difference: Difference) -> bool:
    found = _PART.match(difference.item)
    if found is None or difference.ours is not None:
        return False
    numbers, _, last = found[1].rpartition(".")
    above = _structure_of(difference.structure, numbers) if numbers else None
    return last == "1" and above is not None and not _is_multipart(above) and not _is_letter(above)


def _is_multipart(body: Value) -> bool:
    return isinstance(body[0], list)


def _is_letter(body: Value) -> bool:
    return body[0] == b"message" and body[1] in (b"rfc822", b"global")


def _structure_of(body: Value, numbers: str) -> Value | None:
    """The part of this number."""
    for at, number in enumerate(map(int, numbers.split("."))):
        if at and _is_letter(body):
            body = body[8]
        if _is_multipart(body):
            parts = [one for one in body if isinstance(one, list)]
            if number > len(parts):
                return None
            body = parts[number - 1]
        elif number != 1:
            return None
    return body


def _same_but(difference: Difference, of: Callable[[Value], Value]) -> bool:
    """Whether a structure is the same once `of` has been applied to both."""
    return difference.item in STRUCTURES and of(difference.ours) == of(difference.theirs)


def _without_default_charset(value: Value) -> Value:
    if not isinstance(value, list):
        return value
    if value[-2:] == [b"charset", b"us-ascii"]:
        return _without_default_charset(value[:-2]) or None
    return [_without_default_charset(one) for one in value]


def _without_size_of_letters(value: Value) -> Value:
    if not isinstance(value, list):
        return value
    if len(value) > 9 and _is_letter(value):
        value = [*value[:6], *value[7:9], *value[10:]]
    return [_without_size_of_letters(one) for one in value]


def _default_charset(difference: Difference) -> bool:
    return _same_but(difference, _without_default_charset)


def _line_end_of_delimiter(difference: Difference) -> bool:
    ours, theirs = difference.ours, difference.theirs
    if isinstance(ours, bytes) and isinstance(theirs, bytes):
        more = theirs.removeprefix(ours) if theirs.startswith(ours) else ours.removeprefix(theirs)
        cut = "<" in difference.item and more == b"\r"
        return _PART.match(difference.item) is not None and (more == b"\r\n" or cut)
    return _same_but(difference, lambda value: _without_size_of_letters(_without_default_charset(value)))


def _no_empty_line(difference: Difference) -> bool:
    if not difference.item.startswith("BODY[HEADER.FIELDS"):
        return False
    ours, theirs = difference.ours or b"", difference.theirs or b""
    return theirs in (ours + b"\r\n", ours + b"\r\n\r\n")


def _header_ended_by_a_delimiter(difference: Difference) -> bool:
    if re.match(r"BODY\[[\d.]+HEADER\.FIELDS", difference.item) is None:
        return False
    ours, theirs = difference.ours or b"", difference.theirs or b""
    read_on = b"".join(_FIELD.findall(theirs)).startswith(ours)
    return read_on and not ours.endswith(b"\n\r\n") and ours != b"\r\n"


def _lines_that_are_no_fields(difference: Difference) -> bool:
    if "FIELDS.NOT" not in difference.item or not difference.theirs:
        return False
    return b"".join(_FIELD.findall(difference.theirs)) == (difference.ours or b"")


def _gave_up_on_addresses(difference: Difference) -> bool:
    return difference.item == "ENVELOPE" and _GAVE_UP.search(repr(difference.theirs).encode()) is not None


def _white_space(difference: Difference) -> bool:
    def squeezed(value: Value) -> Value:
        if isinstance(value, list):
            return [squeezed(one) for one in value]
        return b" ".join(value.split()) if isinstance(value, bytes) else value

    return difference.item == "ENVELOPE" and squeezed(difference.ours) == squeezed(difference.theirs)


def _other_line_ends(difference: Difference) -> bool:
    def as_one(value: Value) -> Value:
        if isinstance(value, list):
            return [as_one(one) for one in value]
        if isinstance(value, str):
            return "a number"
        return _LINE_END.sub(b"\n", value) if isinstance(value, bytes) else value

    if _LINE_END.sub(b"", difference.letter.replace(b"\r\n", b"")) == difference.letter.replace(b"\r\n", b""):
        return False
    if "<" in difference.item:
        return True  # octets are counted otherwise
    ours, theirs = (as_one(_without_default_charset(value)) for value in (difference.ours, difference.theirs))
    return bool(ours == theirs)


RULES = (
    Rule(
        "no such part",
        "RFC 9051 §7.5.2: BODY[section] is an nstring. NIL says that there is nothing, an empty string that"
        " what is there has no octets. Dovecot says the latter of both.",
        _no_such_part,
    ),
    Rule(
        "1 below a part that has none",
        "RFC 9051 §6.4.5.1: a letter that is no multipart has a part 1; a part that is no multipart has no"
        " parts. Dovecot shows it again as its own part 1.",
        _below_a_leaf,
    ),
    Rule(
        "charset that nobody wrote",
        "RFC 2046 §4.1.2: US-ASCII is the default. Dovecot writes it into every text without charset, whose"
        " octets are often something else; we tell what the sender said, and leave the guess to the client.",
        _default_charset,
    ),
    Rule(
        "line end before a delimiter",
        "RFC 2046 §5.1.1: it belongs to the delimiter. Dovecot counts it to a letter or multipart that ends"
        " there; and where it is the empty line of a header too, we count it to the header.",
        _line_end_of_delimiter,
    ),
    Rule(
        "no empty line behind the header",
        "RFC 9051 §6.4.5.1: the empty line is in all header fetches but of a message that has none. Dovecot"
        " adds one.",
        _no_empty_line,
    ),
    Rule(
        "header of a part that a delimiter ends",
        "Dovecot finds no end of it, and shows fields of what follows.",
        _header_ended_by_a_delimiter,
    ),
    Rule(
        "lines that are no fields",
        "RFC 9051 §6.4.5.1: HEADER.FIELDS.NOT returns header fields. Dovecot returns other lines as well.",
        _lines_that_are_no_fields,
    ),
    Rule(
        "addresses on which Dovecot gives up",
        "RFC 5322 §4.4 and mail as it is: we take what can be read. RFC 9051 §7.5.2: a NIL host begins a"
        " group, so that an address without a domain has an empty one; Dovecot invents names.",
        _gave_up_on_addresses,
    ),
    Rule(
        "white space within a field",
        "RFC 5322 §2.2.3: unfolding takes away line ends, nothing else. Dovecot makes one space of several.",
        _white_space,
    ),
    Rule(
        "line ends that are not CRLF",
        "We keep the octets of a message as they came. Dovecot ends each line with CRLF as it reads, and"
        " makes a space of a lone CR in an ENVELOPE.",
        _other_line_ends,
    ),
)

LETTERS = {
    "too long": "RFC 2046 §5.1.1 allows 70 octets; Dovecot compares the first 80, we up to 256.",
    "none": "A multipart without a boundary is shown as text, so that one can read it; as an empty multipart"
    " by Dovecot.",
    "type 'multipart/mixed; boundary='": "The same.",
    "extended (RFC 2231)": "RFC 2231 §4 allows it for any parameter. Dovecot finds no boundary.",
    "type ''": 'RFC 2045 §5.2: what cannot be read is text/plain. Dovecot says "" or half of it.',
    "type 'text'": "The same.",
    "type 'text/'": "The same.",
    "type '/plain'": "The same.",
    "type 'text/html charset=utf-8'": "What stands before is meant.",
    "type 'text/plain; name=\"unclosed'": "It ends with the field; Dovecot finds no parameter.",
    "type 'application/x; name*0=a; name*1=b; x=y'": "The order of parameters means nothing (RFC 2045 §5.1).",
    "type 'application/x; name*0=a; name*2=c'": "RFC 2231 §3: what follows a gap has no place; Dovecot shows"
    " the pieces.",
    "type \"application/x; name*=utf-8''%C3%A4.txt; name=a.txt\"": "Order, as above.",
    "type 'application/x; name=a/b@c'": "RFC 2045 §5.1 wants quotes; Dovecot cuts it off.",
    "type 'text/plain\\nContent-Disposition: ; filename=a'": "RFC 2183 §2.8: an attachment.",
    "type 'text/plain\\nContent-Disposition: \"inline\"'": "Not as it should be, but plain.",
    "type 'text/plain\\nContent-Language: en (English), de,, fr'": "Dovecot stops at the empty one.",
    "address '(before) alice@north.test'": "A comment is all of a name that there is, wherever it stands.",
    "address 'a@north.test; b@north.test'": "Outlook's semicolons; Dovecot forgets all that follows.",
    "address 'a@b@north.test'": "RFC 5321 §4.1.2: the domain stands behind the last one.",
    "address \"'alice@north.test' <alice@north.test>\"": "What stands in brackets is the address.",
    "address 'a@b.c <x@y.z>'": "The same.",
    "CR CR LF": "RFC 5322 §2.2: a lone CR ends no line, so that no line is empty; Dovecot takes CRs away.",
    "CR alone": "We keep the octets of a message; Dovecot loses a CR at its end.",
    "several of each": "RFC 5322 §3.6 allows one of each. We take the first, as most clients show it, in"
    " SEARCH and SORT too; Dovecot the last.",
}
"""Letters of the corpus about which the servers differ for a reason of their own."""
