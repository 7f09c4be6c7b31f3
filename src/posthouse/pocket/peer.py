"""Another SMTP server, which does what a script of faults says and keeps everything it receives.

    peer = ScriptedPeer("mx.south.test")
    await peer.start("127.0.0.3", 2525)
    peer.script(greylisting(times=2))
    letter = await peer.letter(0)              # waits for the first

It runs on the same pump and core as Posthouse's own listeners, so it pipelines, takes BDAT and speaks TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.reply import AUTH_INVALID, AUTHENTICATED, RECIPIENT_OK, SENDER_OK, Reply, queued_as
from posthouse.net.listener import Listener
from posthouse.net.pump import Pump
from posthouse.net.tls import ServerTls, self_signed
from posthouse.pocket.ca import PocketCa
from posthouse.pocket.faults import Answer, BadTls, Break, Drop, Fault, Hang, Step
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp import events
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities

_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Received:
    """One letter as it came."""

    sender: Sender
    recipients: list[Recipient]
    content: bytes
    client: str
    helo: str
    tls: str
    user: str


@dataclass(slots=True)
class Session:
    """One connection and the steps that it came to."""

    client: str
    steps: list[Step] = field(default_factory=list)
    ended: str = ""
    """How, when it has: see `net.session.Driver.closed`."""


class ScriptedPeer:
    """`hostname` is its name in the greeting. Without `ca` it offers no STARTTLS. `users`: login → password.

    `bad_tls` spoils its certificate. `pace`: seconds between two octets that it writes; 0: all at once.
    """

    def __init__(
        self,
        hostname: str,
        *,
        ca: PocketCa | None = None,
        bad_tls: BadTls | None = None,
        users: dict[str, str] | None = None,
        lmtp: bool = False,
        message_size_limit: int = 50_000_000,
        pace: float = 0.0,
    ) -> None:
        self.hostname = hostname
        self.letters: list[Received] = []
        self.sessions: list[Session] = []
        self.users = users or {}
        self.pace = pace
        self.address = ""
        self.port = 0
        self._faults: list[Fault] = []
        self._changed = asyncio.Event()
        self._listener: Listener | None = None
        self._bad_tls = bad_tls
        self._context = _context(hostname, ca, bad_tls) if ca is not None else None
        self._capabilities = Capabilities(
            hostname,
            lmtp=lmtp,
            starttls=ca is not None,
            auth_mechanisms=("PLAIN", "LOGIN") if self.users else (),
            auth_without_tls=ca is None,
            auth_required=bool(self.users),
            message_size_limit=message_size_limit,
        )

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; the same address and port again after `refuse`. Raises OSError."""
        listening = socket.create_server((self.address or address, self.port or port))
        self.address, self.port = listening.getsockname()
        context = self._context
        self._listener = Listener(
            self.hostname, [listening], self._session, tls=(lambda: context) if context else None
        )
        await self._listener.start()

    def refuse(self) -> None:
        """Connections are refused from now on; those that stand go on."""
        if self._listener is not None:
            self._listener.stop_accepting()

    async def close(self) -> None:
        """Stop, and cut all connections."""
        self.refuse()
        if self._listener is not None:
            for pump in self._listener.pumps:
                pump.abort()
            await self._listener.pumps.emptied()

    def script(self, *faults: Fault) -> None:
        """What goes wrong from now on, instead of what did; nothing: all goes well."""
        self._faults = list(faults)

    async def letter(self, index: int) -> Received:
        """The letter of that number, counted from 0, as soon as it is there."""
        await self.until(lambda: len(self.letters) > index)
        return self.letters[index]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; it is asked whenever a session comes to a step or ends."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def came_to(self, step: Step) -> int:
        """How often sessions came to a step."""
        return sum(session.steps.count(step) for session in self.sessions)

    def _session(self) -> tuple[Any, _Driver]:
        core: Any = ServerSession(self._capabilities)
        driver = _Driver(self, core)
        if self._bad_tls is BadTls.NO_HANDSHAKE:
            core = _NoHandshake(core)
        return (_Paced(core, driver, self.pace) if self.pace else core), driver

    def _fault_at(self, step: Step, recipient: str) -> Fault | None:
        for fault in self._faults:
            if fault.step is not step or fault.times == 0:
                continue
            if isinstance(fault, Answer) and fault.recipient and fault.recipient != recipient:
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None


class _Driver:
    """Decides one session by the script."""

    def __init__(self, peer: ScriptedPeer, core: ServerSession) -> None:
        self._peer = peer
        self._core = core
        self._sender = Sender(None)
        self._recipients: list[Recipient] = []
        self._content = bytearray()
        self._user = ""

    def connected(self, pump: Pump) -> None:
        self.pump = pump
        self._record = Session(pump.peer.address)
        self._peer.sessions.append(self._record)

    def closed(self, reason: str) -> None:
        self._record.ended = reason
        self._peer._changed.set()

    def handle(self, event: Any) -> Any:
        match event:
            case events.Connected():
                return self._at(Step.CONNECT, None, then=lambda: self._later(Step.GREETED))
            case events.Helo():
                return self._at(Step.HELO, None)
            case events.StartTls():
                return self._at(Step.STARTTLS, None)
            case events.Auth(_, Credentials(name, password)):
                known = self._peer.users.get(name) == password
                self._user = name if known else ""
                return self._at(Step.AUTH, AUTHENTICATED if known else AUTH_INVALID)
            case events.Mail(sender):
                self._sender, self._recipients = sender, []
                return self._at(Step.MAIL, SENDER_OK)
            case events.Rcpt(recipient):
                return self._at_recipient(recipient)
            case events.Data():
                self._content.clear()
                return self._at(Step.DATA, None)
            case events.Chunk(data):
                first = not self._content
                self._content += data
                return self._at(Step.CONTENT, None) if first else None
            case events.EndOfData():
                return self._at_end_of_data()
            case events.Quit():
                return self._at(Step.QUIT, None)
            case _:
                return None

    def _at_recipient(self, recipient: Recipient) -> Any:
        answer = self._at(Step.RCPT, RECIPIENT_OK, str(recipient.address))
        if answer is RECIPIENT_OK:
            self._recipients.append(recipient)
        return answer

    def _at_end_of_data(self) -> Any:
        peer = self._peer
        usual = queued_as(f"{self._peer.hostname}-{len(peer.letters) + 1}")
        answer = self._at(Step.END_OF_DATA, usual)
        if not isinstance(answer, Reply) or answer.positive:
            peer.letters.append(
                Received(
                    self._sender,
                    list(self._recipients),
                    bytes(self._content),
                    self._record.client,
                    self._core.helo,
                    self._core.tls,
                    self._user,
                )
            )
            if answer is usual:
                self._later(Step.ACCEPTED)
        if isinstance(answer, Reply) and self._peer._capabilities.lmtp:
            return [answer] * len(self._recipients)
        return answer

    def _later(self, step: Step) -> None:
        """Come to `step` when what is being answered has been written."""
        asyncio.get_running_loop().call_soon(self._at, step, None)

    def _at(
        self, step: Step, usual: Reply | None, recipient: str = "", then: Callable[[], object] | None = None
    ) -> Any:
        """The session came to a step: the fault of the script, or the usual answer."""
        self._record.steps.append(step)
        self._peer._changed.set()
        match self._peer._fault_at(step, recipient):
            case Answer(_, reply):
                return _reply(reply)
            case Drop():
                self.pump.close("dropped")
                return _never()
            case Break():
                _break(self.pump)
                return _never()
            case Hang(_, seconds):
                return _never() if seconds is None else _after(seconds, usual)
        if then is not None:
            then()
        return usual


def _never() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def _after(seconds: float, reply: Reply | None) -> Reply | None:
    await asyncio.sleep(seconds)
    return reply


def _break(pump: Pump) -> None:
    pump.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    pump.abort("broken")


def _reply(text: str) -> Reply:
    """`451 4.7.1 Not now` as a Reply; the enhanced code may be missing."""
    code, _, rest = text.partition(" ")
    enhanced, _, words = rest.partition(" ")
    if enhanced.count(".") == 2 and enhanced.replace(".", "").isdigit():
        return Reply(int(code), enhanced, words)
    return Reply(int(code), "", rest)


def _context(hostname: str, ca: PocketCa, bad_tls: BadTls | None) -> ssl.SSLContext:
    match bad_tls:
        case BadTls.EXPIRED:
            return ca.server_context(hostname, expired=True)
        case BadTls.WRONG_NAME:
            return ca.server_context("somebody-else.invalid")
        case BadTls.STRANGE:
            return ServerTls(lambda: [self_signed(Path(ca.certificate).parent, hostname)])()
        case _:
            return ca.server_context(hostname)


class _Wrapped:
    """A core that does one thing differently."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class _NoHandshake(_Wrapped):
    """Says 220 to STARTTLS and goes on in clear, which no TLS client understands."""

    @property
    def wants_tls(self) -> bool:
        if self._core.wants_tls:
            self._core.tls_started("")
            self._core.tls = ""
        return False


class _Paced(_Wrapped):
    """Writes octet by octet."""

    def __init__(self, core: Any, driver: _Driver, pace: float) -> None:
        super().__init__(core)
        self._driver = driver
        self._pace = pace
        self._waiting = bytearray()
        self._writing = False

    @property
    def closing(self) -> bool:
        return bool(self._core.closing) and not self._waiting

    @property
    def wants_tls(self) -> bool:
        return bool(self._core.wants_tls) and not self._waiting

    def take_output(self) -> bytes:
        self._waiting += self._core.take_output()
        if self._waiting and not self._writing:
            self._writing = True
            self._write_one()
        return b""

    def _write_one(self) -> None:
        if not self._waiting:
            self._writing = False
            return
        octet = bytes(self._waiting[:1])
        del self._waiting[:1]
        self._driver.pump.push(octet)
        asyncio.get_running_loop().call_later(self._pace, self._write_one)
