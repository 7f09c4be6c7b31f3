"""A user's mail program, as small as it can be: waits by IMAP IDLE until a letter is there, and reads it."""

from __future__ import annotations

import asyncio
import re
import ssl

_EXISTS = re.compile(rb"\* (\d+) EXISTS\r\n", re.I)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_LONGEST_LINE = 1_000_000


class ImapRefused(Exception):
    """The server said no; the text is its answer."""


class MailReader:
    """One IMAP session over TLS. `server_name` is what the certificate must say."""

    def __init__(self, endpoint: tuple[str, int], context: ssl.SSLContext, server_name: str) -> None:
        self._endpoint = endpoint
        self._context = context
        self._server_name = server_name
        self._tags = 0
        self._messages = 0

    async def __aenter__(self) -> MailReader:
        self._reader, self._writer = await asyncio.open_connection(
            *self._endpoint, ssl=self._context, server_hostname=self._server_name, limit=_LONGEST_LINE
        )
        await self._line()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def log_in(self, login: str, password: str) -> None:
        """Raises ImapRefused."""
        await self._command(f"LOGIN {_quoted(login)} {_quoted(password)}")

    async def wait_for_mail(self, mailbox: str = "INBOX") -> bytes:
        """The first message of a mailbox, as soon as there is one."""
        await self._command(f"SELECT {_quoted(mailbox)}")
        if not self._has_mail():
            tag = self._send("IDLE")
            while not self._has_mail():
                await self._line()
            self._writer.write(b"DONE\r\n")
            await self._completed(tag)
        return await self._command("FETCH 1 BODY.PEEK[]")

    def _has_mail(self) -> bool:
        return self._messages > 0

    async def _command(self, text: str) -> bytes:
        """Gives a command; the literal in the responses, if there was one."""
        return await self._completed(self._send(text))

    def _send(self, text: str) -> str:
        self._tags += 1
        self._writer.write(f"t{self._tags} {text}\r\n".encode())
        return f"t{self._tags}"

    async def _completed(self, tag: str) -> bytes:
        literal = b""
        while True:
            line = await self._line()
            if line.startswith(tag.encode() + b" "):
                if not line.startswith(f"{tag} OK".encode()):
                    raise ImapRefused(line.decode("utf-8", "replace").strip())
                return literal
            if announced := _LITERAL.search(line):
                literal = await self._reader.readexactly(int(announced[1]))

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line:
            raise ImapRefused("the server closed the connection")
        if exists := _EXISTS.match(line):
            self._messages = int(exists[1])
        return line


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
