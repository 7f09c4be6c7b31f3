"""The state of `posthouse talk`: what is said, which reply it waits for, and what must not be shown.

It follows the dialogue only as far as it must: when a letter begins and ends (DATA, BDAT), how many replies
then come (LMTP), when TLS begins, and which lines hold a password.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable

from posthouse.cli.handshake import Handshake
from posthouse.cli.plainly import heard, printable

_LINE_LIMIT = 64 * 1024
"""Octets of a line from the server."""
_REPLY_LIMIT = 10_000
"""Lines of a reply."""
_MORE = re.compile(rb"[2-5]\d\d-")
_CODE = re.compile(rb"[2-5]\d\d(?: |\Z)")
_MARGIN = "   "


class Conversation:
    """One connection. Methods raise OSError when it is lost, TimeoutError when nothing comes."""

    def __init__(
        self,
        connection: socket.socket,
        shake_hands: Callable[[socket.socket], Handshake],
        *,
        lmtp: bool,
        crlf: bool,
        timeout: float,
        echo: bool,
    ) -> None:
        self.encrypted = False
        self.over = False
        """The server has said goodbye, or hung up."""
        self.echo = echo
        """Show what is said: nobody sees it being typed."""
        self.secret_next = False
        """The next line is part of a login."""
        self._connection = connection
        self._shake_hands = shake_hands
        self._lmtp = lmtp
        self.crlf = crlf
        self._timeout = timeout
        self._input = b""
        self._in_letter = False
        self._chunk = 0
        """Octets of a BDAT chunk that are still to come."""
        self._chunk_is_last = False
        self._recipients = 0
        """Accepted so far: each gets a reply in LMTP."""

    # ── what we say ──────────────────────────────────────────────────────────────────────────────

    @property
    def in_letter(self) -> bool:
        """What is said now is no command."""
        return self._in_letter or self._chunk > 0

    def say(self, line: bytes, *, echo: bool) -> None:
        """Say a line, given without its end, and hear the reply where one must come."""
        if echo:
            print(f"C: {printable(self.shown(line))}")
        octets = line + (b"\r\n" if self.crlf else b"\n")
        self._send(octets)
        if self._chunk > 0:
            self._chunk -= len(octets)
            if self._chunk <= 0:
                self._end_letter(self._chunk_is_last)
        elif self._in_letter:
            if octets == b".\r\n":
                self._in_letter = False
                self._end_letter(True)
        elif self.secret_next:
            self.secret_next = self.hear() == 334
        else:
            self._command(line)

    def shown(self, line: bytes) -> str:
        """A line as it may be shown."""
        if self.secret_next:
            return "[secret]"
        words = line.split()
        if not self.in_letter and len(words) > 2 and words[0].upper() == b"AUTH":
            return f"AUTH {words[1].decode('utf-8', 'replace')} [secret]"
        return line.decode("utf-8", "replace")

    def finish(self) -> None:
        """Say goodbye where that means anything: never in the middle of a letter, which is then not sent."""
        if self.over or self.in_letter or self.secret_next:
            return
        self.crlf = True
        self.say(b"QUIT", echo=True)

    def _command(self, line: bytes) -> None:
        verb, *arguments = line.upper().split() or [b""]
        if verb == b"BDAT" and arguments and arguments[0].isdigit() and len(arguments[0]) < 12:
            self._chunk = int(arguments[0])
            self._chunk_is_last = arguments[-1] == b"LAST"
            if not self._chunk:
                self._end_letter(self._chunk_is_last)
            return
        code = self.hear()
        if verb == b"DATA" and code == 354:
            self._in_letter = True
        elif verb == b"AUTH":
            self.secret_next = code == 334
        elif verb == b"STARTTLS" and code == 220:
            self.secure()
        elif verb == b"QUIT":
            self.over = True
        elif verb == b"RCPT" and 200 <= code < 300:
            self._recipients += 1
        elif verb in (b"MAIL", b"RSET", b"LHLO", b"EHLO", b"HELO"):
            self._recipients = 0

    def _end_letter(self, complete: bool) -> None:
        for _ in range(self._recipients if self._lmtp and complete else 1):
            if not self.over:
                self.hear()
        if complete:
            self._recipients = 0

    def _send(self, octets: bytes) -> None:
        self._connection.settimeout(self._timeout)
        try:
            self._connection.sendall(octets)
        except TimeoutError:
            raise
        except OSError:  # the server has hung up; what it said before is waiting to be read
            self.hear()
            raise ConnectionResetError("the server has hung up") from None

    # ── what we hear ─────────────────────────────────────────────────────────────────────────────

    def hear(self) -> int:
        """Show one whole reply; its code, 0 where it has none."""
        explained = ""
        deadline = time.monotonic() + self._timeout
        for _ in range(_REPLY_LIMIT):
            line = self._read_line(deadline)
            text = line.decode("utf-8", "replace")
            print(f"S: {printable(text)}")
            explanation = heard(text)
            if explanation and explanation != explained:
                print(f"{_MARGIN}{printable(explanation)}", flush=True)
            explained = explanation
            if not _MORE.match(line):
                break
        else:
            raise ConnectionAbortedError("its reply has no end")
        code = int(line[:3]) if _CODE.match(line) else 0
        self.over = self.over or code == 421
        return code

    def overhear(self) -> None:
        """Show what the server says unasked, if it does; it may have hung up. Never waits."""
        while not self.over and b"\n" not in self._input:
            self._connection.setblocking(False)
            try:
                octets = self._connection.recv(4096)
            except (BlockingIOError, ssl.SSLWantReadError):  # nothing, or nothing but TLS's own affairs
                return
            except OSError:
                octets = b""
            self._input += octets
            if not octets:
                self.over = True
                print("The server has hung up.", flush=True)
        if not self.over:
            self.hear()

    def fileno(self) -> int:
        """For select."""
        return self._connection.fileno()

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._input:
            if len(self._input) > _LINE_LIMIT:
                raise ConnectionAbortedError("a line of its reply has no end")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            octets = self._connection.recv(4096)
            if not octets:
                raise ConnectionResetError("the server has hung up")
            self._input += octets
        line, _, self._input = self._input.partition(b"\n")
        return line.removesuffix(b"\r")

    # ── the connection ───────────────────────────────────────────────────────────────────────────

    def secure(self) -> None:
        """Begin TLS. Raises HandshakeFailed."""
        if self._input:  # RFC 3207 §6: somebody injects plain text
            raise ConnectionAbortedError("plain text after the reply to STARTTLS")
        handshake = self._shake_hands(self._connection)
        self._connection = handshake.secured.connection
        self.encrypted = True
        print(f"TLS: {handshake.secured.info}, in {handshake.seconds * 1000:.0f} ms")
        if handshake.certificate:
            print(f"TLS: certificate {printable(handshake.certificate)}", flush=True)

    def close(self) -> None:
        self._connection.close()
