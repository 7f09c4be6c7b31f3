"""An IMAP core whose messages of an APPEND all come as literals, also those that it hands on whole."""

from __future__ import annotations

from collections import deque
from typing import Any

from posthouse.protocol.imap.server import AppendWhole, Event, Literal, Result, ServerSession


class Apart:
    """`core`, with AppendNext and Literal in the place of each message of an AppendWhole."""

    def __init__(self, core: ServerSession) -> None:
        self._core = core
        self._pieces: deque[Event] = deque()
        self._of_several = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def next_event(self) -> Event | None:
        if not self._pieces:
            event = self._core.next_event()
            if not isinstance(event, AppendWhole):
                return event
            for command, octets in event.messages:
                self._pieces += [command._replace(size=len(octets)), Literal(octets)]
            self._of_several = True
        return self._pieces.popleft()

    def answer(self, decision: Result | None) -> None:
        if not self._of_several:
            return self._core.answer(decision)
        if decision is not None or not self._pieces:
            self._pieces.clear()
            self._of_several = False
            self._core.answer(decision)
