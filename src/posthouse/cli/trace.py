"""What `posthouse send --trace` shows: each thing as it happens, when, and what it means."""

from __future__ import annotations

import os
import sys
import time

from posthouse.cli.plainly import content_size, heard, offered, printable, said
from posthouse.protocol.smtp.client import Line

_MARGIN = " " * 16
_SHOWN_LINES = 40
"""Lines of the letter that are shown."""


class Trace:
    """Prints when `on`, with the milliseconds since it was made."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.letter = b""
        """Whose octets `[n octets]` in the dialogue stands for."""
        self._began = time.monotonic()
        self._explained = ""
        self._offers: set[str] = set()
        """Extensions that have been explained."""
        self._dim, self._plain = ("\x1b[2m", "\x1b[0m") if _wants_colour() else ("", "")

    def note(self, kind: str, text: str, explanation: str = "") -> None:
        """Something that is no line of the dialogue: `DNS`, `TCP`, `TLS`."""
        if self.on:
            self._print(f"{kind}: {text}", explanation)
            self._explained = ""

    def line(self, line: Line) -> None:
        """A line of the dialogue."""
        if not self.on:
            return
        if line.direction == "S":
            self._print(f"S: {line.text}", self._explanation(line.text))
            return
        self._explained = ""
        self._print(f"C: {line.text}", said(line.text))
        if content_size(line.text) is not None:
            self._show_letter()

    def _explanation(self, text: str) -> str:
        """What a line of the server means, unless that has just been said; of an extension, only once."""
        explanation = heard(text)
        if explanation == self._explained or explanation in self._offers:
            return ""
        self._explained = explanation
        if offered(text):
            self._offers.add(explanation)
        return explanation

    def _print(self, text: str, explanation: str) -> None:
        elapsed = (time.monotonic() - self._began) * 1000
        print(f"{elapsed:8.0f} ms  {printable(text)}", flush=not explanation)
        if explanation:
            print(f"{_MARGIN}{self._dim}{printable(explanation)}{self._plain}", flush=True)

    def _show_letter(self) -> None:
        lines = self.letter.removesuffix(b"\r\n").split(b"\r\n", _SHOWN_LINES)
        rest = lines.pop() if len(lines) > _SHOWN_LINES else b""
        for line in lines:
            print(f"{_MARGIN}| {printable(line.decode('utf-8', 'replace'))}".rstrip())
        if rest:
            print(f"{_MARGIN}| … and {len(rest):,} octets more")
        sys.stdout.flush()


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
