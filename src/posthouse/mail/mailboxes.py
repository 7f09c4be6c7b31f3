"""Address lists of header fields (RFC 5322 §3.4, obsolete forms of §4.4), read from octets as they are.

Nothing is refused and nothing decoded: `From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>` keeps its encoded
word. Ordinary mailboxes are read by one pattern; quoted local parts, comments, groups, routes and broken
syntax by a tokenizer. Both take time in proportion to the length.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import NamedTuple

LIST_LIMIT = 5000
"""Entries of one list; what follows is passed over."""

TOKENS_LIMIT = 20_000
"""Words, signs and white space of a list that is not ordinary; what follows is passed over."""


class Mailbox(NamedTuple):
    """An entry of a list.

    A group is, as in IMAP's ENVELOPE, an entry with its name as `local` and no `domain`, then its
    members, then an entry of Nones.
    """

    name: bytes | None
    """The display name without quotes; failing that, a comment."""
    route: bytes | None
    """The source route of obsolete syntax."""
    local: bytes | None
    """The local part without quotes."""
    domain: bytes | None
    """Empty, not None, where the address has none."""


_WORDS = bytes(octet for octet in range(256) if octet > 127 or chr(octet).isalnum() or octet in b"-_+=")
_END_OF_GROUP = Mailbox(None, None, None, None)

_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_ORDINARY = re.compile(
    rb"\s*+(?:(?:\"([^\"\\]*+)\"|((?:" + _ATEXT + rb"|[. \t])*+))\s*+<)?+"
    rb"(" + _ATEXT + rb"++(?:\." + _ATEXT + rb"++)*+)@([A-Za-z0-9._\x80-\xff-]++)(>)?+\s*+(,|\Z)"
)
_TOKEN = re.compile(
    rb"[ \t\r\n]++|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"?|\[[^\]\[]*+\]?|[^ \t\r\n()<>\[\]:;@\\,\".]++|\\.|.",
    re.DOTALL,
)
_JOINTS = (b".", b"@", b":")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def parse(value: bytes) -> list[Mailbox]:
    """The entries of an unfolded field value."""
    found: list[Mailbox] = []
    position, length = 0, len(value)
    while position < length and len(found) < LIST_LIMIT:
        match = _ORDINARY.match(value, position)
        if match is None:
            return found + _Tokens(value, position).parse(LIST_LIMIT - len(found))
        quoted, phrase, local, domain, closed, _ = match.groups()
        if (quoted is not None or phrase is not None) != (closed is not None):
            return found + _Tokens(value, position).parse(LIST_LIMIT - len(found))
        name = quoted if quoted is not None else phrase.strip() if phrase else None
        found.append(Mailbox(name or None, None, local, domain))
        position = match.end()
    return found


def signs(value: bytes) -> int:
    """How much work a list makes: its octets that are in no word. Each entry has some."""
    return len(value.translate(None, _WORDS))


class _Tokens:
    """The slow road, for one list."""

    def __init__(self, value: bytes, position: int) -> None:
        self._tokens = islice(_TOKEN.finditer(value, position), TOKENS_LIMIT)
        self._entry: list[bytes] = []
        self._comment: bytes | None = None
        self._in_group = False
        self._in_angle = False
        self._in_route = False
        self._found: list[Mailbox] = []

    def parse(self, limit: int) -> list[Mailbox]:
        for match in self._tokens:
            token = match[0]
            if token == b"(":
                self._comment = self._read_comment() or self._comment
                self._entry.append(b" ")
            elif token == b"<":
                self._in_angle = True
                self._entry.append(token)
            elif token == b"@" and self._entry[-1:] == [b"<"]:
                self._in_route = True  # its commas part no entries
                self._entry.append(token)
            elif token == b">":
                self._in_angle = self._in_route = False
                self._entry.append(token)
            elif token == b"," and not self._in_route:
                self._finish_entry()
            elif token == b":" and not self._in_angle and not self._in_group:
                self._found.append(Mailbox(None, None, _phrase(self._entry) or b"", None))
                self._entry, self._comment, self._in_group = [], None, True
            elif token == b";":
                self._finish_entry()
                if self._in_group:
                    self._found.append(_END_OF_GROUP)
                    self._in_group = False
            else:
                self._in_route = self._in_route and token != b":"
                self._entry.append(b" " if token[0] in b" \t\r\n" else token)
            if len(self._found) >= limit:
                break
        self._finish_entry()
        if self._in_group:
            self._found.append(_END_OF_GROUP)
        return self._found

    def _read_comment(self) -> bytes:
        """What stands in a comment, which may hold others, up to its end."""
        depth, inside = 1, []
        for match in self._tokens:
            token = match[0]
            depth += (token == b"(") - (token == b")")
            if depth == 0:
                break
            inside.append(token)
        return _ESCAPE.sub(rb"\1", b"".join(inside)).strip()

    def _finish_entry(self) -> None:
        tokens, comment = self._entry, self._comment
        self._entry, self._comment = [], None
        self._in_angle = self._in_route = False
        name: bytes | None = None
        if b"<" in tokens:
            opening = tokens.index(b"<")
            name = _phrase(tokens[:opening])
            while tokens[opening + 1 : opening + 2] == [b"<"]:
                opening += 1
            tokens = tokens[opening + 1 :]
        elif all(token == b" " for token in tokens):
            return
        if b">" in tokens:
            tokens = tokens[: tokens.index(b">")]
        if b"@" in tokens:
            words, tokens = _words_and_address(tokens)
            name = name or _phrase(words)
        route: bytes | None = None
        if tokens[:1] == [b"@"] and b":" in tokens:
            colon = tokens.index(b":")
            route = b"".join(tokens[:colon])
            tokens = tokens[colon + 1 :]
        if b"@" in tokens:
            at = len(tokens) - 1 - tokens[::-1].index(b"@")
            local, domain = b"".join(map(_meaning, tokens[:at])), b"".join(tokens[at + 1 :])
        else:
            local, domain = _phrase(tokens) or b"", b""
        self._found.append(Mailbox(name or comment, route, local, domain))


def _words_and_address(tokens: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """What stands before an address that has no brackets, and the address without white space.

    White space parts them where it stands between two words; beside a dot it means nothing (RFC 5322 §4.4).
    """
    tokens = [token for before, token in pairwise((b" ", *tokens)) if (before, token) != (b" ", b" ")]
    at = len(tokens) - 1 - tokens[::-1].index(b"@")
    gaps = [
        gap
        for gap in range(1, len(tokens) - 1)
        if tokens[gap] == b" " and tokens[gap - 1] not in _JOINTS and tokens[gap + 1] not in _JOINTS
    ]
    start = max((gap for gap in gaps if gap < at), default=0)
    end = min((gap for gap in gaps if gap > at), default=len(tokens))
    return tokens[:start], [token for token in tokens[start:end] if token != b" "]


def _meaning(token: bytes) -> bytes:
    """A token without its quotes."""
    if token[:1] == b'"':
        token = token[1:-1] if len(token) > 1 and token.endswith(b'"') else token[1:]
        return _ESCAPE.sub(rb"\1", token) if b"\\" in token else token
    return token[1:] if token[:1] == b"\\" and len(token) > 1 else token


def _phrase(tokens: list[bytes]) -> bytes | None:
    """The words of a phrase, with one space where there was any white space."""
    return b" ".join(b"".join(map(_meaning, tokens)).split()) or None
