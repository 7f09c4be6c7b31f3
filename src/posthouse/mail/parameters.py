"""Values of content fields and their parameters (RFC 2045 §5, RFC 2183, RFC 2231), read tolerantly."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

Parameters: TypeAlias = tuple[tuple[bytes, bytes], ...]

PARAMETERS_LIMIT = 100
"""Parameters of one field; more are passed over."""

SEMICOLONS_LIMIT = 1000
"""Places of one field at which a parameter is looked for."""

LEXEMES_LIMIT = 10_000
"""Words and signs of a value with comments that are looked at."""

_CACHED_LENGTH = 120
# A NUL is in no token, and IMAP could not tell of it.
_TOKEN = re.compile(rb"[^\0\s()<>@,;:\\\"/\[\]?=]++")
_KIND = re.compile(rb"[\s\"]*+([^\0\s()<>@,;:\\\"/\[\]?=]++)")
_TYPE = re.compile(rb"\s*+([^\0\s()<>@,;:\\\"/\[\]?=]++)\s*+/\s*+([^\0\s()<>@,;:\\\"\[\]?=]++)")
_PARAMETER = re.compile(
    rb"\s*+([^\0\s()<>@,;:\\\"/\[\]?=]++)\s*+=\s*+(?:\"([^\"\\]*+(?:\\.[^\"\\]*+)*+)\"?|([^\s;]*+))",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LEXEME = re.compile(rb"[()]|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"?|\\.?|[^()\"\\]++", re.DOTALL)
_SECTION = re.compile(rb"(.+?)\*(\d{1,3})(\*?)\Z", re.DOTALL)


def token(value: bytes) -> str:
    """The first token of a value, in lower case; empty where there is none."""
    return _cached_token(value) if len(value) <= _CACHED_LENGTH else _read_token(value)


@lru_cache(maxsize=512)
def _cached_token(value: bytes) -> str:
    return _read_token(value)


def _read_token(value: bytes) -> str:
    match = _TOKEN.search(without_comments(value))
    return match[0].decode("ascii", "replace").lower() if match else ""


def content_type(value: bytes) -> tuple[str, str, Parameters]:
    """Type and subtype in lower case, and parameters. What cannot be read is text/plain (RFC 2045 §5.2)."""
    return _cached_type(value) if len(value) <= _CACHED_LENGTH else _read_type(value)


@lru_cache(maxsize=512)
def _cached_type(value: bytes) -> tuple[str, str, Parameters]:
    return _read_type(value)


def _read_type(value: bytes) -> tuple[str, str, Parameters]:
    value = without_comments(value)
    match = _TYPE.match(value)
    if match is None:
        return "text", "plain", ()
    kind, subtype = (name.decode("ascii", "replace").lower() for name in match.groups())
    return kind, subtype, read(value, match.end())


def disposition(value: bytes) -> tuple[str, Parameters]:
    """The kind of disposition in lower case, and its parameters."""
    value = without_comments(value)
    match = _KIND.match(value)
    if match is not None:
        return match[1].decode("ascii", "replace").lower(), read(value, match.end())
    parameters = read(value, 0)
    # RFC 2183 §2.8: what is not known is an attachment.
    return ("attachment" if parameters else ""), parameters


def without_comments(value: bytes) -> bytes:
    """A value with a space for each comment (RFC 5322 §3.2.2); one that never ends reaches to the end."""
    if b"(" not in value:
        return value
    kept: list[bytes] = []
    depth = 0
    for match in islice(_LEXEME.finditer(value), LEXEMES_LIMIT):
        piece = match[0]
        if piece == b"(":
            depth += 1
        elif piece == b")" and depth:
            depth -= 1
            kept.append(b" ")
        elif not depth:
            kept.append(piece)
        elif piece[:1] == b'"':
            # A quotation mark means nothing in a comment, but the parentheses behind it do.
            depth = max(0, depth + piece.count(b"(") - piece.count(b")"))
    return b"".join(kept)


def read(value: bytes, position: int) -> Parameters:
    """The parameters that follow `position`, names in lower case, continuations joined."""
    found: list[tuple[bytes, bytes]] = []
    continued = False
    for _ in range(SEMICOLONS_LIMIT):
        position = value.find(b";", position)
        if position < 0 or len(found) == PARAMETERS_LIMIT:
            break
        position += 1
        match = _PARAMETER.match(value, position)
        if match is None:
            continue
        name, quoted, plain = match.groups()
        continued = continued or b"*" in name
        text = plain if quoted is None else _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        found.append((name.lower(), text))
        position = match.end()
    return _join_continuations(found) if continued else tuple(found)


def decoded(value: bytes) -> bytes:
    """The octets of an extended value, `charset'language'percent-encoded` (RFC 2231 §4)."""
    return unquote_to_bytes(value.split(b"'", 2)[-1])


def _join_continuations(found: list[tuple[bytes, bytes]]) -> Parameters:
    """RFC 2231 §3 and its section on IMAP: `name*0`, `name*1*` … become `name` or `name*`."""
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in found:
        match = _SECTION.match(name)
        if match is not None:
            sections.setdefault(match[1], {})[int(match[2])] = (value, match[3] == b"*")
    joined: list[tuple[bytes, bytes]] = []
    for name, value in found:
        match = _SECTION.match(name)
        if match is None:
            joined.append((name, value))
            continue
        numbered = sections.pop(match[1], None)
        if numbered is None:
            continue
        extended = any(is_extended for _, is_extended in numbered.values())
        pieces: list[bytes] = []
        for number in range(len(numbered)):
            if number not in numbered:
                break
            piece, is_extended = numbered[number]
            pieces.append(piece if is_extended or not extended else piece.replace(b"%", b"%25"))
        joined.append((match[1] + b"*" if extended else match[1], b"".join(pieces)))
    return tuple(joined)
