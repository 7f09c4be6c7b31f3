"""Mail of another server, read over IMAP: one connection, a few commands ahead of their answers.

Nothing is changed there: mailboxes are opened by EXAMINE, flags stay. Messages are looked at in ranges of
UIDs, so that neither side ever holds a list of all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, NamedTuple

from posthouse.admin.exchange.folders import (
    IMAP_FLAGS,
    WINDOW,
    Folder,
    Item,
    LoginRefused,
    SourceProblem,
    bits_of,
)
from posthouse.mail.dates import parse_imap_datetime
from posthouse.protocol.imap.client import CannotSay, ImapClient, decoded_name
from posthouse.protocol.imap.responses import Data, ImapProtocolError, Octets, Response, Status, Token
from posthouse.store.mailboxes import SpecialUse

SILENCE_SECONDS: Final = 120.0
READ: Final = 256 * 1024
AHEAD: Final = 4
"""Commands whose answers are awaited at the same time."""
TOGETHER: Final = 25
"""Bodies asked for by one command."""
RANGE: Final = 1000
"""UIDs asked for by one command; there may be fewer messages."""

_SPECIAL = {special.value.lower(): special for special in SpecialUse}
_VIEWS = {"\\all", "\\flagged", "\\important"}
"""Mailboxes that show what lies in others (Gmail)."""


class Server(NamedTuple):
    """Where to go and how."""

    host: str
    port: int
    security: str = "tls"
    """tls | starttls | none"""
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class Login(NamedTuple):
    user: str
    password: str
    master: str = ""
    """Who logs in on the user's behalf."""


class ImapSource:
    """See `folders.Source`. Made by `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whom: str) -> None:
        self._reader = reader
        self._writer = writer
        self._whom = whom
        """UIDs of another user are others."""
        self._client = ImapClient()
        self._examined: Folder | None = None

    @classmethod
    async def connect(cls, server: Server, login: Login) -> ImapSource:
        """Connect and log in. Raises SourceProblem."""
        context = server.tls or ssl.create_default_context()
        name = server.server_name or server.host
        tls = {"ssl": context, "server_hostname": name} if server.security == "tls" else {}
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(
                    server.host,
                    server.port,
                    limit=READ,
                    **tls,  # type: ignore[arg-type]
                )
        except (OSError, TimeoutError) as error:
            raise SourceProblem(f"cannot connect to {server.host}:{server.port}: {error}") from error
        source = cls(reader, writer, login.user)
        try:
            await source._begin(context, name, login, starttls=server.security == "starttls")
        except BaseException:
            await source.close()
            raise
        return source

    async def _begin(self, context: ssl.SSLContext, name: str, login: Login, *, starttls: bool) -> None:
        greeting = await self._next()
        if not isinstance(greeting, Status) or greeting.status not in ("OK", "PREAUTH"):
            raise SourceProblem("the server does not greet")
        await self._learn()
        if starttls:
            if "STARTTLS" not in self._client.capabilities:
                raise SourceProblem("the server offers no STARTTLS")
            await self._answer(self._client.command(b"STARTTLS"))
            try:
                await self._writer.start_tls(context, server_hostname=name)
            except (OSError, ssl.SSLError) as error:
                raise SourceProblem(f"TLS does not come about: {error}") from error
            await self._learn()
        try:
            tag = self._client.login(*login)
        except CannotSay as error:
            raise SourceProblem(str(error)) from error
        await self._answer(tag, what=f"cannot log in as {login.user}", refusal=LoginRefused)
        await self._learn()

    async def _learn(self) -> None:
        """Ask again: before and after TLS and login the answers differ."""
        for data in await self._answer(self._client.command(b"CAPABILITY")):
            if data.name == "CAPABILITY":
                self._client.learn([_text(token) for token in data.tokens])

    # Source

    async def folders(self) -> list[Folder]:
        tags = self._client.list_mailboxes()
        listed = [data for tag in tags for data in await self._answer(tag)]
        subscribed = {
            _text(data.tokens[2]) for data in listed if data.name == "LSUB" and len(data.tokens) > 2
        }
        others = await self._of_others()
        found = []
        for data in listed:
            if data.name != "LIST" or len(data.tokens) < 3 or not isinstance(data.tokens[0], list):
                continue
            attributes = {_text(token).lower() for token in data.tokens[0]}
            separator, wire = data.tokens[1], data.tokens[2]
            if (
                not isinstance(wire, bytes)
                or wire.startswith(others)
                or attributes & {"\\noselect", "\\nonexistent", *_VIEWS}
            ):
                continue
            name = decoded_name(wire, separator if isinstance(separator, bytes) else None)
            special = next((_SPECIAL[word] for word in attributes if word in _SPECIAL), None)
            is_subscribed = "\\subscribed" in attributes or _text(wire) in subscribed
            folder = Folder("INBOX" if name.upper() == "INBOX" else name, wire, special, is_subscribed)
            found.append(await self._counted(folder))
        return _without_prefix(found)

    async def _of_others(self) -> tuple[bytes, ...]:
        """How the names of mailboxes begin that belong to others, whoever shares them (RFC 2342 §5)."""
        if "NAMESPACE" not in self._client.capabilities:
            return ()
        prefixes = []
        for data in await self._answer(self._client.command(b"NAMESPACE")):
            if data.name == "NAMESPACE":
                spaces = [space for kind in data.tokens[1:3] if isinstance(kind, list) for space in kind]
                prefixes += [space[0] for space in spaces if isinstance(space, list) and space]
        return tuple(prefix for prefix in prefixes if isinstance(prefix, bytes) and prefix)

    async def _counted(self, folder: Folder) -> Folder:
        for data in await self._answer(self._client.status(folder.place)):
            if data.name == "STATUS" and len(data.tokens) == 2 and isinstance(data.tokens[1], list):
                numbers = {name.upper(): _number(value) for name, value in _pairs(data.tokens[1])}
                return folder._replace(
                    uidvalidity=numbers.get("UIDVALIDITY", 0),
                    uidnext=numbers.get("UIDNEXT", 0),
                    messages=numbers.get("MESSAGES", 0),
                )
        raise SourceProblem(f"the server says nothing of {folder.name}")

    async def windows(self, folder: Folder) -> AsyncIterator[list[Item]]:
        await self._examine(folder)
        window: list[Item] = []
        for first in range(1, folder.uidnext, RANGE):
            last = min(first + RANGE, folder.uidnext) - 1
            await self._examine(folder)
            found = []
            for data in await self._answer(self._client.fetch_marks(first, last)):
                item = self._item(folder, data)
                if item is not None:
                    found.append(item)
            # A message may be told of twice, when its flags change meanwhile.
            latest = {item.uid: item for item in found}
            window += (latest[uid] for uid in sorted(latest))
            while len(window) >= WINDOW:
                yield window[:WINDOW]
                del window[:WINDOW]
        yield window

    def _item(self, folder: Folder, data: Data) -> Item | None:
        values = _attributes(data)
        flags = values.get("FLAGS")
        if "UID" not in values or not isinstance(flags, list) or "RFC822.SIZE" not in values:
            return None
        uid = _number(values["UID"])
        words = [_text(token) for token in flags]
        return Item(
            ("imap", self._whom, _text(folder.place), str(folder.uidvalidity), str(uid)),
            None,
            uid,
            bits_of(IMAP_FLAGS[word.lower()] for word in words if word.lower() in IMAP_FLAGS),
            tuple(sorted(word for word in words if not word.startswith("\\"))),
            parse_imap_datetime(_text(values.get("INTERNALDATE"))),
            _number(values["RFC822.SIZE"]),
        )

    async def contents(self, folder: Folder, items: Sequence[Item]) -> AsyncIterator[bytes | Item]:
        await self._examine(folder)
        waiting = {item.uid: item for item in items}
        groups = deque(list(waiting)[start : start + TOGETHER] for start in range(0, len(waiting), TOGETHER))
        tags: deque[str] = deque()
        while groups or tags:
            while groups and len(tags) < AHEAD:
                tags.append(self._client.fetch_bodies(groups.popleft()))
            response = await self._next()
            if isinstance(response, Octets):
                yield response.octets
            elif isinstance(response, Data):
                values = _attributes(response)
                if "BODY[]" not in values:
                    continue
                small = values["BODY[]"]
                if isinstance(small, bytes) and small:
                    yield small  # as a quoted string
                item = waiting.pop(_number(values.get("UID")), None)
                if item is None:
                    raise ImapProtocolError("the server sends a message that was not asked for")
                yield item
            elif response.tag == tags[0]:
                tags.popleft()
                if response.status != "OK":
                    raise SourceProblem(f"cannot fetch from {folder.name}: {response.text}")

    async def _examine(self, folder: Folder) -> None:
        if self._examined == folder:
            return
        await self._answer(self._client.examine(folder.place), what=f"cannot open {folder.name}")
        self._examined = folder

    async def close(self) -> None:
        with contextlib.suppress(OSError, SourceProblem, TimeoutError):
            self._client.command(b"LOGOUT")
            self._writer.write(self._client.take_output())
            self._writer.close()
            async with asyncio.timeout(5):
                await self._writer.wait_closed()

    # The wire

    async def _answer(
        self, tag: str, what: str = "the server refuses", refusal: type[SourceProblem] = SourceProblem
    ) -> list[Data]:
        """The untagged data up to the end of a command. Raises SourceProblem where it is not OK."""
        found = []
        while True:
            response = await self._next()
            if isinstance(response, Data):
                found.append(response)
            elif isinstance(response, Status) and response.tag == tag:
                if response.status != "OK":
                    raise refusal(f"{what}: {response.text or response.status}")
                return found
            elif isinstance(response, Status) and response.tag == "+":
                raise SourceProblem(f"{what}: the server asks for more")

    async def _next(self) -> Response:
        """The next response. Raises SourceProblem."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                out = self._client.take_output()
                if out:
                    self._writer.write(out)
                    await self._writer.drain()
                while (response := self._client.next_response()) is None:
                    octets = await self._reader.read(READ)
                    if not octets:
                        raise SourceProblem("the server has closed the connection")
                    self._client.receive(octets)
        except TimeoutError:
            raise SourceProblem("the server says nothing any more") from None
        except (OSError, ImapProtocolError) as error:
            raise SourceProblem(f"the connection broke: {error}") from error
        if isinstance(response, Status) and response.status == "BYE":
            raise SourceProblem(f"the server ends the session: {response.text}")
        return response


def _without_prefix(folders: list[Folder]) -> list[Folder]:
    """Where every folder stands below INBOX (Courier, Cyrus), that says nothing, and is left out."""
    below = "INBOX/"
    if not all(folder.name == "INBOX" or folder.name.startswith(below) for folder in folders):
        return folders
    return [folder._replace(name=folder.name.removeprefix(below)) for folder in folders]


def _attributes(data: Data) -> dict[str, Token]:
    """What a FETCH response tells, by name."""
    if data.name != "FETCH" or len(data.tokens) != 1 or not isinstance(data.tokens[0], list):
        return {}
    return {name.upper(): value for name, value in _pairs(data.tokens[0])}


def _pairs(tokens: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    for name, value in zip(tokens[::2], tokens[1::2], strict=False):
        yield _text(name), value


def _text(token: Token) -> str:
    return token.decode("utf-8", "replace") if isinstance(token, bytes) else ""


def _number(token: Token) -> int:
    """Raises SourceProblem where it is none."""
    text = _text(token)
    if not text.isdecimal() or len(text) > 12:
        raise SourceProblem(f"{text[:20]!r} is no number")
    return int(text)
