"""Where the lines of `posthouse talk` come from: a terminal, or anything else on standard input."""

from __future__ import annotations

import getpass
import os
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from posthouse.cli.conversation import Conversation

_PIECE = 64 * 1024
_PROMPT = "C: "


class Lines:
    """Lines of a file or pipe."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was changed."""

    def next(self, conversation: Conversation) -> bytes | None:
        """The next line without its end; None at the end, or when the server has hung up meanwhile."""
        line = self._stream.readline(_PIECE)
        conversation.overhear()
        if not line or conversation.over:
            return None
        line = line.removesuffix(b"\n")
        return line.removesuffix(b"\r") if conversation.crlf else line


class Keyboard:
    """A terminal: lines are edited by readline, secrets are not shown and not remembered.

    Until the first key is pressed, what the server says unasked (421, usually) appears at once.
    """

    def __init__(self) -> None:
        import readline

        self._readline = readline
        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)

    def __enter__(self) -> Keyboard:
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def next(self, conversation: Conversation) -> bytes | None:
        """The next line; None at the end, or when the server has hung up meanwhile."""
        try:
            if conversation.secret_next:
                return os.fsencode(self._ask_secret())
            if not self._wait_for_key(conversation):
                return None
            line = input(_PROMPT)
        except EOFError:
            print()
            return None
        octets = os.fsencode(line)
        if conversation.shown(octets) != line:  # it holds a secret
            self._readline.remove_history_item(self._readline.get_current_history_length() - 1)
        return octets

    def _ask_secret(self) -> str:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        try:
            return getpass.getpass("C (not shown): ")
        finally:
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)

    def _wait_for_key(self, conversation: Conversation) -> bool:
        """Show what the server says meanwhile. False when it has hung up."""
        print(_PROMPT, end="", flush=True)
        while True:
            readable, _, _ = select.select([self._descriptor, conversation], [], [])
            if self._descriptor in readable:
                print("\r", end="", flush=True)
                return True
            print("\r", end="")
            conversation.overhear()
            if conversation.over:
                return False
            print(_PROMPT, end="", flush=True)
