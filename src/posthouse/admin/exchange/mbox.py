"""mbox: messages one after the other in a file, each begun by a line `From sender date` (RFC 4155).

Four dialects differ in how a line of the body that begins with `From ` is told from such a line:

    mboxrd     `>From ` stands for it, and one more `>` for what begins with `>`s before that
    mboxo      `>From ` stands for it, and for itself
    mboxcl     as mboxo, and Content-Length says where the body ends
    mboxcl2    Content-Length alone

Flags are in Status and X-Status, keywords in X-Keywords, UIDs in X-UID and X-IMAPbase or X-IMAP, as
c-client and Dovecot write them; these fields do not become part of the message. The date of the `From `
line is the internal date, taken as UTC. A message without X-UID is known again by what it says.

A line that only looks like the beginning of a message is one where it has the date of one, or an empty line
before it: not all programs quote all of them. A file that ends within its last message is told of, and what
there is of the message is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from posthouse.admin.exchange.folders import (
    CHUNK,
    WINDOW,
    Crlf,
    Folder,
    Item,
    NoSuchForm,
    SourceMissing,
    bits_of,
)
from posthouse.mail.dates import parse_date
from posthouse.store.flags import Flag

DIALECTS: Final = ("mboxrd", "mboxo", "mboxcl", "mboxcl2")
LINE: Final = 64 * 1024
"""Octets of a line that are looked at together; longer ones are passed on in pieces."""
HEAD_LIMIT: Final = 1024 * 1024

_FROM = re.compile(rb"From \S*.*\d{4}\s*$")
_DATED = re.compile(
    rb"From .{0,500}\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s+"
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+\d\d?\s+\d\d?:\d\d(?::\d\d)?\s.{0,40}\d{4}"
)
"""With a date as RFC 4155 has it, of asctime; a time zone may be anywhere behind it."""
_QUOTED = {
    "mboxrd": re.compile(rb">+From "),
    "mboxo": re.compile(rb">From "),
    "mboxcl": re.compile(rb">From "),
}
_OURS = re.compile(rb"(?:x-)?status|x-keywords|x-uid|x-imap|x-imapbase|content-length", re.I)
_STATUS = {b"R": Flag.SEEN, b"A": Flag.ANSWERED, b"F": Flag.FLAGGED, b"D": Flag.DELETED, b"T": Flag.DRAFT}


class _Message(NamedTuple):
    """Where a message lies in the file."""

    head: int
    body: int
    end: int
    drop: tuple[bytes, ...]
    """Lines of the head that are not the message's."""
    cut: str
    """Where the file ends before the message does; empty: it does not."""


class MboxSource:
    """One file, which is INBOX or what it is called, or a directory of them. See `folders.Source`."""

    def __init__(self, path: Path, dialect: str = "mboxrd", name: str = "") -> None:
        """Raises SourceMissing, PermissionError."""
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise SourceMissing(f"there is no {path}") from None
        self._path = path
        self._name = name
        self._dialect = dialect

    async def folders(self) -> list[Folder]:
        if self._path.is_file():
            return [self._folder(self._name or "INBOX", self._path)]
        found = []
        for path in sorted(self._path.rglob("*")):
            levels = path.relative_to(self._path).parts
            if path.is_file() and not any(level.startswith(".") for level in levels) and _is_mbox(path):
                found.append(self._folder("/".join([*levels[:-1], path.name.removesuffix(".mbox")]), path))
        if not found:
            raise SourceMissing(f"there is no mbox file in {self._path}")
        return found

    def _folder(self, name: str, path: Path) -> Folder:
        if not _is_mbox(path):
            raise NoSuchForm(f"{path} is no mbox: it does not begin with `From `")
        with path.open("rb") as file:
            base = next((_base(message, file) for message in _messages(file, self._dialect)), None)
        uidvalidity, last = base or (0, 0)
        if name.upper() == "INBOX":
            name = "INBOX"
        return Folder(name, path, None, True, uidvalidity, last + 1 if uidvalidity else 0)

    async def windows(self, folder: Folder) -> AsyncIterator[list[Item]]:
        seen: Counter[str] = Counter()
        window: list[Item] = []
        with folder.place.open("rb") as file:
            for message in _messages(file, self._dialect):
                after = file.tell()
                window.append(self._item(folder, file, message, seen))
                file.seek(after)
                if len(window) == WINDOW:
                    yield window
                    window = []
        yield window

    def _item(self, folder: Folder, file: BinaryIO, message: _Message, seen: Counter[str]) -> Item:
        file.seek(message.head)
        line = file.readline(LINE)
        date = parse_date(_date_of(line))
        fields = _fields(message.drop)
        status = fields.get(b"status", b"") + fields.get(b"x-status", b"")
        flags = bits_of(flag for letter, flag in _STATUS.items() if letter in status)
        words = fields.get(b"x-keywords", b"").decode("utf-8", "replace").split()
        uid = fields.get(b"x-uid", b"").strip()
        number = int(uid) if folder.uidvalidity and uid.isdigit() and len(uid) < 11 else 0
        if number:
            identity = ("mbox", folder.name, str(folder.uidvalidity), str(number))
        else:
            digest = hashlib.blake2b(digest_size=16)
            for piece in self._pieces(file, message):
                digest.update(piece)
            hash = digest.hexdigest()
            seen[hash] += 1
            identity = ("mbox", folder.name, hash, str(seen[hash]))
        warning = f"{folder.place}: the last message, at octet {message.head}, is cut {message.cut}"
        size = message.end - message.head
        return Item(
            identity, message, number, flags, tuple(words), date, size, warning if message.cut else ""
        )

    async def contents(self, folder: Folder, items: Sequence[Item]) -> AsyncIterator[bytes | Item]:
        with folder.place.open("rb") as file:
            for item in items:
                crlf = Crlf()
                for piece in self._pieces(file, item.place):
                    yield crlf.feed(piece)
                yield item

    def _pieces(self, file: BinaryIO, message: _Message) -> Iterator[bytes]:
        """The message without what mbox has added to it."""
        file.seek(message.head)
        file.readline(LINE)
        drop = set(message.drop)
        folded = False
        while file.tell() < message.body:
            line = file.readline(HEAD_LIMIT)
            folded = line in drop or (folded and line[:1] in b" \t")
            if not folded:
                yield line
        quoted = _QUOTED.get(self._dialect)
        left = message.end - message.body
        gathered: list[bytes] = []
        size = 0
        while left > 0:
            line = file.readline(min(LINE, left))
            if not line:
                break
            left -= len(line)
            gathered.append(line[1:] if quoted is not None and quoted.match(line) else line)
            size += len(line)
            if size > CHUNK:
                yield b"".join(gathered)
                gathered, size = [], 0
        yield b"".join(gathered)

    async def close(self) -> None:
        """Nothing is open."""


def _is_mbox(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(5) in (b"From ", b"")


def _date_of(line: bytes) -> str:
    """What stands behind the sender of a `From ` line."""
    return line[5:].partition(b" ")[2].decode("ascii", "replace").strip()


def _messages(file: BinaryIO, dialect: str) -> Iterator[_Message]:
    """Every message of the file. The reader may move in it, and must come back before it asks for more."""
    file.seek(0)
    start = 0
    line = file.readline(LINE)
    while line:
        if not _FROM.match(line):
            line = file.readline(LINE)  # what stands before the first message is nothing
            start = file.tell() - len(line)
            continue
        body, drop, whole = _read_head(file)
        size = os.fstat(file.fileno()).st_size
        cut = "" if whole else "in its header"
        end = None
        if dialect.startswith("mboxcl"):
            length = _content_length(drop)
            end = None if length is None else _end_by_length(file, body, body + length, size)
            if end is None and length is not None and body + length > size:
                cut = cut or f"{body + length - size} octets before its end"
        if end is None:
            end = _end_by_line(file)
        if not cut and file.tell() == size and not _ends_with_a_line(file, size):
            cut = "in its last line"
        following = file.tell()
        yield _Message(start, body, end, drop, cut if following == size else "")
        file.seek(following)
        start = following
        line = file.readline(LINE)


def _read_head(file: BinaryIO) -> tuple[int, tuple[bytes, ...], bool]:
    """Where the body begins, the lines that mbox has added to the head, and whether the head has an end."""
    drop: list[bytes] = []
    read = 0
    while (line := file.readline(HEAD_LIMIT)) not in (b"\n", b"\r\n", b""):
        read += len(line)
        if _OURS.fullmatch(line.partition(b":")[0].strip()):
            drop.append(line)
        if read > HEAD_LIMIT:
            break
    return file.tell(), tuple(drop), line != b""


def _content_length(drop: tuple[bytes, ...]) -> int | None:
    length = _fields(drop).get(b"content-length", b"").strip()
    return int(length) if length.isdigit() and len(length) <= 12 else None


def _end_by_length(file: BinaryIO, body: int, end: int, size: int) -> int | None:
    """Where Content-Length says that the body ends, if a message or the end of the file follows there."""
    file.seek(end)
    line = file.readline(LINE)
    if line in (b"\n", b"\r\n"):
        follows = file.tell()
        line = file.readline(LINE)
    else:
        follows = end
    if end > size or (line and not _FROM.match(line)):
        file.seek(body)
        return None
    file.seek(follows)
    return end


def _ends_with_a_line(file: BinaryIO, size: int) -> bool:
    file.seek(size - 1)
    return file.read(1) == b"\n"


def _end_by_line(file: BinaryIO) -> int:
    """The end of the body: before the empty line before the next `From ` line, or the end of the file."""
    at = file.tell()
    whole = True
    empty = 0
    while line := file.readline(LINE):
        if whole and (_DATED.match(line) or (empty and _FROM.match(line))):
            file.seek(at)
            return at - empty
        whole = line.endswith(b"\n")
        empty = len(line) if line in (b"\n", b"\r\n") else 0
        at += len(line)
    return at - empty


def _fields(lines: Sequence[bytes]) -> dict[bytes, bytes]:
    return {name.strip().lower(): value for name, _, value in (line.partition(b":") for line in lines)}


def _base(message: _Message, file: BinaryIO) -> tuple[int, int] | None:
    """UIDVALIDITY and the last UID, which the first message tells."""
    fields = _fields(message.drop)
    numbers = (fields.get(b"x-imapbase") or fields.get(b"x-imap") or b"").split()[:2]
    if len(numbers) == 2 and all(number.isdigit() and len(number) < 11 for number in numbers):
        return int(numbers[0]), int(numbers[1])
    return None


class MboxTarget:
    """Writes each folder as a file `NAME.mbox` in a new directory, in mboxrd."""

    def __init__(self, top: Path) -> None:
        """Raises FileExistsError where something is there."""
        if top.exists() and any(top.iterdir()):
            raise FileExistsError(f"{top} is not empty")
        top.mkdir(parents=True, exist_ok=True)
        self._top = top
        self._file: BinaryIO | None = None

    def begin(self, folder: Folder) -> None:
        path = self._top / (folder.name + ".mbox")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._folder = folder
        self._first = True

    def add(self, item: Item, data: bytes) -> None:
        assert self._file is not None
        end = _end_of_head(data)
        head = data[:end] if not end or data[:end].endswith(b"\n") else data[:end] + b"\n"
        self._file.write(b"From MAILER-DAEMON " + _asctime(item.date or 0.0) + b"\n" + head)
        newline = b"\r\n" if head.endswith(b"\r\n") else b"\n"
        self._file.writelines(line + newline for line in self._added(item))
        body = data[end:]
        self._file.write(re.sub(rb"^(>*From )", rb">\1", body, flags=re.M))
        self._file.write(b"\n" if body.endswith(b"\n") else b"\n\n")

    def _added(self, item: Item) -> Iterator[bytes]:
        if self._first:
            yield f"X-IMAPbase: {self._folder.uidvalidity} {max(0, self._folder.uidnext - 1)}".encode()
            self._first = False
        yield b"Status: " + (b"RO" if item.flags & Flag.SEEN else b"O")
        letters = b"".join(letter for letter, flag in _STATUS.items() if letter != b"R" and item.flags & flag)
        if letters:
            yield b"X-Status: " + letters
        if item.keywords:
            yield b"X-Keywords: " + " ".join(item.keywords).encode()
        yield b"X-UID: %d" % item.uid

    def end(self) -> None:
        assert self._file is not None
        self._file.close()

    def close(self) -> None:
        """Each file is closed already."""


def _end_of_head(data: bytes) -> int:
    """Where the empty line after the head begins."""
    match = re.search(rb"(?:\A|\n)(\r?\n)", data)
    return match.start(1) if match else len(data)


def _asctime(moment: float) -> bytes:

    return time.asctime(time.gmtime(moment)).encode()
