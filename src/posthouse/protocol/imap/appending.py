"""What comes with APPEND and REPLACE: messages as literals, or put together of parts (RFC 3501 §6.3.11).

The text of such a command arrives in stretches, each ended by a literal that is streamed, the last by
the end of the command. `Appending.read` takes one stretch and says in events what it means:

    APPEND Drafts (\\Seen) {310}              Append, and the literal is the message
     (\\Draft) "17-Jul-1996 …" ~{42}          AppendNext, and the literal is another one (RFC 3502, RFC 3516)
     UTF8 (~{42} )                           the same; needs UTF8=ACCEPT (RFC 6855 §4)
     CATENATE (URL "…" TEXT {42} URL "…")    Append or AppendNext, then its parts in order (RFC 4469);
                                            a part may be UTF8 (~{42} ) too
"""

from __future__ import annotations

from enum import Enum, auto

from posthouse.protocol.imap.arguments import append_next
from posthouse.protocol.imap.commands import Append, AppendNext, CatenateText, CatenateUrl
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.events import Event, WholeMessage
from posthouse.protocol.imap.framing import Framer, LiteralHeader
from posthouse.protocol.imap.syntax import LiteralExpected, Parser, SyntaxProblem
from posthouse.protocol.imap.verbs import Head

MOST_PARTS = 500
"""Parts of one CATENATE."""

MOST_WHOLE = 64
"""Messages that are handed on together."""
SMALL = 64 * 1024
"""Octets up to which a message is handed on whole where it has come whole."""


_NOTHING_SAID = AppendNext((), None, 0)


class _Place(Enum):
    """What comes next."""

    COMMAND = auto()
    AFTER_MESSAGE = auto()
    AFTER_UTF8 = auto()
    AFTER_PART = auto()
    AFTER_UTF8_PART = auto()


class Appending:
    """Where in an APPEND or REPLACE its client is. `head`: of the command."""

    __slots__ = ("_before", "_enabled", "_head", "_next", "_parts", "_place")

    def __init__(self, head: Head, enabled: Enabled) -> None:
        self._head = head
        self._enabled = enabled
        self._place = _Place.COMMAND
        self._parts = 0
        self._before = b" "
        self._next = _NOTHING_SAID

    def read(self, octets: bytes, literal: LiteralHeader | None) -> list[Event] | None:
        """The events that a stretch means; the last is about `literal`, None at the end of the command.

        None: the literal is a string within the text, to be collected. Raises SyntaxProblem.
        """
        try:
            return self._events(octets, literal)
        except LiteralExpected:
            if literal is None:
                raise
            return None

    def whole(self, framer: Framer) -> list[WholeMessage]:
        """The messages that come next and have arrived already, taken from `framer`.

        What is not as simple as that, or wrong, is left to `read`.
        """
        messages: list[WholeMessage] = []
        if self._place is not _Place.AFTER_MESSAGE or self._head.verb.name != "APPEND":
            return messages
        while len(messages) < MOST_WHOLE and (literal := framer.ready(SMALL)) is not None:
            command = self._simple(literal.before)
            if command is None:
                break
            messages.append(WholeMessage(command, framer.take(literal)))
        return messages

    def _simple(self, before: bytes) -> AppendNext | None:
        """What stands before a message, where it is flags and a date and right; often the same again."""
        if before != self._before:
            parser = Parser(before, 0, self._enabled)
            try:
                command = append_next(parser)
            except SyntaxProblem:
                return None
            if not parser.at_end():
                return None
            self._before, self._next = before, command
        return self._next

    def _events(self, octets: bytes, literal: LiteralHeader | None) -> list[Event]:
        if self._place is _Place.COMMAND:
            parser = Parser(octets, self._head.position, self._enabled)
            command = self._head.verb.read(parser, self._head.uid)
            assert isinstance(command, Append)
            return self._message(command, parser, literal)
        parser = Parser(octets, 0, self._enabled)
        if self._place in (_Place.AFTER_UTF8, _Place.AFTER_UTF8_PART):
            parser.expect(b")")
        if self._place in (_Place.AFTER_PART, _Place.AFTER_UTF8_PART):
            return self._parts_from(parser, literal)
        return self._after_message(parser, literal)

    def _after_message(self, parser: Parser, literal: LiteralHeader | None) -> list[Event]:
        if parser.at_end() and literal is None:
            return []
        if self._head.verb.name != "APPEND":
            raise SyntaxProblem("One message replaces one")  # RFC 8508 §3.1
        return self._message(append_next(parser), parser, literal)

    def _message(
        self, command: Append | AppendNext, parser: Parser, literal: LiteralHeader | None
    ) -> list[Event]:
        """The message itself: `parser` stands before it."""
        if parser.at_end():
            if literal is None:
                raise SyntaxProblem(f"{self._head.verb.name} needs a message, as a literal")
            self._place = _Place.AFTER_MESSAGE
            return [command._replace(size=literal.size, binary=literal.binary)]
        form = parser.word()
        if form not in ("CATENATE", "UTF8"):
            raise SyntaxProblem("Expected a message, as a literal")
        parser.space()
        if form == "CATENATE":
            parser.expect(b"(")
            self._parts = 0
            return [command._replace(catenate=True), *self._parts_from(parser, literal)]
        utf8 = self._utf8_literal(parser, literal)
        self._place = _Place.AFTER_UTF8
        return [command._replace(size=utf8.size, binary=True)]

    def _utf8_literal(self, parser: Parser, literal: LiteralHeader | None) -> LiteralHeader:
        """What stands behind UTF8: `(` and a literal8 (RFC 6855 §4)."""
        if not self._enabled.utf8_accept:
            raise SyntaxProblem("Say ENABLE UTF8=ACCEPT first")
        parser.expect(b"(")
        if literal is None or not literal.binary or not parser.at_end():
            raise SyntaxProblem("Expected the message, as a literal8")
        return literal

    def _parts_from(self, parser: Parser, literal: LiteralHeader | None) -> list[Event]:
        """Parts up to one that is a literal, or to the end of the message and what stands behind it."""
        events: list[Event] = []
        parts = self._parts
        while not (parts and parser.skip(b")")):
            if parts:
                parser.space()
            parts += 1
            if parts > MOST_PARTS:
                raise SyntaxProblem("Too many parts")
            kind = parser.word()
            parser.space()
            if kind == "URL":
                if parser.at_end():
                    raise LiteralExpected
                events.append(CatenateUrl(parser.astring().decode("utf-8", "replace")))
            elif kind == "UTF8":  # RFC 6855 §4
                utf8 = self._utf8_literal(parser, literal)
                self._place, self._parts = _Place.AFTER_UTF8_PART, parts
                return [*events, CatenateText(utf8.size, binary=True)]
            elif kind != "TEXT" or literal is None or not parser.at_end():
                raise SyntaxProblem("Expected TEXT and a literal, or URL")
            else:
                self._place, self._parts = _Place.AFTER_PART, parts
                return [*events, CatenateText(literal.size, literal.binary)]
        return [*events, *self._after_message(parser, literal)]
