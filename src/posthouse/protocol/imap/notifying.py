"""What NOTIFY asks for: events, in groups of mailboxes (RFC 5465 §6, RFC 5423)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from posthouse.protocol.imap.fetching import FetchItem, parse_fetch_list
from posthouse.protocol.imap.sources import Among, Source, parse_source
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem

MOST_GROUPS = 100


class Event(Enum):
    """The value is the name on the wire."""

    NEW = "MessageNew"
    EXPUNGE = "MessageExpunge"
    FLAGS = "FlagChange"
    NAME = "MailboxName"
    SUBSCRIPTION = "SubscriptionChange"
    MAILBOX_METADATA = "MailboxMetadataChange"
    SERVER_METADATA = "ServerMetadataChange"


_EVENTS = {event.value.upper(): event for event in Event}
_SELECTED = (Among.SELECTED, Among.SELECTED_DELAYED)
_OF_MESSAGES = frozenset({Event.NEW, Event.EXPUNGE, Event.FLAGS})


class UnknownEvent(ValueError):
    """Answered with NO [BADEVENT …] (RFC 5465 §5)."""


class Group(NamedTuple):
    """What the client wants to know of some mailboxes."""

    source: Source
    events: frozenset[Event]
    items: tuple[FetchItem, ...] = ()
    """What it wants to know of new messages in the selected mailbox."""


def parse_groups(parser: Parser) -> tuple[Group, ...]:
    """Groups up to the end of the command, each with a space before it. Raises UnknownEvent too."""
    groups: list[Group] = []
    while not groups or not parser.at_end():
        parser.space()
        groups.append(_group(parser))
        if len(groups) > MOST_GROUPS:
            raise SyntaxProblem("Too many groups of mailboxes")
    if sum(group.source.among in _SELECTED for group in groups) > 1:
        raise SyntaxProblem("There is one selected mailbox")  # RFC 5465 §6.1
    if any(group.source.among is Among.SUBTREE_ONE for group in groups):
        raise SyntaxProblem("subtree-one is for ESEARCH alone")  # RFC 7377 §2.2
    return tuple(groups)


def _group(parser: Parser) -> Group:
    parser.expect(b"(")
    source = parse_source(parser)
    parser.space()
    group = Group(source, frozenset())
    if parser.next_is(b"("):
        group = _events(parser, source)
    elif parser.word() != "NONE":
        raise SyntaxProblem("Expected events or NONE")
    parser.expect(b")")
    return group


def _events(parser: Parser, source: Source) -> Group:
    items: tuple[FetchItem, ...] = ()
    unknown = False

    def event() -> Event | None:
        nonlocal items, unknown
        name = parser.word()
        found = _EVENTS.get(name)
        unknown = unknown or found is None
        if found is Event.NEW and parser.next_is(b" ("):
            parser.space()
            items = parse_fetch_list(parser)
        return found

    events = frozenset(found for found in parser.listed(event, empty=False) if found is not None)
    if unknown:
        raise UnknownEvent
    # RFC 5465 §5: numbers and flags mean nothing to who does not know which messages there are
    if (Event.NEW in events) != (Event.EXPUNGE in events) or (
        Event.FLAGS in events and Event.NEW not in events
    ):
        raise SyntaxProblem("MessageNew and MessageExpunge go together, and FlagChange with both")
    if source.among in _SELECTED and events - _OF_MESSAGES:
        raise SyntaxProblem("The selected mailbox has messages alone to tell of")
    if items and source.among not in _SELECTED:
        raise SyntaxProblem("Only of the selected mailbox can messages be fetched")
    return Group(source, events, items)
