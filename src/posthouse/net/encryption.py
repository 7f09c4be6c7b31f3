"""One TLS connection without a socket: octets of the network in, plaintext out, and back.

The pump puts it between its transport and its core, so STARTTLS upgrades a connection in place,
without a task, on any event loop; what a turn of the loop writes leaves as one write.
"""

from __future__ import annotations

import ssl

from posthouse.net.certificates import mail_addresses
from posthouse.net.tls import ServerContext
from posthouse.protocol.sasl import Channel

_RECORD = 16_384
"""Octets of plaintext in a full record (RFC 8446 §5.1)."""


class Encryption:
    """TLS over memory. Every method may leave octets to send: `take` gives them.

    `handshaking` until the handshake is done; `ended` once the peer has sent close_notify.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "handshaking")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        self.handshaking = True
        self.ended = False

    def start(self) -> None:
        """Begin the handshake (a client speaks first). Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.handshaking = False

    def receive(self, data: bytes) -> bytes:
        """Takes octets of the network, gives the plaintext that they complete.

        Raises ssl.SSLError (ssl.SSLCertVerificationError among them) where the peer breaks the protocol.
        """
        self._incoming.write(data)
        if self.handshaking:
            self.start()
            if self.handshaking:
                return b""
        pieces = []
        try:
            while piece := self._object.read(_RECORD):
                pieces.append(piece)
                if not self._incoming.pending and not self._object.pending():
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, plaintext: bytes) -> bytes:
        """The octets of the network that carry `plaintext`, and what else was waiting to be sent."""
        if len(plaintext) <= _RECORD:
            if plaintext:
                self._object.write(plaintext)
        else:
            view = memoryview(plaintext)
            while view:
                view = view[self._object.write(view[:_RECORD]) :]
        return self._outgoing.read()

    def take(self) -> bytes:
        """The octets waiting to be sent."""
        return self._outgoing.read()

    def finish(self) -> bytes:
        """close_notify, to send before closing; the peer's is not waited for (RFC 8446 §6.1)."""
        if not self.handshaking:
            try:
                self._object.unwrap()
            except (ssl.SSLError, ValueError):  # wants the peer's answer, or the connection is broken already
                pass
        return self._outgoing.read()

    @property
    def info(self) -> str:
        """`TLSv1.3 TLS_AES_256_GCM_SHA384`."""
        cipher = self._object.cipher()
        return f"{self._object.version()} {cipher[0] if cipher else 'unknown'}"

    @property
    def channel(self) -> Channel:
        """What SASL may know of this session, as a server has it."""
        context = self._object.context
        shown = None
        if context.verify_mode is not ssl.CERT_NONE:
            shown = self._object.getpeercert(binary_form=True)
        # On TLS 1.2 all clients know tls-unique; on TLS 1.3 most know only tls-exporter, which we have not.
        binds = self._binding("tls-unique") is not None
        if not binds and isinstance(context, ServerContext) and context.binds_by_certificate:
            binds = context.end_point is not None
        return Channel(True, self._binding, binds, mail_addresses(shown) if shown else ())

    def _binding(self, type: str) -> bytes | None:
        """The data of a type of channel binding (RFC 5929), or None."""
        context = self._object.context
        if type == "tls-server-end-point" and isinstance(context, ServerContext):
            return context.end_point
        # TLS 1.3 has no tls-unique (RFC 8446 Appendix C.5), and a resumed session may share it with another
        # one (RFC 7627 §1).
        if type == "tls-unique" and self._object.version() == "TLSv1.2" and not self._object.session_reused:
            return self._object.get_channel_binding("tls-unique")
        return None

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate, DER; None when it showed none."""
        return self._object.getpeercert(binary_form=True)
