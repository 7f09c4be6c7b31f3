"""Takes one letter to one next hop, here and now, and shows each step: for `posthouse send`.

Hosts and addresses are tried in the order in which outbound would try them. Where TLS is only welcome
(`may`), a failed handshake is followed by a connection without it, as between servers (RFC 7435); never
where somebody logs in.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from posthouse.cli.dialogue import Dialogue, HandshakeFailed, Secured, reason
from posthouse.cli.handshake import Wish, shake_hands
from posthouse.cli.trace import Trace
from posthouse.mail.address import Address
from posthouse.mail.envelope import BodyType, Recipient, Sender
from posthouse.mail.outcome import Delivered, outcome_of
from posthouse.mail.reply import Reply
from posthouse.net.dns import StubResolver, system_dns
from posthouse.net.tls import ClientTls
from posthouse.outbound.hop import NextHop, is_ip_address
from posthouse.outbound.mx import NO_USABLE_HOST, Route, Target, find_route
from posthouse.outbound.send import TARGET_LIMIT
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.client import ClientSession, Lost, Ready, SecurityLevel
from posthouse.protocol.smtp.outgoing import Finished, Timeouts, Transaction

TlsChoice: TypeAlias = Literal["may", "none", "starttls", "implicit"]

Again: TypeAlias = Literal["", "elsewhere", "without TLS"]

_LEVELS: dict[TlsChoice, SecurityLevel] = {
    "may": "may",
    "none": "none",
    "starttls": "encrypt",
    "implicit": "encrypt",
}
_CONNECT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to speak to every server."""

    hello: str
    tls: TlsChoice
    verify: bool
    contexts: ClientTls
    credentials: Credentials | None
    timeout: float
    """Seconds to wait for a reply; the one to the letter may take ten times as long."""
    nameservers: list[tuple[str, int]]
    """Empty: the system's."""
    hosts_file: bool
    """A host that was named is looked up as this system does it, /etc/hosts included."""


class Carried(NamedTuple):
    """What became of the letter."""

    replies: tuple[Reply, ...]
    """One for each recipient, in order."""
    place: str
    """Who said so: `host[address]:port`; empty where nobody was reached."""
    again: Again = ""
    """It did not come to the letter: another host may take it, or the same one in plain text."""


class _Chance:
    """ports.Random."""

    def random(self) -> float:
        return random.random()

    def token(self, octets: int) -> bytes:
        return secrets.token_bytes(octets)

    def shuffle(self, items: list[object]) -> None:
        random.shuffle(items)


class _Clock:
    """ports.Clock."""

    def now(self) -> float:
        return time.time()


class Carrier:
    """Takes a letter to its next hops, one after the other."""

    def __init__(self, settings: Settings, trace: Trace) -> None:
        self._settings = settings
        self._trace = trace

    def carry(self, hop: NextHop, sender: Address, recipients: list[Address], letter: bytes) -> Carried:
        """One attempt for all of these recipients."""
        route = self._route(hop)
        for answer in route.answers:
            self._trace.note("DNS", answer)
        if not route.targets:
            outcome = route.outcome
            return Carried((outcome.reply if outcome else NO_USABLE_HOST,) * len(recipients), "")
        internationalized = not all(a.ascii for a in (sender, *recipients))
        body = BodyType.SEVEN_BIT if letter.isascii() else BodyType.EIGHT_BIT_MIME
        transaction = Transaction(
            Sender(sender, len(letter), body),
            tuple(map(Recipient, recipients)),
            len(letter),
            letter,
            internationalized,
        )
        carried = Carried((NO_USABLE_HOST,) * len(recipients), "")
        for target in route.targets[:TARGET_LIMIT]:
            carried = self._try(target, transaction)
            if not carried.again:
                break
        return carried

    # ── where to ─────────────────────────────────────────────────────────────────────────────────

    def _route(self, hop: NextHop) -> Route:
        if not hop.look_up_mx and self._settings.hosts_file and not is_ip_address(hop.name):
            return _as_the_system_does(hop)
        if self._trace.on and not is_ip_address(hop.name):
            servers = self._settings.nameservers or system_dns().servers
            asked = ", ".join(f"{server[0]} port {server[1]}" for server in servers)
            what = f"the mail hosts (MX) of {hop.name}" if hop.look_up_mx else f"the addresses of {hop.name}"
            self._trace.note("DNS", f"asking {asked}", f"We look up {what}.")
        return asyncio.run(self._look_up(hop))

    async def _look_up(self, hop: NextHop) -> Route:
        resolver = StubResolver(self._settings.nameservers, _Clock())
        try:
            return await find_route(hop, resolver, _Chance(), lambda host, port: False)
        finally:
            resolver.close()

    # ── one server ───────────────────────────────────────────────────────────────────────────────

    def _try(self, target: Target, transaction: Transaction) -> Carried:
        settings = self._settings
        level = _LEVELS[settings.tls]
        if level == "may" and settings.verify:
            level = "encrypt"
        carried = self._speak(target, transaction, level)
        if carried.again == "without TLS" and level == "may" and settings.credentials is None:
            self._trace.note(
                "TLS",
                "once more without",
                "Encryption was only welcome, so we try again without it (RFC 7435).",
            )
            carried = self._speak(target, transaction, "none")
        return carried

    def _speak(self, target: Target, transaction: Transaction, level: SecurityLevel) -> Carried:
        settings, trace = self._settings, self._trace
        everybody = len(transaction.recipients)
        try:
            connection = self._connect(target)
        except OSError as error:
            trace.note("TCP", f"cannot connect to {target.place}: {reason(error)}")
            reply = Reply(450, "4.4.1", f"Cannot connect to {target.place}: {reason(error)}")
            return Carried((reply,) * everybody, "", "elsewhere")
        info = ""
        try:
            if settings.tls == "implicit":
                connection, info = self._secure(connection, target)
        except HandshakeFailed as error:
            reply = Reply(451, "4.7.5", f"TLS handshake failed: {error}")
            return Carried((reply,) * everybody, target.place, "elsewhere")
        session = ClientSession(
            settings.hello,
            time.monotonic,
            level=level,
            credentials=settings.credentials,
            timeouts=_timeouts(settings.timeout),
            tls=info,
        )
        dialogue = Dialogue(
            session, connection, tell=trace.line, secure=lambda plain: self._secure(plain, target)
        )
        return self._converse(dialogue, target, transaction)

    def _converse(self, dialogue: Dialogue, target: Target, transaction: Transaction) -> Carried:
        event = dialogue.event()
        if not isinstance(event, Ready):
            dialogue.close()
            assert isinstance(event, Lost)
            replies = (event.reply,) * len(transaction.recipients)
            if event.phase == "auth":
                return Carried(replies, target.place)
            again: Again = "without TLS" if dialogue.handshake_failed else "elsewhere"
            return Carried(replies, target.place, again)
        dialogue.session.send(transaction)
        event = dialogue.event()
        dialogue.close()
        assert isinstance(event, Finished)
        if event.in_doubt:
            self._trace.note("END", "no reply to the letter", "It may have arrived all the same (RFC 1047).")
        return Carried(event.replies, target.place)

    def _connect(self, target: Target) -> socket.socket:
        connection = socket.create_connection(
            (target.address, target.port), min(_CONNECT_TIMEOUT, self._settings.timeout)
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        here = connection.getsockname()[:2]
        self._trace.note("TCP", f"connected to {target.place} from {here[0]} port {here[1]}")
        return connection

    def _secure(self, connection: socket.socket, target: Target) -> Secured:
        settings = self._settings
        wish = Wish(settings.contexts, settings.verify, settings.timeout)
        try:
            handshake = shake_hands(connection, target.host, wish)
        except HandshakeFailed as error:
            self._trace.note("TLS", f"the handshake failed: {error}")
            raise
        secured = handshake.secured
        self._trace.note(
            "TLS",
            f"{secured.info}, in {handshake.seconds * 1000:.0f} ms",
            "From here on the connection is encrypted.",
        )
        if handshake.certificate:
            self._trace.note("TLS", f"certificate {handshake.certificate}")
        return secured


def _timeouts(seconds: float) -> Timeouts:
    return Timeouts(seconds, seconds, seconds, seconds, final=10 * seconds, quit=min(5.0, seconds))


def _as_the_system_does(hop: NextHop) -> Route:
    try:
        found = socket.getaddrinfo(hop.name, hop.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        reply = NO_USABLE_HOST.saying(f"{hop.name} cannot be found: {told}")
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            reply = Reply(451, "4.4.3", f"{hop.name} cannot be looked up now: {told}")
        outcome = outcome_of(reply)
        assert not isinstance(outcome, Delivered)
        return Route((), (f"{hop.name}: {told}",), outcome)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    targets = tuple(Target(hop.name, address, hop.port) for address in addresses)
    return Route(targets, (f"{hop.name}: {', '.join(addresses)} (as this system resolves it)",))
