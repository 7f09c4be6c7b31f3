# ruff: noqa: BLE001  (here the exceptions of drivers and cores end: logged, told to the client, closed)
"""The pump: any protocol core on one side, a connection on the other, a driver that decides between them.

    octets → core.receive → core.next_event → driver.handle → core.answer → core.take_output → octets

No task runs per connection or per command. All that the events of one turn of the loop produce leaves
in one write. A driver answers an event with a decision, with a future or coroutine of one (the pump
then waits, and goes on the moment it is done), with a `Stream`, whose pieces are written as fast as
the client takes them, or with `Through`, after which all octets pass through a filter.

What it promises:
- a client that does not read is not read from; one that writes while a decision is outstanding is
  stopped after `HELD_LIMIT` octets;
- every wait for the client has a deadline, `core.timeout` seconds after the last answer to it; the octets of
  a request that is not complete put it off by the time that the minimal data rate allows for them, no more;
- STARTTLS upgrades in place; what the client sent in clear behind it never reaches the core
  (RFC 3207 §4.2, RFC 2595 §4);
- an exception in a driver or a core is logged once, the client is told that the service goes away, and
  the connection closes: never a hang.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Iterator
from typing import Any

from posthouse.net.connection import Connection
from posthouse.net.session import Core, Driver, FilterError, Stream, Through
from posthouse.observe import log

HELD_LIMIT = 256 * 1024
"""Octets taken from a client while a decision is outstanding, before reading pauses."""
STREAM_TURN = 256 * 1024
"""Octets of a stream written in one turn of the loop, so that one large answer does not stop the others."""
TURN_EVENTS = 64
"""Events of one client that are handled before the others have a turn of the loop, whatever it pipelines."""
STREAM_WRITE = 64 * 1024
FILTER_TURN = 64 * 1024
"""Octets taken from a filter in one turn of the loop."""
_log = log.get("net")
_running: set[asyncio.Future[Any]] = set()

_DECISION, _FUTURE, _COROUTINE, _STREAM, _THROUGH = range(1, 6)
_kinds: dict[type, int] = {}


def _kind_of(answer: Any) -> int:
    """What sort of answer a driver gave; remembered per type, since every event asks."""
    if asyncio.isfuture(answer):
        kind = _FUTURE
    elif inspect.iscoroutine(answer):
        kind = _COROUTINE
    elif isinstance(answer, Stream):
        kind = _STREAM
    elif isinstance(answer, Through):
        kind = _THROUGH
    else:
        kind = _DECISION
    _kinds[type(answer)] = kind
    return kind


class Pump(Connection):
    """One session of a server. `loop`: the running one when not given; `options` are `Connection`'s."""

    __slots__ = (
        "_core", "_driver", "_driving", "_ending", "_eof", "_flushing", "_held", "_iterator", "_outstanding",
        "_poured", "_room", "_running", "_stream",
    )  # fmt: skip

    def __init__(
        self, core: Core, driver: Driver, loop: asyncio.AbstractEventLoop | None = None, **options: Any
    ) -> None:
        super().__init__(loop or asyncio.get_running_loop(), **options)
        self._core = core
        self._driver = driver
        self._driving = self._ending = self._eof = self._flushing = self._outstanding = self._running = False
        self._held = 0
        self._poured = 0
        self._room: asyncio.Future[None] | None = None
        self._stream: Stream | None = None
        self._iterator: Iterator[bytes] | None = None

    # What a driver may call

    def push(self, data: bytes) -> None:
        """Write octets that no event asked for (IMAP's IDLE). Calls of one turn leave in one write."""
        if self._closing:
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
        if self._closing:
            return
        if not self._driving or self._handshaking:
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
        if not self._closing:
            self._flush_pushed()
            self._close(reason)

    # What the event loop calls

    def data_received(self, data: bytes) -> None:
        try:
            if self._encryption is not None or self._proxy is not None:
                data = self._plaintext(data)
            if self._filter is not None:
                self._filter.receive(data)
                data = self._filter.read(FILTER_TURN)
            if data and self._driving and not self._core.closing:
                self._core.receive(data)
        except FilterError as problem:
            _log.warning("octets that no filter takes", reason=str(problem), **self._who())
            self.abort("bad octets")
            return
        except Exception:
            self._fail("cannot take octets")
            return
        if self._filter is not None and self._filter.waiting and not self._closing:
            self._pause_reading()
            self._loop.call_soon(self._read_on)
        if self._closing or not self._driving:
            return
        if self._encryption is not None and self._encryption.ended and not self._eof:
            self._end_of_input()
            return
        if not data:
            return
        if self._outstanding or self._write_paused:
            self._held += len(data)
            if self._held > HELD_LIMIT:
                self._pause_reading()
        else:
            self._advance(len(data))

    def _read_on(self) -> None:
        """Take more of what has come and waits in the filter, unless the core has enough of it."""
        if self._filter is None or self._lost or self._closing or not self._driving:
            return
        if self._write_paused or (self._outstanding and self._held > HELD_LIMIT):
            return  # `_go_on` comes back to it
        if self._filter.waiting:
            self.data_received(b"")
            return
        self._resume_reading()
        if self._ending:
            self._end_of_input()

    def eof_received(self) -> bool:
        """The client will not write any more. It still gets the answers to what it wrote."""
        if not self._driving:
            return False
        if not self._eof:
            self._end_of_input()
        return not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._forget()
        self._end_stream()
        if not self.reason:
            self.reason = "eof" if exc is None else "reset"
        if self._driving:
            self._driving = False
            try:
                self._driver.closed(self.reason)
            except Exception:
                _log.exception("cannot end a session", **self._who())
            del self._driver  # it knows the pump: nothing of a session shall wait for the garbage collector

    def pause_writing(self) -> None:
        self._write_paused = True
        self._expect(self._core.timeout)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._closing:
            return
        self._expect(self._core.timeout)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        elif self._iterator is not None:
            self._loop.call_soon(self._continue_stream)
        elif self._driving and not self._outstanding and not self._running:
            self._go_on()

    # What the connection says

    def _admitted(self) -> None:
        self._driving = True
        try:
            if self._encryption is not None:
                self._core.tls_started(self.tls_info, self._encryption.channel)
            self._driver.connected(self)
        except Exception:
            self._fail("cannot begin a session")
            return
        self._advance()

    def _secured(self) -> None:
        self._expect(self._core.timeout)
        assert self._encryption is not None
        self._core.tls_started(self.tls_info, self._encryption.channel)
        self._advance()

    # The work

    def _advance(self, received: int = 0) -> None:
        """Handle events until there are no more or one must be waited for; then write.

        `received`: octets that have just come.
        """
        if self._running or self._closing or not self._driving:
            return
        self._running = True
        self._poured = 0
        core = self._core
        handle = self._driver.handle
        left = TURN_EVENTS
        try:
            while (event := core.next_event()) is not None:
                answer = handle(event)
                kind = _kinds.get(type(answer))
                if kind is None:
                    kind = _kind_of(answer)
                if kind == _DECISION:
                    core.answer(answer)
                elif kind == _THROUGH:
                    self._change_way(answer)
                elif not self._wait_for(answer, kind):
                    break
                if self._write_paused or self._closing:
                    break
                left -= 1
                if not left:
                    self._outstanding = True
                    self._loop.call_soon(self._next_turn)
                    break
        except Exception:
            self._running = False
            self._fail("cannot handle a command")
            return
        self._running = False
        if not self._closing:
            self._flush(received)

    def _next_turn(self) -> None:
        """Others had theirs. No more is read before all that has come is answered."""
        self._outstanding = False
        if self._lost:
            return
        self._advance()
        if not self._outstanding:
            self._go_on()

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
        if type(decision) is Through:
            self._change_way(decision)
            return True
        self._core.answer(decision)
        return True

    def _decided(self, future: asyncio.Future[Any]) -> None:
        _running.discard(future)
        if self._lost:
            if not future.cancelled() and future.exception() is not None:
                _log.error(
                    "a decision failed after its client left", exc_info=future.exception(), **self._who()
                )
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
        held, self._held = self._held, 0
        if self._write_paused:
            self._flush()
            return
        if self._filter is None:
            self._resume_reading()
        else:
            self._loop.call_soon(self._read_on)
        self._advance(held)

    def _change_way(self, answer: Through) -> None:
        """Write all that is said so far as it always was, and the rest by another way."""
        self._core.answer(answer.then)
        self._write(self._core.take_output())
        self._filter = answer.filter

    def _end_of_input(self) -> None:
        if self._filter is not None and self._filter.waiting:
            self._ending = True
            return
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
        _log.exception(what, **self._who())
        if self._closing:
            return
        self.reason = "failed"
        self._end_stream()
        if not self._driving or self._handshaking:
            self.abort("failed")
            return
        try:
            getattr(self._core, "fail", self._core.time_out)()
            self._write(self._core.take_output())
        except Exception:
            _log.exception("cannot say goodbye", **self._who())
            self.abort("failed")
            return
        self._close("failed")

    def _who(self) -> dict[str, str]:
        """For the log."""
        return {"connection": self.connection_id, "peer": self.peer.address}

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
                _log.exception("cannot close an answer", **self._who())

    # Writing, closing, waiting

    def _flush(self, received: int = 0) -> None:
        """Write all output, then do what the core wants next."""
        core = self._core
        output = core.take_output()
        answered = bool(output or self._pending)
        if answered:
            self._write(output)
        if self._outstanding:
            return
        if core.closing:
            self._close("quit")
        elif core.wants_tls and self._encryption is None:
            self._start_tls()
        elif self._eof and not self._write_paused:  # paused: there may be more to answer
            self._close("eof")
        elif answered:
            self._expect(core.timeout)
        else:
            self._expect_rest(received, core.timeout)

    def _flush_pushed(self) -> None:
        self._flushing = False
        if self._pending and not self._handshaking:
            self._flush()

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
        if self._write_paused or self._handshaking or self._closing or not self._driving:
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
