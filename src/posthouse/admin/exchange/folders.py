"""What a mail store elsewhere looks like from here, whatever it is made of.

A source tells its folders, then the messages of each in windows of bounded size, then the content of those
that are wanted, in pieces. Line endings become CRLF on the way in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from posthouse.store.flags import Flag
from posthouse.store.mailboxes import SpecialUse

WINDOW = 200
"""Messages in one transaction."""
CHUNK = 256 * 1024


class SourceProblem(Exception):
    """The source cannot be read; the text says what and why."""


class SourceMissing(SourceProblem):
    """There is nothing where the mail should be."""


class NoSuchForm(SourceProblem):
    """What is there is not of the form that it should have."""


class LoginRefused(SourceProblem):
    """The other server lets nobody in with this name and password."""


class Folder(NamedTuple):
    """A folder that holds messages."""

    name: str
    """With '/' between its levels."""
    place: Any
    """What the source finds it by."""
    special: SpecialUse | None = None
    subscribed: bool = True
    uidvalidity: int = 0
    """0: it has none."""
    uidnext: int = 0
    messages: int = 0
    """About how many, for the progress bar."""


class Item(NamedTuple):
    """A message in a folder elsewhere."""

    identity: tuple[str, ...]
    """What it will still be at the next run, and no other message of this account is."""
    place: Any
    uid: int = 0
    flags: int = 0
    keywords: tuple[str, ...] = ()
    date: float | None = None
    """Internal date; None: now."""
    size: int = 0
    """Octets, about."""
    warning: str = ""
    """What is wrong with it there, though it can be brought."""


class Source(Protocol):
    """Mail of one account elsewhere."""

    async def folders(self) -> list[Folder]: ...

    def windows(self, folder: Folder) -> AsyncIterator[list[Item]]:
        """The messages of a folder by ascending UID, those without one last; `WINDOW` at a time."""

    def contents(self, folder: Folder, items: Sequence[Item]) -> AsyncIterator[bytes | Item]:
        """Message after message: its octets in pieces, then which one it was.

        One that has vanished meanwhile is left out.
        """

    async def close(self) -> None: ...


MAILDIR_FLAGS = {
    "D": Flag.DRAFT,
    "F": Flag.FLAGGED,
    "R": Flag.ANSWERED,
    "S": Flag.SEEN,
    "T": Flag.DELETED,
}

IMAP_FLAGS = {
    "\\seen": Flag.SEEN,
    "\\answered": Flag.ANSWERED,
    "\\flagged": Flag.FLAGGED,
    "\\deleted": Flag.DELETED,
    "\\draft": Flag.DRAFT,
}


def bits_of(flags: Iterable[Flag]) -> int:
    bits = 0
    for flag in flags:
        bits |= flag
    return int(bits)


class Crlf:
    """Line endings as mail has them: where the first line ends with LF alone, each LF gets its CR.

    What begins with CRLF is taken as it is, so that what was written whole comes back whole.
    """

    def __init__(self) -> None:
        self._convert: bool | None = None
        self._last = b""

    def feed(self, octets: bytes) -> bytes:
        if self._convert is None:
            end = octets.find(b"\n")
            if end >= 0:
                before = octets[end - 1 : end] if end else self._last
                self._convert = before != b"\r"
        if not self._convert:
            self._last = octets[-1:] or self._last
            return octets
        starts_bare = octets[:1] == b"\n" and self._last == b"\r"
        self._last = octets[-1:] or self._last
        converted = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        # The CR of this line ending was at the end of the piece before.
        return converted[1:] if starts_bare else converted


def lf_form(data: bytes) -> bytes:
    """How a message is written to a file of lines that end with LF; `Crlf` makes it what it was.

    One with a CR or LF by itself is written as it is.
    """
    bare = data.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare:
        return data
    return data.replace(b"\r\n", b"\n")
