"""The IMAP client of the benchmarks: octets out, octets in, and as little as possible in between."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bench.peers import PASSWORD

_TIMEOUT = struct.pack("ll", 600, 0)
"""struct timeval."""
_PIECE = 1 << 20
_TAIL = 1024
_MESSAGES_AT_ONCE = 500


class Refused(RuntimeError):
    """A command did not end with OK."""


class Imap:
    """One connection. Answers are kept as they come; nobody looks into them while time is taken."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        # Not Python's own time-outs, which ask the kernel once more at each call.
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, limit, _TIMEOUT)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(_PIECE)
        self._number = 0
        self.until(b"\r\n")

    def __enter__(self) -> Imap:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def login(self, user: str) -> None:
        self.command(f'LOGIN {user} "{PASSWORD}"')

    def command(self, text: str | bytes, more: Iterable[bytes] = ()) -> bytes:
        """Send a command; what was answered, up to the tagged OK. `more`: what follows on its line."""
        self._number += 1
        tag = b"t%d" % self._number
        line = text.encode() if isinstance(text, str) else text
        self.socket.sendall(b"".join([tag, b" ", line, *more, b"\r\n"]))
        return self._answer(tag)

    def milliseconds(self, text: str | bytes, more: Iterable[bytes] = ()) -> float:
        """How long a command takes, until its last octet is here."""
        more = list(more)
        started = time.perf_counter()
        self.command(text, more)
        return (time.perf_counter() - started) * 1e3

    def _answer(self, tag: bytes) -> bytes:
        end = b"\r\n" + tag + b" "
        pieces: list[bytes] = [b"\r\n"]
        tail = b"\r\n"
        while True:
            count = self.socket.recv_into(self._buffer)
            if not count:
                raise EOFError(f"the server hung up: {tail[-200:]!r}")
            piece = bytes(memoryview(self._buffer)[:count])
            pieces.append(piece)
            tail = (tail + piece)[-_TAIL:] if count < _TAIL else piece[-_TAIL:]
            if tail.endswith(b"\r\n") and (at := tail.rfind(end)) >= 0:
                status = tail[at + len(end) :]
                if not status.startswith(b"OK"):
                    raise Refused(status.decode())
                return b"".join(pieces)[2:]

    def until(self, what: bytes) -> bytes:
        """All that comes, until `what` has come."""
        found = b""
        while what not in found:
            piece = self.socket.recv(4096)
            if not piece:
                raise EOFError(f"the server hung up: {found[-200:]!r}")
            found += piece
        return found

    @contextmanager
    def idling(self) -> Iterator[None]:
        self.socket.sendall(b"idle IDLE\r\n")
        self.until(b"+ ")
        yield
        self.socket.sendall(b"DONE\r\n")
        self.until(b"idle OK")

    def append(self, mailbox: str, message: bytes) -> None:
        self.command(f"APPEND {mailbox} {{{len(message)}+}}\r\n", (message,))

    def append_many(self, mailbox: str, messages: Iterable[bytes]) -> None:
        """MULTIAPPEND, some hundred messages a command."""
        waiting: list[bytes] = []
        for message in messages:
            waiting.append(message)
            if len(waiting) == _MESSAGES_AT_ONCE:
                self.append_at_once(mailbox, waiting)
                waiting = []
        if waiting:
            self.append_at_once(mailbox, waiting)

    def append_at_once(self, mailbox: str, messages: Iterable[bytes]) -> None:
        """One APPEND of several messages (RFC 3502)."""
        pieces = [b" {%d+}\r\n%b" % (len(message), message) for message in messages]
        self.command(f"APPEND {mailbox}", pieces)
