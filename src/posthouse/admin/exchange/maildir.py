"""Maildir and Maildir++, as Dovecot and Courier keep it.

    Maildir/{cur,new,tmp}              INBOX
    Maildir/.Sent.2024/{cur,new,tmp}   Sent/2024; names in modified UTF-7
    cur/1700000000.M1P2.host:2,FS      flags behind `:2,`: D F P R S T, and a to z for keywords
    dovecot-uidlist                    UIDVALIDITY and UIDs (version 3, and 1)
    dovecot-keywords                   which letter is which keyword
    subscriptions                      of Dovecot; courierimapsubscribed of Courier

The internal date is the file's mtime. A file is known again by its name up to the colon, which no other
message ever has. Nothing is changed in a source, new mail stays in new.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from posthouse.admin.exchange.folders import (
    CHUNK,
    MAILDIR_FLAGS,
    WINDOW,
    Crlf,
    Folder,
    Item,
    NoSuchForm,
    SourceMissing,
    bits_of,
)
from posthouse.protocol.imap import utf7

PASSED = "$Forwarded"
_UIDLIST_HEAD = re.compile(r"(?:3 .*?V(\d+) N(\d+)|1 (\d+) (\d+))")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _File(NamedTuple):
    base: str
    path: str
    info: str
    uid: int


def base_of(name: str) -> str:
    """A file's name without its flags."""
    return name.partition(":")[0]


class MaildirSource:
    """See `folders.Source`."""

    def __init__(self, top: Path) -> None:
        """Raises SourceMissing, NoSuchForm, PermissionError."""
        try:
            top.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise SourceMissing(f"there is no {top}") from None
        if not (top / "cur").is_dir():
            raise NoSuchForm(f"{top} is no Maildir: it has no cur/")
        self._top = top

    async def folders(self) -> list[Folder]:
        return await asyncio.to_thread(self._folders)

    def _folders(self) -> list[Folder]:
        subscribed = _subscriptions(self._top)
        found = [self._folder("INBOX", self._top, True)]
        for path in sorted(self._top.iterdir()):
            if path.name.startswith(".") and (path / "cur").is_dir():
                name = "/".join(_level(level) for level in path.name[1:].split("."))
                found.append(self._folder(name, path, subscribed is None or name in subscribed))
        return found

    def _folder(self, name: str, path: Path, subscribed: bool) -> Folder:
        uidvalidity, uidnext, _ = read_uidlist(path)
        messages = sum(1 for _ in _names(path))
        return Folder(name, path, None, subscribed, uidvalidity, uidnext, messages)

    async def windows(self, folder: Folder) -> AsyncIterator[list[Item]]:
        path: Path = folder.place
        files = await asyncio.to_thread(_files, path)
        words = _keywords(path)
        for start in range(0, len(files), WINDOW):
            items = [_item(file, words) for file in files[start : start + WINDOW]]
            yield await asyncio.to_thread(_dated, folder, items)

    async def contents(self, folder: Folder, items: Sequence[Item]) -> AsyncIterator[bytes | Item]:
        for item in items:
            with contextlib.suppress(FileNotFoundError), _found(folder.place, item).open("rb") as file:
                crlf = Crlf()
                while piece := file.read(CHUNK):
                    yield crlf.feed(piece)
                yield item

    async def close(self) -> None:
        """Nothing is open."""


def _level(name: str) -> str:
    """One level of a folder's name; what is not modified UTF-7 is taken for UTF-8 (Dovecot can do that)."""
    with contextlib.suppress(ValueError):
        name = utf7.decode(name.encode("utf-8", "surrogateescape"))
    return name.replace("/", "_")


def _names(path: Path) -> Iterator[tuple[str, str]]:
    for sub in ("cur", "new"):
        with contextlib.suppress(FileNotFoundError), os.scandir(path / sub) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield sub, entry.name


def _files(path: Path) -> list[_File]:
    """By UID, those without one last, in the order of their names."""
    _, _, uids = read_uidlist(path)
    found = []
    for sub, name in _names(path):
        base, _, info = name.partition(":2,")
        base = base_of(base)
        found.append(_File(base, f"{sub}/{name}", info, uids.get(base, 0)))
    return sorted(found, key=lambda file: (file.uid == 0, file.uid, file.base))


def _item(file: _File, words: Mapping[str, str]) -> Item:
    flags = bits_of(MAILDIR_FLAGS[letter] for letter in file.info if letter in MAILDIR_FLAGS)
    keywords = {words[letter] for letter in file.info if letter in words}
    if "P" in file.info:
        keywords.add(PASSED)
    return Item(("maildir", file.base), file, file.uid, flags, tuple(sorted(keywords)))


def _found(folder: Path, item: Item) -> Path:
    """Where the file is now: whoever reads the mail renames it. Raises FileNotFoundError."""
    path: Path = folder / item.place.path
    if path.exists():
        return path
    for sub, name in _names(folder):
        if base_of(name) == item.place.base:
            return folder / sub / name
    raise FileNotFoundError(path)


def _dated(folder: Folder, items: Sequence[Item]) -> list[Item]:
    """The items with their internal dates and sizes, without those whose file has vanished."""
    found = []
    for item in items:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(_found(folder.place, item))
            found.append(item._replace(date=status.st_mtime, size=status.st_size))
    return found


def read_uidlist(path: Path) -> tuple[int, int, dict[str, int]]:
    """UIDVALIDITY, the next UID, and the UID of each file; zeros where there is no such list."""
    uids: dict[str, int] = {}
    try:
        text = (path / "dovecot-uidlist").read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return 0, 0, uids
    head, _, rest = text.partition("\n")
    match = _UIDLIST_HEAD.match(head)
    if match is None:
        return 0, 0, uids
    for line in rest.splitlines():
        number, _, what = line.partition(" ")
        name = what.partition(":")[2] if match[1] else what
        if number.isdigit() and name:
            uids[base_of(name)] = int(number)
    return int(match[1] or match[3]), int(match[2] or match[4]), uids


def _keywords(path: Path) -> dict[str, str]:
    words = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (path / "dovecot-keywords").read_text("utf-8", "replace").splitlines():
            number, _, word = line.partition(" ")
            if number.isdigit() and int(number) < len(_LETTERS) and word:
                words[_LETTERS[int(number)]] = word
    return words


def _subscriptions(top: Path) -> set[str] | None:
    """Names with '/' between levels; None where nobody wrote any down."""
    for file in ("subscriptions", "courierimapsubscribed"):
        try:
            lines = (top / file).read_text("utf-8", "surrogateescape").splitlines()
        except FileNotFoundError:
            continue
        tabs = lines[:1] == ["V\t2"]
        names = (line.removeprefix("INBOX.") for line in lines[2 if tabs else 0 :] if line)
        return {"/".join(map(_level, name.split("\t" if tabs else "."))) for name in names}
    return None


class MaildirTarget:
    """Writes folders as a new Maildir++; what Dovecot would want to know of UIDs and keywords with it."""

    def __init__(self, top: Path) -> None:
        """Raises FileExistsError where something is there."""
        if top.exists() and any(top.iterdir()):
            raise FileExistsError(f"{top} is not empty")
        self._top = top
        self._subscribed: list[str] = []
        self._numbers = itertools.count(1)
        self._host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
        for sub in ("cur", "new", "tmp"):
            (top / sub).mkdir(parents=True, exist_ok=True)

    def begin(self, folder: Folder) -> None:
        levels = folder.name.split("/")
        self._path = self._top
        if levels != ["INBOX"]:
            encoded = [utf7.encode(level.replace(".", "_")).decode() for level in levels]
            self._path = self._top / ("." + ".".join(encoded))
            for sub in ("cur", "new", "tmp"):
                (self._path / sub).mkdir(parents=True, exist_ok=True)
            if folder.subscribed:
                self._subscribed.append("\t".join(encoded))
        self._words: dict[str, int] = {}
        self._uids: list[str] = []
        self._folder = folder

    def add(self, item: Item, data: bytes) -> None:
        info = [letter for letter, flag in MAILDIR_FLAGS.items() if item.flags & flag]
        for word in item.keywords:
            if word == PASSED:
                info.append("P")
            elif (number := self._words.setdefault(word, len(self._words))) < len(_LETTERS):
                info.append(_LETTERS[number])
        base = f"{int(item.date or 0)}.M{next(self._numbers)}P{os.getpid()}.{self._host},S={len(data)}"
        written = self._path / "tmp" / base
        written.write_bytes(data)
        moment = time.time() if item.date is None else item.date
        os.utime(written, (moment, moment))
        written.rename(self._path / "cur" / f"{base}:2,{''.join(sorted(info))}")
        self._uids.append(f"{item.uid} :{base}")

    def end(self) -> None:
        folder = self._folder
        lines = [f"3 V{folder.uidvalidity} N{folder.uidnext}", *self._uids]
        (self._path / "dovecot-uidlist").write_text("\n".join(lines) + "\n")
        words = [f"{number} {word}" for word, number in self._words.items() if number < len(_LETTERS)]
        if words:
            (self._path / "dovecot-keywords").write_text("\n".join(words) + "\n")

    def close(self) -> None:
        (self._top / "subscriptions").write_text("\n".join(["V\t2", "", *self._subscribed]) + "\n")
