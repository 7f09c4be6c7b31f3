"""Which mailboxes a command is about, named by what they are (RFC 5465 §6, RFC 7377 §2.2).

personal · (subtree-one "Lists") · (mailboxes "INBOX" "Sent") · selected
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from posthouse.protocol.imap.syntax import Parser, SyntaxProblem

MOST_NAMES = 1000


class Among(Enum):
    """The value is the name on the wire."""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"  # RFC 7377 §2.2
    MAILBOXES = "MAILBOXES"


NAMED = frozenset({Among.SUBTREE, Among.SUBTREE_ONE, Among.MAILBOXES})


class Source(NamedTuple):
    """Some mailboxes."""

    among: Among
    names: tuple[str, ...] = ()
    """Decoded, where `among` needs them."""


def parse_source(parser: Parser) -> Source:
    """One source; where it needs names, one or a list of them."""
    word = parser.word()
    try:
        among = Among(word)
    except ValueError:
        raise SyntaxProblem(f"There are no mailboxes called {word}") from None
    if among not in NAMED:
        return Source(among)
    parser.space()
    if not parser.next_is(b"("):
        return Source(among, (parser.mailbox(),))
    names = tuple(parser.listed(parser.mailbox, empty=False))
    if len(names) > MOST_NAMES:
        raise SyntaxProblem("Too many mailboxes")
    return Source(among, names)


def chosen(source: Source, names: list[str], subscribed: Callable[[str], bool]) -> list[str]:
    """Those of `names`, the user's mailboxes in the order of LIST, that a source means (but SELECTED)."""
    match source.among:
        case Among.PERSONAL:
            return names
        case Among.INBOXES:
            return [name for name in names if name == "INBOX"]
        case Among.SUBSCRIBED:
            return [name for name in names if subscribed(name)]
        case Among.MAILBOXES:
            wanted = set(source.names)
            return [name for name in names if name in wanted]
        case Among.SUBTREE:
            tops = tuple(name + "/" for name in source.names)
            return [name for name in names if (name + "/").startswith(tops)]
        case Among.SUBTREE_ONE:
            return [name for name in names if {name, name.rpartition("/")[0]} & set(source.names)]
    return []
