"""An ENVELOPE that `imapform` has written (RFC 9051 §7.5.2), read again: strings and addresses, as octets."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

DATE, SUBJECT, FROM, TO, CC, IN_REPLY_TO, MESSAGE_ID = 0, 1, 2, 5, 6, 8, 9
"""Where the fields stand …"""
FIELDS = 10
"""… and how many there are."""
NAME, MAILBOX, HOST = 0, 2, 3
"""Where display name, local part and domain stand in an address."""
NOTHING = b"(%b)" % b" ".join([b"NIL"] * FIELDS)
"""The ENVELOPE of a message without any such field."""

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*+)"|\{(\d+)\}\r\n|NIL|[()]| ')
_START = re.compile(rb'\((?:"([^"\\]*+)"|NIL) (?:"([^"\\]*+)"|NIL) ')
_STRING = rb'(?:NIL|"(?:[^"\\]|\\.)*+")'
_LIST = rb"(?:NIL|\((?:\(%b %b %b %b\) ?)++\))" % (_STRING, _STRING, _STRING, _STRING)
_WHOLE = re.compile(rb"\((%b)\)" % rb") (".join([*[_STRING] * 2, *[_LIST] * 6, *[_STRING] * 2]))
_FIRST_LOCAL = re.compile(rb'\(\(%b %b (?:NIL|"((?:[^"\\]|\\.)*+)")' % (_STRING, _STRING))
_FIRST = re.compile(rb"\(\((%b) (%b) (%b) (%b)\)" % (_STRING, _STRING, _STRING, _STRING))
_ESCAPE = re.compile(rb"\\(.)")


def text(envelope: bytes, field: int) -> bytes:
    """A field that is a string; empty where there is none."""
    start = _START.match(envelope) if field <= SUBJECT else None
    if start is not None:  # usually simple, and they come first
        return start[field + 1] or b""
    whole = _matched(envelope)
    if whole is not None:
        return _string(whole[field + 1]) or b""
    value = _parsed(envelope)[field]
    return value if isinstance(value, bytes) else b""


def first_local(envelope: bytes, field: int) -> bytes:
    """The local part of the first address of a field; empty where there is none."""
    whole = _matched(envelope)
    if whole is not None:
        first = _FIRST_LOCAL.match(whole[field + 1])
        return b"" if first is None else _ESCAPE.sub(rb"\1", first[1] or b"")
    local = (first_address(envelope, field) or [None] * 4)[MAILBOX]
    return local if isinstance(local, bytes) else b""


def first_address(envelope: bytes, field: int) -> list[bytes | None] | None:
    """The parts of the first address of a field."""
    whole = _matched(envelope)
    if whole is not None:
        first = _FIRST.match(whole[field + 1])
        return None if first is None else [_string(part) for part in first.groups()]
    addresses = _parsed(envelope)[field]
    if not isinstance(addresses, list) or not addresses or not isinstance(addresses[0], list):
        return None
    return addresses[0] if len(addresses[0]) > HOST else None


def _string(written: bytes) -> bytes | None:
    return None if written == b"NIL" else _ESCAPE.sub(rb"\1", written[1:-1])


@lru_cache(maxsize=8)
def _matched(envelope: bytes) -> re.Match[bytes] | None:
    """The fields of an ENVELOPE without literals."""
    return _WHOLE.fullmatch(envelope)


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
            if len(lists) == 1:
                break
            closed = lists.pop()
            lists[-1].append(closed)
        elif text == b"NIL":
            lists[-1].append(None)
        elif token[2] is not None:
            lists[-1].append(envelope[position : position + int(token[2])])
            position += int(token[2])
        elif token[1] is not None:
            lists[-1].append(_ESCAPE.sub(rb"\1", token[1]))
    whole: list[Any] = lists[0][0] if lists[0] and isinstance(lists[0][0], list) else []
    return whole + [None] * (FIELDS - len(whole))
