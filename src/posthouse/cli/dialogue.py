"""A client's session on a blocking socket: for commands that hand over one letter and end.

It imports little, so that `posthouse sendmail` starts quickly. Every wait has the deadline that the session
names. What a server says before it cuts the connection is heard, even when it cut while we were writing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from posthouse.protocol.smtp.client import ClientSession, Event, Line

if TYPE_CHECKING:
    from posthouse.mail.reply import Reply

BLOCK = 64 * 1024
"""Octets that are written or read at a time."""

_LONGEST_WAIT = 3600.0


class HandshakeFailed(Exception):
    """TLS could not be agreed upon; the text says why."""


class Secured(NamedTuple):
    """A connection after its TLS handshake."""

    connection: socket.socket
    info: str
    """`TLSv1.3 TLS_AES_256_GCM_SHA384`"""


Secure = Callable[[socket.socket], Secured]
"""Shakes hands on a connection. Raises HandshakeFailed."""


def _no_tls(connection: socket.socket) -> Secured:
    raise HandshakeFailed("this connection has no TLS")


class Dialogue:
    """`session` on `connection`; each line, ours and theirs, goes to `tell` as it happens."""

    def __init__(
        self,
        session: ClientSession,
        connection: socket.socket,
        *,
        tell: Callable[[Line], None] | None = None,
        secure: Secure = _no_tls,
    ) -> None:
        self.session = session
        self.handshake_failed = False
        self._connection = connection
        self._tell = tell
        self._secure = secure
        self._broken = ""
        """Why nothing more can be written; what the server still says is read first."""

    def event(self) -> Event | None:
        """What happens next; None when the session has ended and nothing more can."""
        while True:
            event = self.session.next_event()
            if event is not None:
                self._flush()
                return event
            if self.session.closing:
                self._flush()
                return None
            self.step()

    def until_idle(self) -> None:
        """Until all that was said is answered, or the session has ended."""
        while not (self.session.idle or self.session.closing):
            self.step()

    def step(self) -> None:
        """Say what there is to say, then wait for the server."""
        session = self.session
        self._flush()
        if session.wants_tls:
            try:
                self._connection, info = self._secure(self._connection)
            except HandshakeFailed as error:
                self.handshake_failed = True
                session.connection_lost(f"TLS handshake failed: {error}")
                return
            session.tls_started(info)
        elif not session.closing:
            self._hear()

    def write(self, piece: bytes) -> None:
        """A piece of the content, after WantsContent."""
        self.session.write(piece)
        self._flush()

    def close(self) -> None:
        """Say goodbye where that is possible, and hang up."""
        session = self.session
        if not session.closing:
            session.quit()
            while not session.closing:
                self.step()
        self._flush()
        self._connection.close()

    def _flush(self) -> None:
        self._show()
        octets = self.session.take_output()
        if not octets or self._broken:
            return
        self._connection.settimeout(min(self.session.timeout, _LONGEST_WAIT))
        view = memoryview(octets)
        try:
            for start in range(0, len(view), BLOCK):
                self._connection.sendall(view[start : start + BLOCK])
        except TimeoutError:
            self.session.time_out()
        except OSError as error:
            self._broken = reason(error)

    def _hear(self) -> None:
        session = self.session
        self._connection.settimeout(min(session.timeout, _LONGEST_WAIT))
        try:
            octets = self._connection.recv(BLOCK)
        except TimeoutError:
            session.time_out()
        except OSError as error:
            session.connection_lost(self._broken or reason(error))
        else:
            if octets:
                session.receive(octets)
            else:
                session.connection_lost(self._broken)
        self._show()

    def _show(self) -> None:
        for line in self.session.take_dialogue():
            if self._tell is not None:
                self._tell(line)


def reason(error: OSError) -> str:
    """An error of the network in a few words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return error.strerror or str(error) or type(error).__name__


_BY_ENHANCED = {
    "5.1.1": os.EX_NOUSER,
    "5.1.2": os.EX_NOHOST,
    "5.1.3": os.EX_DATAERR,
    "5.1.6": os.EX_NOUSER,
    "5.1.7": os.EX_DATAERR,
    "5.1.10": os.EX_NOHOST,
    "5.3.4": os.EX_DATAERR,
    "5.7.8": os.EX_NOPERM,
}

_BY_CODE = {
    500: os.EX_PROTOCOL,
    501: os.EX_DATAERR,
    502: os.EX_PROTOCOL,
    503: os.EX_PROTOCOL,
    504: os.EX_PROTOCOL,
    530: os.EX_NOPERM,
    534: os.EX_NOPERM,
    535: os.EX_NOPERM,
    538: os.EX_NOPERM,
    551: os.EX_NOUSER,
    556: os.EX_NOHOST,
}


def exit_code_of(*replies: Reply) -> int:
    """The exit code (sysexits.h) for the replies to all recipients.

    What is refused for good comes first: who repeats the command after EX_TEMPFAIL would send the letter
    once more to those who have it.
    """
    for reply in replies:
        if reply.permanent:
            if reply.enhanced.startswith("5.6."):
                return os.EX_DATAERR
            return _BY_ENHANCED.get(reply.enhanced) or _BY_CODE.get(reply.code, os.EX_UNAVAILABLE)
    return os.EX_OK if all(reply.positive for reply in replies) else os.EX_TEMPFAIL
