# ruff: noqa: BLE001  (here the exceptions of drivers and cores end: logged, told to the client, closed)
"""The pump: any protocol core on one side, a connection on the other, a driver that decides between them.

    octets → core.receive → core.next_event → driver.handle → core.answer → core.take_output → octets

No task runs per connection or per command. All that the events of one turn of the loop produce leaves
in one write. A driver answers an event with a decision, with a future or coroutine of one (the pump
then waits, and goes on the moment it is done), or with a `Stream`, whose pieces are written as fast as
the client takes them.

What it promises:
- a client that does not read is not read from; one that writes while a decision is outstanding is
  stopped after `HELD_LIMIT` octets;
- every wait for the client has a deadline, `core.timeout` seconds after the last octets that moved;
- STARTTLS upgrades in place; what the client sent in clear behind it never reaches the core
  (RFC 3207 §4.2, RFC 2595 §4);
- an exception in a driver or a core is logged once, the client is told that the service goes away, and
  the connection closes: never a hang.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import itertools
import os
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterable, Container, Iterator
from typing import Any, cast

from posthouse.net.encryption import Encryption
from posthouse.net.session import (
    OPEN,
    Core,
    Driver,
    Gate,
    Peer,
    Stream,
    TlsSource,
)
from posthouse.observe import log
from posthouse.protocol.proxy import ProxyError, ProxyParser

__all__ = ["Core", "Driver", "Gate", "Peer", "Pump", "Stream"]

HELD_LIMIT = 256 * 1024
"""Octets taken from a client while a decision is outstanding, before reading pauses."""
STREAM_TURN = 256 * 1024
"""Octets of a stream written in one turn of the loop, so that one large answer does not stop the others."""
STREAM_WRITE = 64 * 1024
HANDSHAKE_TIMEOUT = 30.0
"""Seconds for a TLS handshake, and for a PROXY header."""
CLOSING_TIMEOUT = 30.0
"""Seconds that a client has to take the last octets before its connection is cut."""

_NEVER = float("inf")
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""
_log = log.get("net")
_numbers = itertools.count(1)
_running: set[asyncio.Future[Any]] = set()

_DECISION, _FUTURE, _COROUTINE, _STREAM = range(1, 5)
_kinds: dict[type, int] = {}


def _kind_of(answer: Any) -> int:
    """What sort of answer a driver gave; remembered per type, since every event asks."""
    if asyncio.isfuture(answer):
        kind = _FUTURE
    elif inspect.iscoroutine(answer):
        kind = _COROUTINE
    elif isinstance(answer, Stream):
        kind = _STREAM
    else:
        kind = _DECISION
    _kinds[type(answer)] = kind
    return kind


class Connections:
    """The live connections of a listener."""

    __slots__ = ("_emptied", "_pumps")

    def __init__(self) -> None:
        self._pumps: set[Pump] = set()
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._pumps)

    def __iter__(self) -> Iterator[Pump]:
        """A copy: connections may end meanwhile."""
        return iter(list(self._pumps))

    def add(self, pump: Pump) -> None:
        self._pumps.add(pump)

    def discard(self, pump: Pump) -> None:
        self._pumps.discard(pump)
        if self._emptied is not None and not self._pumps:
            self._emptied.set()

    async def emptied(self) -> None:
        """Returns when there is none left."""
        if self._pumps:
            self._emptied = asyncio.Event()
            await self._emptied.wait()


class Pump(asyncio.Protocol):
    """One connection of a server. `loop` is the running one when not given.

    `tls` is for STARTTLS and, with `implicit_tls`, for a handshake before anything else; `gate` may
    refuse the connection, which then gets `refusal` and ends; who connects from `proxies` must begin
    with a PROXY header.
    `alive` has the pump in it while its connection lives.
    """

    __slots__ = (
        "_alive",
        "_core",
        "_deadline",
        "_driver",
        "_driving",
        "_encryption",
        "_entered",
        "_eof",
        "_flushing",
        "_gate",
        "_held",
        "_implicit_tls",
        "_iterator",
        "_loop",
        "_lost",
        "_outstanding",
        "_pending",
        "_pending_size",
        "_poured",
        "_proxies",
        "_proxy",
        "_reading_paused",
        "_refusal",
        "_room",
        "_running",
        "_stream",
        "_timer",
        "_timer_at",
        "_tls",
        "_transport",
        "_write_paused",
        "number",
        "peer",
        "reason",
        "tls_info",
    )  # fmt: skip

    def __init__(
        self,
        core: Core,
        driver: Driver,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        tls: TlsSource | None = None,
        implicit_tls: bool = False,
        gate: Gate = OPEN,
        refusal: bytes = b"",
        proxies: Container[str] = (),
        alive: Connections | None = None,
    ) -> None:
        self._core = core
        self._driver = driver
        self._loop = loop or asyncio.get_running_loop()
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._gate = gate
        self._refusal = refusal
        self._proxies = proxies
        self._alive = alive
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._encryption: Encryption | None = None
        self._proxy: ProxyParser | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = 0.0
        self._driving = self._entered = self._eof = self._flushing = self._lost = False
        self._outstanding = self._running = self._reading_paused = self._write_paused = False
        self._held = 0
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._poured = 0
        self._room: asyncio.Future[None] | None = None
        self._stream: Stream | None = None
        self._iterator: Iterator[bytes] | None = None
        self.number = next(_numbers)
        """Counts the connections of this process."""
        self.peer = Peer("")
        self.tls_info = ""
        """`TLSv1.3 TLS_AES_256_GCM_SHA384`, or empty without TLS."""
        self.reason = ""

    # What a driver may call

    @property
    def connection_id(self) -> str:
        """Names the connection in the log: process id and number."""
        return f"{os.getpid()}.{self.number}"

    @property
    def local_address(self) -> tuple[str, int]:
        """The address and port of ours that the client reached; ("local", 0) for a Unix socket."""
        name = self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else ("local", 0)

    @property
    def socket(self) -> Any:
        """The transport's socket, for options (`setsockopt`) only."""
        return self._transport.get_extra_info("socket")

    def push(self, data: bytes) -> None:
        """Write octets that no event asked for (IMAP's IDLE). Calls of one turn leave in one write."""
        if self._lost or self._transport.is_closing():
            return
        self._add(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_pushed)

    @property
    def congested(self) -> bool:
        """The client does not take what it was sent: pushing more is not wise."""
        return self._write_paused or self._pending_size > STREAM_TURN

    def shut_down(self) -> None:
        """The server stops: the core says goodbye, now or after the transaction in flight."""
        if self._lost:
            return
        if not self._driving:
            self._close("shut down")
            return
        try:
            self._core.shut_down()
        except Exception:
            self._fail("cannot shut down")
            return
        if not self._running:
            if self._core.closing and not self.reason:
                self.reason = "shut down"
            self._flush()

    def close(self, reason: str = "closed") -> None:
        """Close once everything written has been taken; the core is not asked."""
        if not self._lost:
            self._flush_pushed()
            self._close(reason)

    def abort(self, reason: str = "aborted") -> None:
        """Cut the connection; what is not yet written is lost."""
        if not self._lost:
            self.reason = self.reason or reason
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = _peer_of(transport)
        if self._alive is not None:
            self._alive.add(self)
        if self.peer.address in self._proxies:
            self._proxy = ProxyParser()
            self._expect(HANDSHAKE_TIMEOUT)
            return
        self._admit()

    def data_received(self, data: bytes) -> None:
        try:
            if self._proxy is not None and not (data := self._read_proxy(self._proxy, data)):
                return
            if self._encryption is not None and not (data := self._decrypt(self._encryption, data)):
                return
            if not self._driving or self._core.closing:
                return
            self._core.receive(data)
        except Exception:
            self._fail("cannot take octets")
            return
        if self._outstanding or self._write_paused:
            self._held += len(data)
            if self._held > HELD_LIMIT:
                self._pause_reading()
        else:
            self._advance()

    def eof_received(self) -> bool:
        """The client will not write any more. It still gets the answers to what it wrote."""
        if not self._driving:
            return False
        if not self._eof:
            self._end_of_input()
        return not self._lost and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alive is not None:
            self._alive.discard(self)
        if self._entered:
            self._gate.leave(self.peer.address)
        self._end_stream()
        self._pending.clear()
        if not self.reason:
            self.reason = "eof" if exc is None else "reset"
        if self._driving:
            self._driving = False
            try:
                self._driver.closed(self.reason)
            except Exception:
                _log.exception(
                    "cannot close a session", connection=self.connection_id, peer=self.peer.address
                )

    def pause_writing(self) -> None:
        self._write_paused = True
        self._expect(self._core.timeout)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._lost:
            return
        self._expect(self._core.timeout)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        elif self._iterator is not None:
            self._loop.call_soon(self._continue_stream)
        elif self._driving and not self._outstanding and not self._running:
            self._go_on()

    # The start of a connection

    def _read_proxy(self, parser: ProxyParser, data: bytes) -> bytes:
        """Feeds the PROXY parser; gives what stands behind the header."""
        try:
            header = parser.feed(data)
        except ProxyError as error:
            _log.warning("bad PROXY header", peer=self.peer.address, error=str(error))
            self.abort("bad PROXY header")
            return b""
        if header is None:
            return b""
        self._proxy = None
        if header.source is not None:
            self.peer = Peer(_plain_address(header.source), header.source_port)
        self._admit()
        return data[header.consumed :]

    def _admit(self) -> None:
        """The peer is known: let it in or turn it away."""
        if not self._gate.enter(self.peer.address):
            if self._refusal and not self._implicit_tls:
                self._transport.write(self._refusal)
            self._close("refused")
            return
        self._entered = True
        if self._implicit_tls:
            self._start_tls()
        else:
            self._begin()

    def _begin(self) -> None:
        self._driving = True
        try:
            self._driver.connected(self)
        except Exception:
            self._fail("cannot begin a session")
            return
        self._advance()

    def _start_tls(self) -> None:
        context = self._tls() if self._tls is not None else None
        if context is None:
            _log.error("TLS wanted, but no certificate is loaded", connection=self.connection_id)
            self._close("no TLS")
            return
        self._encryption = Encryption(context, server_side=True)
        self._expect(HANDSHAKE_TIMEOUT)

    def _decrypt(self, encryption: Encryption, data: bytes) -> bytes:
        """Plaintext from octets of the network; begins the session when the handshake is done."""
        handshaking = encryption.handshaking
        try:
            plaintext = encryption.receive(data)
        except ssl.SSLError as error:
            if alert := encryption.take():
                self._transport.write(alert)
            self._close(f"TLS: {error.reason or error}")
            return b""
        if (answer := encryption.take()) and not self._lost:
            self._transport.write(answer)
        if handshaking and not encryption.handshaking:
            self.tls_info = encryption.info
            self._core.tls_started(self.tls_info)
            if self._driving:
                self._advance()
            else:
                self._begin()
        if encryption.ended:
            if plaintext and self._driving:
                self._core.receive(plaintext)
            self._end_of_input()
            return b""
        return plaintext

    # The work

    def _advance(self) -> None:
        """Handle events until there are no more or one must be waited for; then write."""
        if self._running or not self._driving:
            return
        self._running = True
        self._poured = 0
        core = self._core
        handle = self._driver.handle
        try:
            while (event := core.next_event()) is not None:
                answer = handle(event)
                kind = _kinds.get(type(answer))
                if kind is None:
                    kind = _kind_of(answer)
                if kind == _DECISION:
                    core.answer(answer)
                elif not self._wait_for(answer, kind):
                    break
                if self._write_paused:
                    break
        except Exception:
            self._running = False
            self._fail("cannot handle a command")
            return
        self._running = False
        if not self._lost:
            self._flush()

    def _wait_for(self, answer: Any, kind: int) -> bool:
        """Begin to wait for a future, coroutine or stream. True when it was done already."""
        if kind == _STREAM:
            return self._begin_stream(answer)
        if kind == _FUTURE:
            future: asyncio.Future[Any] = answer
            if future.done():
                return self._take(future.result())
        else:
            future = self._loop.create_task(answer)
            _running.add(future)  # the loop keeps only weak references to tasks
        self._outstanding = True
        future.add_done_callback(self._decided)
        return False

    def _take(self, decision: Any) -> bool:
        """Hand a decision that was waited for to the core. False when it has to be waited for once more."""
        if type(decision) is Stream:
            return self._begin_stream(decision)
        self._core.answer(decision)
        return True

    def _decided(self, future: asyncio.Future[Any]) -> None:
        _running.discard(future)
        if self._lost:
            if not future.cancelled() and future.exception() is not None:
                _log.error("a decision failed after its client left", connection=self.connection_id,
                           peer=self.peer.address, exc_info=future.exception())  # fmt: skip
            return
        self._outstanding = False
        try:
            if not self._take(future.result()):
                return
        except (Exception, asyncio.CancelledError):
            self._fail("cannot handle a command")
            return
        self._go_on()

    def _go_on(self) -> None:
        """A wait is over: go on with what the client sent meanwhile."""
        self._held = 0
        if self._write_paused:
            self._flush()
            return
        self._resume_reading()
        self._advance()

    def _end_of_input(self) -> None:
        self._eof = True
        try:
            self._core.receive_eof()
        except Exception:
            self._fail("cannot take the end of input")
            return
        if not self._outstanding:
            self._advance()

    def _fail(self, what: str) -> None:
        """An exception of ours: log it, tell the client, close. Called from an except clause."""
        _log.exception(what, connection=self.connection_id, peer=self.peer.address)
        if self._lost:
            return
        self.reason = "failed"
        self._end_stream()
        if not self._driving or (self._encryption is not None and self._encryption.handshaking):
            self.abort("failed")
            return
        try:
            getattr(self._core, "fail", self._core.time_out)()
            self._write(self._core.take_output())
        except Exception:
            _log.exception("cannot say goodbye", connection=self.connection_id)
            self.abort("failed")
            return
        self._close("failed")

    # Streams

    def _begin_stream(self, stream: Stream) -> bool:
        """Begin to write a stream. True when all of it could be written at once."""
        self._stream = stream
        self._add(self._core.take_output())
        if isinstance(stream.pieces, AsyncIterable):
            self._outstanding = True
            future: asyncio.Future[Any] = self._loop.create_task(self._pour_async(stream, stream.pieces))
            _running.add(future)
            future.add_done_callback(_running.discard)
            return False
        self._iterator = iter(stream.pieces)
        if not self._pour(self._iterator):
            self._outstanding = True
            return False
        self._stream = self._iterator = None
        self._core.answer(stream.then)
        return True

    def _pour(self, iterator: Iterator[bytes]) -> bool:
        """Write pieces while the client takes them, STREAM_TURN octets a turn at most. True at the end."""
        for piece in iterator:
            self._add(piece)
            if self._pending_size >= STREAM_WRITE:
                self._poured += self._pending_size
                self._write(b"")
                if self._write_paused:
                    return False
                if self._poured >= STREAM_TURN:
                    self._loop.call_soon(self._continue_stream)
                    return False
        return True

    def _continue_stream(self) -> None:
        stream, iterator = self._stream, self._iterator
        if stream is None or iterator is None or self._write_paused or self._lost:
            return
        self._poured = 0
        try:
            if not self._pour(iterator):
                return
            self._stream_done(stream)
        except Exception:
            self._fail("cannot write an answer")

    async def _pour_async(self, stream: Stream, pieces: AsyncIterable[bytes]) -> None:
        try:
            async for piece in pieces:
                self._add(piece)
                if self._pending_size >= STREAM_WRITE:
                    self._write(b"")
                while self._write_paused and not self._lost:
                    self._room = self._loop.create_future()
                    await self._room
                if self._stream is not stream:
                    return
            if self._stream is stream:
                self._stream_done(stream)
        except Exception:
            self._fail("cannot write an answer")
        finally:
            self._room = None
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    def _stream_done(self, stream: Stream) -> None:
        self._stream = self._iterator = None
        self._outstanding = False
        self._core.answer(stream.then)
        self._go_on()

    def _end_stream(self) -> None:
        """The connection ends: close what was being written."""
        iterator, self._iterator, self._stream = self._iterator, None, None
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        close = getattr(iterator, "close", None)
        if close is not None:
            try:
                close()
            except Exception:
                _log.exception("cannot close an answer", connection=self.connection_id)

    # Writing, closing, waiting

    def _add(self, data: bytes) -> None:
        if data:
            self._pending.append(data)
            self._pending_size += len(data)

    def _write(self, data: bytes) -> None:
        """Write what is pending, then `data`, at once."""
        if self._pending:
            self._pending.append(data)
            data = b"".join(self._pending)
            self._pending.clear()
            self._pending_size = 0
        if self._lost or self._transport.is_closing():
            return
        if self._encryption is not None:
            data = self._encryption.send(data)
        if data:
            self._transport.write(data)

    def _flush(self) -> None:
        """Write all output, then do what the core wants next."""
        core = self._core
        output = core.take_output()
        if output or self._pending:
            self._write(output)
        if self._outstanding:
            return
        if core.closing:
            self._close("quit")
        elif core.wants_tls:
            self._start_tls()
        elif self._eof:
            self._close("eof")
        else:
            self._expect(core.timeout)

    def _flush_pushed(self) -> None:
        self._flushing = False
        if self._pending and not (self._encryption is not None and self._encryption.handshaking):
            self._flush()

    def _close(self, reason: str) -> None:
        """Close once everything written has been taken."""
        if self._lost or self._transport.is_closing():
            return
        self.reason = self.reason or reason
        if self._encryption is not None and (farewell := self._encryption.finish()):
            self._transport.write(farewell)
        if self._write_paused or self._timer is None:
            self._expect(CLOSING_TIMEOUT)
        self._transport.close()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._eof and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _expect(self, seconds: float) -> None:
        """Something must move within `seconds`. The timer moves only when it would fire too late."""
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is None:
            if deadline == _NEVER or self._lost:
                return
        elif deadline >= self._timer_at:
            return
        else:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._lost:
            return
        if self._outstanding and not self._write_paused:
            self._expect(max(self._core.timeout, 1.0))  # the client waits for us, not we for it
            return
        left = self._deadline - self._loop.time()
        if left > 0.001:
            self._expect(left)
            return
        handshaking = self._encryption is not None and self._encryption.handshaking
        if self._write_paused or handshaking or not self._driving or self._transport.is_closing():
            self.abort("timed out")
            return
        self.reason = self.reason or "timed out"
        try:
            self._core.time_out()
            self._write(self._core.take_output())
        except Exception:
            self._fail("cannot time out")
            return
        self._close("timed out")


def _peer_of(transport: asyncio.BaseTransport) -> Peer:
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple) and len(name) >= 2:
        return Peer(_plain_address(name[0]), name[1])
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != sockets.AF_UNIX:
        return Peer("")
    _, uid, _ = _CREDENTIALS.unpack(
        connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _CREDENTIALS.size)
    )
    return Peer("local", 0, uid)


def _plain_address(text: str) -> str:
    """Without a scope, and IPv4 out of `::ffff:192.0.2.1`."""
    if ":" not in text:
        return text
    address = ipaddress.IPv6Address(text.partition("%")[0])
    return str(address.ipv4_mapped or address)
