"""A connection of a server before anybody speaks a protocol on it, and while somebody does.

Who is at the other end (a PROXY header from a trusted proxy, the credentials of a Unix socket), whether
one more may come in, TLS, writes that leave together, and one deadline for whatever is waited for.
`net.pump` puts a core on top.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
import socket as sockets
import ssl
import struct
from collections.abc import Container
from typing import Any, cast

from posthouse.net.encryption import Encryption
from posthouse.net.session import OPEN, Alive, Filter, Gate, Peer, TlsSource
from posthouse.observe import log
from posthouse.protocol.proxy import ProxyError, ProxyParser

HANDSHAKE_TIMEOUT = 30.0
"""Seconds for a TLS handshake, and for a PROXY header."""
CLOSING_TIMEOUT = 30.0
"""Seconds that a client has to take the last octets before its connection is cut."""

MIN_DATA_RATE = 500
"""Octets a second (Postfix: smtpd_min_data_rate)."""
RESUME_TIME = 1.0
"""Seconds that a client has to go on, at least, once a decision of ours is made."""

_NEVER = float("inf")
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""
_log = log.get("net")
_numbers = itertools.count(1)


class Connection(asyncio.Protocol):
    """One connection. A subclass says what follows when it is `_admitted`, `_secured`, or `_time_is_up`.

    `min_data_rate`: octets a second, on average, with which a request must come in, once its time is up.
    `tls` is for STARTTLS and, with `implicit_tls`, for a handshake before anything else; `gate` may
    refuse the connection, which then gets `refusal` and ends; who connects from `proxies` must begin
    with a PROXY header. `alive` has the connection in it while it lives.
    """

    __slots__ = (
        "_alive", "_closing", "_deadline", "_encryption", "_entered", "_filter", "_gate", "_implicit_tls",
        "_loop", "_lost", "_min_data_rate", "_pending", "_pending_size", "_proxies", "_proxy",
        "_reading_paused", "_refusal", "_timer", "_timer_at", "_tls", "_transport", "_write_paused", "number",
        "peer", "reason", "tls_info",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        tls: TlsSource | None = None,
        implicit_tls: bool = False,
        gate: Gate = OPEN,
        refusal: bytes = b"",
        proxies: Container[str] = (),
        alive: Alive | None = None,
        min_data_rate: int = MIN_DATA_RATE,
    ) -> None:
        self._loop = loop
        self._min_data_rate = min_data_rate
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._gate = gate
        self._refusal = refusal
        self._proxies = proxies
        self._alive = alive
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._encryption: Encryption | None = None
        self._filter: Filter | None = None
        self._proxy: ProxyParser | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = 0.0
        self._entered = self._lost = self._closing = self._reading_paused = self._write_paused = False
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.number = next(_numbers)
        """Counts the connections of this process."""
        self.peer = Peer("")
        self.tls_info = ""
        """`TLSv1.3 TLS_AES_256_GCM_SHA384`, or empty without TLS."""
        self.reason = ""
        """Why it ended, or is about to."""

    @property
    def connection_id(self) -> str:
        """Names the connection in the log: process id and number."""
        return f"{os.getpid()}.{self.number}"

    @property
    def socket(self) -> Any:
        """The transport's socket, for options (`setsockopt`) only."""
        return self._transport.get_extra_info("socket")

    def abort(self, reason: str = "aborted") -> None:
        """Cut the connection; what is not yet written is lost."""
        if not self._lost:
            self._closing = True
            self.reason = self.reason or reason
            self._transport.abort()

    # What a subclass says

    def _admitted(self) -> None:
        """The peer is known and let in; with implicit TLS, the handshake is done."""

    def _secured(self) -> None:
        """A handshake in the middle of the session is done."""

    def _time_is_up(self) -> None:
        """The deadline may have passed (it moves while the timer stands)."""

    # The beginning

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

    def _forget(self) -> None:
        """The transport is gone."""
        self._lost = self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alive is not None:
            self._alive.discard(self)
        if self._entered:
            self._gate.leave(self.peer.address)
        self._pending.clear()

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
            self._admitted()

    def _plaintext(self, data: bytes) -> bytes:
        """What the client says, out of what came from the network: behind PROXY and TLS. May be nothing yet.

        Only for connections with a PROXY header to come, or with TLS.
        """
        if self._proxy is not None:
            data = self._read_proxy(self._proxy, data)
        if data and self._encryption is not None:
            data = self._decrypt(self._encryption, data)
        return data

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

    # TLS

    @property
    def _handshaking(self) -> bool:
        return self._encryption is not None and self._encryption.handshaking

    def _start_tls(self) -> None:
        """The client's next octets begin a handshake."""
        context = self._tls() if self._tls is not None else None
        if context is None:
            _log.error("TLS wanted, but no certificate is loaded", connection=self.connection_id)
            self._close("no TLS")
            return
        self._encryption = Encryption(context, server_side=True)
        self._expect(HANDSHAKE_TIMEOUT)

    def _decrypt(self, encryption: Encryption, data: bytes) -> bytes:
        handshaking = encryption.handshaking
        try:
            plaintext = encryption.receive(data)
        except ssl.SSLError as error:
            if alert := encryption.take():
                self._transport.write(alert)
            self._close(f"TLS: {error.reason or error}")
            return b""
        if answer := encryption.take():
            self._transport.write(answer)
        if handshaking and not encryption.handshaking:
            self.tls_info = encryption.info
            if self._implicit_tls:
                self._admitted()
            else:
                self._secured()
        return plaintext

    # Writing and closing

    def _add(self, data: bytes) -> None:
        """To be written with the next `_write`."""
        if data:
            self._pending.append(data)
            self._pending_size += len(data)

    def _write(self, data: bytes) -> None:
        """Write what is pending, then `data`, at once."""
        if self._pending:
            if data:
                self._pending.append(data)
            data = b"".join(self._pending)  # of one piece, itself: nothing is copied
            self._pending.clear()
            self._pending_size = 0
        if self._closing:
            return
        if self._filter is not None and data:
            data = self._filter.send(data)
        if self._encryption is not None:
            data = self._encryption.send(data)
        if data:
            self._transport.write(data)

    def _close(self, reason: str) -> None:
        """Close once everything written has been taken."""
        if self._closing:
            return
        self._closing = True
        self.reason = self.reason or reason
        if self._encryption is not None and (farewell := self._encryption.finish()):
            self._transport.write(farewell)
        if self._write_paused or self._timer is None:
            self._expect(CLOSING_TIMEOUT)
        self._transport.close()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._closing:
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

    def _expect_rest(self, received: int, most: float) -> None:
        """A request is not complete: `received` octets of it earn it time, `most` seconds from now at most.

        So what comes drop by drop does not put its deadline off for ever, as with Postfix's
        smtpd_per_request_deadline. Where nothing was received, it has waited for us.
        """
        now = self._loop.time()
        deadline = self._deadline + received / self._min_data_rate
        if not received:
            deadline = max(deadline, now + RESUME_TIME)
        deadline = min(deadline, now + most)
        if self._timer is None or deadline < self._timer_at:
            self._expect(deadline - now)
        else:
            self._deadline = deadline


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
