"""Annotations in commands: names, values and options (RFC 5464 §5, RFC 9590 §3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from posthouse.protocol.imap.syntax import Parser, SyntaxProblem

_ENTRY = re.compile(r"/(?:private|shared)(?:/[!-)+-.0-~]+)*")
"""In lower case; without `*`, `%`, empty components or a slash at the end (§3.2)."""
MOST = 200
"""Entries of one command."""
LONGEST = 1000


class Wanted(NamedTuple):
    """Entries that are asked for."""

    entries: tuple[str, ...]
    """In lower case: their case does not count."""
    max_size: int | None = None
    """Octets; a longer value is left out (§4.2.1)."""
    depth: int | None = 0
    """Levels below each entry that are wanted too; None: all (§4.2.2)."""


def wanted(parser: Parser) -> Wanted:
    """Entries with options before them, as in LIST … RETURN (METADATA …)."""
    found = options(parser)
    return found._replace(entries=entries(parser))


def options(parser: Parser) -> Wanted:
    """`(MAXSIZE 1024 DEPTH 1)` and the space behind it, where it stands."""
    found = Wanted(())
    start = parser.position
    if not parser.skip(b"(") or parser.at_string() or parser.next_is(b"/"):
        parser.position = start
        return found
    while True:
        name = parser.word()
        parser.space()
        if name == "MAXSIZE":
            found = found._replace(max_size=parser.number64())
        elif name == "DEPTH":
            found = found._replace(depth=_depth(parser))
        else:
            raise SyntaxProblem(f"Unknown option {name}")
        if parser.skip(b")"):
            break
        parser.space()
    parser.space()
    return found


def _depth(parser: Parser) -> int | None:
    value = parser.word()
    if value not in ("0", "1", "INFINITY"):
        raise SyntaxProblem("DEPTH is 0, 1 or infinity")
    return None if value == "INFINITY" else int(value)


def entries(parser: Parser) -> tuple[str, ...]:
    """One entry, or several in parentheses."""
    if not parser.next_is(b"("):
        return (entry(parser),)
    found = tuple(dict.fromkeys(parser.listed(lambda: entry(parser), empty=False)))
    if len(found) > MOST:
        raise SyntaxProblem("Too many entries")
    return found


def entry(parser: Parser) -> str:
    """The name of an entry, in lower case."""
    name = parser.astring().decode("latin-1").lower()
    if len(name) > LONGEST or "%" in name or _ENTRY.fullmatch(name) is None:
        raise SyntaxProblem("An entry begins with /private or /shared, in plain ASCII without * and %")
    return name


def values(parser: Parser) -> tuple[tuple[str, bytes | None], ...]:
    """`(entry value entry value …)`; of an entry that is named twice the last value counts."""
    found: dict[str, bytes | None] = {}

    def pair() -> None:
        name = entry(parser)
        if name.count("/") < 2:
            raise SyntaxProblem("An entry that has a value has a name")
        parser.space()
        found[name] = parser.nstring8()

    parser.listed(pair, empty=False)
    if len(found) > MOST:
        raise SyntaxProblem("Too many entries")
    return tuple(found.items())
