"""One connection to another server: a client's session on a transport, with TLS and deadlines.

The connection speaks when it is spoken to: `event` gives a future of what happens next. No task runs for
it, every wait for the server has the deadline that the session names, and what one turn of the loop has
to say leaves in one write.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

from posthouse.net.encryption import Encryption
from posthouse.outbound.mx import Target
from posthouse.outbound.security import Protection, protection_of
from posthouse.protocol.smtp.client import ClientSession, Event, SecurityLevel

_NEVER = float("inf")


class Connection(asyncio.Protocol):
    """A session with `target`. After `Lost` or a lost transaction it is of no more use."""

    __slots__ = (
        "_closed", "_context", "_deadline", "_encryption", "_events", "_implicit", "_level", "_loop", "_room",
        "_timer", "_timer_at", "_transport", "_waiter", "handshake_failed", "opened", "protection", "session",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        session: ClientSession,
        target: Target,
        loop: asyncio.AbstractEventLoop,
        level: SecurityLevel,
        context: ssl.SSLContext | None,
        *,
        implicit_tls: bool = False,
    ) -> None:
        self.session = session
        self.target = target
        self.opened = loop.time()
        self.protection: Protection | None = None
        self.handshake_failed = False
        self._loop = loop
        self._level = level
        self._context = context
        self._implicit = implicit_tls
        self._transport: asyncio.Transport | None = None
        self._encryption: Encryption | None = None
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[Event] | None = None
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._deadline = _NEVER
        self._closed = False

    # What the sender does

    @property
    def usable(self) -> bool:
        """Idle and alive, as far as we know."""
        return self.session.idle and not self._closed

    def event(self) -> asyncio.Future[Event]:
        """What happens next; one waiter at a time."""
        future: asyncio.Future[Event] = self._loop.create_future()
        if self._events:
            future.set_result(self._events.popleft())
        else:
            self._waiter = future
        return future

    def advance(self) -> None:
        """The session has been told something: pass on its events, write its words, watch the clock."""
        session = self.session
        while (event := session.next_event()) is not None:
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                self._waiter = None
                waiter.set_result(event)
            else:
                self._events.append(event)
        self._flush()
        if session.wants_tls and self._encryption is None and not self._closed:
            self._start_tls()
        self._watch(session.timeout)

    async def room(self) -> None:
        """Waits until the server takes more octets, or the connection is lost."""
        if self._room is not None:
            await self._room

    def quit(self) -> None:
        """Say goodbye (RFC 5321 §4.1.1.10) and close when that is answered, or soon."""
        if self._closed or self.session.closing:
            self.abort()
        else:
            self.session.quit()
            self.advance()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._implicit:
            self._start_tls()
        self._watch(self.session.timeout)

    def data_received(self, data: bytes) -> None:
        if self._encryption is not None:
            data = self._decrypt(self._encryption, data)
        if data:
            self.session.receive(data)
        self.advance()

    def eof_received(self) -> bool:
        self.session.connection_lost()
        self.advance()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self.session.connection_lost(_reason(exc))
        self.resume_writing()
        self.advance()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        self._watch(self.session.timeout)

    # Within

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or self._closed:
            return
        output = self.session.take_output()
        encryption = self._encryption
        if output and encryption is not None:
            output = encryption.send(output)
        if output:
            transport.write(output)
        if self.session.closing and not transport.is_closing():
            if encryption is not None and (farewell := encryption.finish()):
                transport.write(farewell)
            transport.close()

    def _start_tls(self) -> None:
        if self._context is None or self._transport is None:
            self._tls_failed("there is no TLS context")
            return
        try:
            self._encryption = Encryption(
                self._context, server_side=False, server_name=self.target.host.rstrip(".")
            )
            self._encryption.start()
        except (ssl.SSLError, ValueError) as error:  # a host name that TLS cannot say
            self._tls_failed(str(error))
            return
        self._transport.write(self._encryption.take())

    def _decrypt(self, encryption: Encryption, data: bytes) -> bytes:
        handshaking = encryption.handshaking
        try:
            plaintext = encryption.receive(data)
        except ssl.SSLError as error:
            self._write(encryption.take())
            if handshaking:
                self._tls_failed(_tls_reason(error))
            else:
                self.session.connection_lost(_tls_reason(error))
            return b""
        self._write(encryption.take())
        if handshaking and not encryption.handshaking:
            self.protection = protection_of(encryption, self._level)
            if self._implicit:
                self.session.tls = encryption.info
            else:
                self.session.tls_started(encryption.info)
        if encryption.ended:
            if plaintext:
                self.session.receive(plaintext)
            self.session.connection_lost()
            return b""
        return plaintext

    def _write(self, octets: bytes) -> None:
        if octets and self._transport is not None:
            self._transport.write(octets)

    def _tls_failed(self, why: str) -> None:
        self.handshake_failed = True
        self.session.connection_lost(f"TLS handshake failed: {why}")
        if self._transport is not None:
            self._transport.close()

    # Deadlines: one timer, moved only when it would ring too late

    def _watch(self, timeout: float) -> None:
        if self._closed:
            return
        self._deadline = deadline = self._loop.time() + timeout
        if deadline >= self._timer_at or deadline == _NEVER:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        if self._closed or self._deadline == _NEVER:
            return
        left = self._deadline - self._loop.time()
        if left > 0:
            self._watch(left)
        elif self.session.closing:  # it was told to close, and the other end does not take its octets
            self.abort()
        else:
            self.session.time_out()
            self.advance()
            self.abort()


def _reason(error: Exception | None) -> str:
    if error is None:
        return ""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not valid: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
