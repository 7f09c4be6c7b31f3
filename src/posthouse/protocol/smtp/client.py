"""The client's side of an SMTP or LMTP session (RFC 5321, RFC 2033), without input or output.

The session introduces itself: greeting, EHLO (HELO where EHLO is unknown), STARTTLS, AUTH; then `Ready`.
`send` begins a transaction, which ends with `Finished`: one reply for each recipient. Commands go out in
groups where the server offers PIPELINING, and a letter held in memory goes by one BDAT where it offers
CHUNKING; so a letter takes a single round trip at best.

It promises that every recipient gets a reply whatever the server does: 421 anywhere, a lost connection,
silence, or nonsense all become replies of ours with 4xx. `Finished.in_doubt` tells of the one window in
which a letter may have arrived all the same (RFC 5321 §4.5.3.2.6, RFC 1047). The dialogue is recorded, with
secrets replaced and content counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from posthouse.mail.reply import Reply
from posthouse.protocol import sasl
from posthouse.protocol.smtp.outgoing import Finished, OutgoingLetter, Timeouts, Transaction
from posthouse.protocol.smtp.replies import BadReply, ReplyReader
from posthouse.protocol.speaker import Speaker

SecurityLevel: TypeAlias = Literal["none", "may", "encrypt", "secure"]
"""Postfix's smtp_tls_security_level: none; where offered; or nothing; with a fitting certificate."""

_WHILE = {
    "greeting": "while waiting for the greeting",
    "hello": "while waiting for the reply to EHLO",
    "starttls": "while waiting for the reply to STARTTLS",
    "auth": "while authenticating",
    "quit": "while waiting for the reply to QUIT",
}


class Line(NamedTuple):
    """One line of a dialogue."""

    direction: str
    """`C` for what we said, `S` for what the server said."""
    text: str
    seconds: float
    """Since the first line of the dialogue."""


class Ready(NamedTuple):
    """Introductions are over: the session can take a transaction, and the next after each Finished."""


class WantsContent(NamedTuple):
    """354 has come: `write` the content, then `finish`."""


class Lost(NamedTuple):
    """The session is over before it was ready."""

    reply: Reply
    phase: str
    """greeting, hello, starttls, auth"""


class _Loss(NamedTuple):
    """How a session ended: `OutgoingLetter.lost`."""

    reply: Reply
    silently: bool
    cut: bool


Event: TypeAlias = Ready | WantsContent | Finished | Lost


class ClientSession(Speaker):
    """One connection to a server."""

    __slots__ = (
        "_answers", "_awaiting", "_began", "_clock", "_credentials", "_dialogue", "_events", "_hostname",
        "_letter", "_level", "_loss", "_mechanism", "_output", "_phase", "_reset_needed", "authenticated",
        "closing", "extensions", "lmtp", "timeouts", "tls", "wants_tls",
    )  # fmt: skip

    def __init__(
        self,
        hostname: str,
        clock: Callable[[], float],
        *,
        lmtp: bool = False,
        level: SecurityLevel = "may",
        credentials: sasl.Credentials | None = None,
        timeouts: Timeouts | None = None,
        tls: str = "",
    ) -> None:
        """`hostname` is what we call ourselves; `clock` gives seconds, for the dialogue.

        `tls` describes the TLS session where it began before SMTP did (port 465).
        """
        self._hostname = hostname
        self._clock = clock
        self.lmtp = lmtp
        self._level = level
        self._credentials = credentials
        self.timeouts = timeouts or Timeouts()
        self._began = 0.0
        self._answers = ReplyReader()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._awaiting: deque[tuple[Callable[[Reply], None], float]] = deque()
        self._dialogue: list[Line] = []
        self._phase = "greeting"
        self._mechanism: sasl.ClientMechanism | None = None
        self._letter: OutgoingLetter | None = None
        self._loss: _Loss | None = None
        self._reset_needed = False
        self.authenticated = False
        self.extensions: dict[str, str] = {}
        """What EHLO offered: keyword → parameters."""
        self.tls = tls
        self.wants_tls = False
        """220 to STARTTLS has come: shake hands, then call `tls_started`."""
        self.closing = False
        """Write the output and close."""
        self.expect(self._greeted, self.timeouts.greeting)

    # ── what the driver does ─────────────────────────────────────────────────────────────────────

    @property
    def timeout(self) -> float:
        """Seconds to wait for the server before `time_out`; infinite when nothing is awaited."""
        if self.closing:
            return self.timeouts.quit
        if self.wants_tls:
            return self.timeouts.command
        if self._letter is not None and self._letter.writing:
            return self.timeouts.block
        return self._awaiting[0][1] if self._awaiting else float("inf")

    @property
    def idle(self) -> bool:
        """Ready for a transaction."""
        return self._phase == "idle" and not self.closing and not self._awaiting

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        if self.closing:
            return
        self._answers.feed(data)
        while not (self.closing or self.wants_tls):
            try:
                reply = self._answers.next_reply()
            except BadReply as error:
                self.lose(Reply(451, "4.5.0", f"Protocol error: {error}"))
                return
            if reply is None:
                return
            self._record_reply(reply)
            self._take(reply)

    def connection_lost(self, why: str = "") -> None:
        """The connection is gone; also when no more octets can come."""
        if not self.closing:
            told = f"Connection lost {self._while()}" + (f": {why}" if why else "")
            self.lose(Reply(421, "4.4.2", told), silently=True, cut=True)

    def time_out(self) -> None:
        """The server kept silent for `timeout` seconds."""
        if not self.closing:
            self.lose(Reply(421, "4.4.2", f"Timed out {self._while()}"), silently=True)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def take_dialogue(self) -> list[Line]:
        """The dialogue since this was last asked."""
        dialogue, self._dialogue = self._dialogue, []
        return dialogue

    def tls_started(self, info: str) -> None:
        """TLS stands; `info` is like `TLSv1.3 TLS_AES_256_GCM_SHA384`. We introduce ourselves anew."""
        self.wants_tls = False
        self.tls = info
        self._say_hello()

    def quit(self) -> None:
        """Say QUIT; `closing` once it is answered."""
        if not self.closing:
            self._phase = "quit"
            self.command(b"QUIT\r\n", self._bye, self.timeouts.quit)

    # ── plumbing ─────────────────────────────────────────────────────────────────────────────────

    def _record_reply(self, reply: Reply) -> None:
        now = self._seconds()
        status = f"{reply.enhanced} " if reply.enhanced else ""
        *first, last = reply.text.split("\n")
        self._dialogue += [Line("S", f"{reply.code}-{status}{text}", now) for text in first]
        self._dialogue.append(Line("S", f"{reply.code} {status}{last}", now))

    def _take(self, reply: Reply) -> None:
        if not self._awaiting:
            self.lose(reply if reply.code == 421 else Reply(451, "4.5.0", f"Protocol error: unasked {reply}"))
            return
        handler, _ = self._awaiting.popleft()
        if reply.code == 421 and self._phase != "quit":  # RFC 5321 §3.8: at any place
            self.lose(reply)
        else:
            handler(reply)

    def _while(self) -> str:
        if self._letter is not None:
            return self._letter.phase
        return _WHILE.get(self._phase, "while idle")

    # ── introductions ────────────────────────────────────────────────────────────────────────────

    def _greeted(self, reply: Reply) -> None:
        if reply.code == 220:
            self._say_hello()
        else:
            self.lose(reply)

    def _say_hello(self) -> None:
        self._phase = "hello"
        verb = "LHLO" if self.lmtp else "EHLO"
        self.command(f"{verb} {self._hostname}\r\n".encode(), self._ehlo_answered, self.timeouts.command)

    def _ehlo_answered(self, reply: Reply) -> None:
        self.extensions = {}
        if reply.code == 250:
            for line in reply.text.split("\n")[1:]:
                keyword, _, parameters = line.partition(" ")
                if keyword[:5].upper() == "AUTH=":  # as old servers have it
                    keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
                self.extensions[keyword.upper()] = parameters.strip()
            self._secure()
        elif reply.permanent and not self.lmtp:  # RFC 5321 §3.2
            helo = f"HELO {self._hostname}\r\n".encode()
            self.command(helo, self._helo_answered, self.timeouts.command)
        else:
            self.lose(reply)

    def _helo_answered(self, reply: Reply) -> None:
        if reply.code == 250:
            self._secure()
        else:
            self.lose(reply)

    def _secure(self) -> None:
        if self.tls or self._level == "none":
            self._authenticate()
        elif "STARTTLS" in self.extensions:
            self._phase = "starttls"
            self.command(b"STARTTLS\r\n", self._starttls_answered, self.timeouts.command)
        elif self._level != "may":
            self._phase = "starttls"
            self.lose(Reply(451, "4.7.4", "TLS is required, but the server does not offer STARTTLS"))
        else:
            self._authenticate()

    def _starttls_answered(self, reply: Reply) -> None:
        if reply.code == 220:
            if len(self._answers):  # RFC 3207 §6: somebody injects plain text
                self.lose(Reply(451, "4.7.0", "Protocol error: plain text after the reply to STARTTLS"))
                return
            self.wants_tls = True
        elif self._level != "may":
            self.lose(reply)
        else:
            self._authenticate()

    def _authenticate(self) -> None:
        if self._credentials is None:
            self._introduced()
            return
        self._phase = "auth"
        if not self.tls and self._level != "none":
            self.lose(Reply(454, "4.7.0", "There is no TLS, and a password does not go without it"))
            return
        offered = self.extensions.get("AUTH", "").upper().split()
        name = next((name for name in sasl.CLIENT_MECHANISMS if name in offered), None)
        if name is None:
            self.lose(Reply(454, "4.7.0", "The server offers no way to authenticate that we know"))
            return
        self._mechanism = mechanism = sasl.CLIENT_MECHANISMS[name](self._credentials)
        initial = mechanism.initial
        auth = b"AUTH " + name.encode()
        if initial is not None:
            auth += b" " + (sasl.encode(initial) or b"=")
        self._output.append(auth + b"\r\n")
        secret = "" if initial is None else " [secret]"
        self.note(f"AUTH {name}{secret}")
        self.expect(self._auth_answered, self.timeouts.command)

    def _auth_answered(self, reply: Reply) -> None:
        if reply.code == 235:
            self.authenticated = True
            self._mechanism = None
            self._introduced()
        elif reply.code == 334 and self._mechanism is not None:
            try:
                response = sasl.encode(self._mechanism.step(sasl.decode(reply.text.strip().encode())))
                shown = "[secret]"
            except sasl.SaslError:
                self._mechanism, response, shown = None, b"*", "*"  # RFC 4954 §4: cancel
            self._output.append(response + b"\r\n")
            self.note(shown)
            self.expect(self._auth_answered, self.timeouts.command)
        else:
            self.lose(reply)

    def _introduced(self) -> None:
        self._phase = "idle"
        self._events.append(Ready())

    def _bye(self, reply: Reply) -> None:
        self.closing = True

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    def send(self, transaction: Transaction) -> None:
        """Begin a transaction; only after Ready. One of a session that was lost since is finished at once."""
        letter = OutgoingLetter(self, transaction)
        if self._loss is not None:
            reply, silently, cut = self._loss
            self._events.append(letter.lost(reply, silently=silently, cut=cut))
            return
        self._phase = "transaction"
        self._letter = letter
        if self._reset_needed:
            self._reset_needed = False
            self.command(b"RSET\r\n", self._ignore, self.timeouts.command)
        letter.begin()

    def write(self, piece: bytes) -> None:
        """A piece of the content, after WantsContent."""
        if self._letter is not None:
            self._letter.write(piece)

    def finish(self) -> None:
        """The content is complete."""
        if self._letter is not None:
            self._letter.finish()

    def _ignore(self, reply: Reply) -> None:
        """The reply to RSET changes nothing: MAIL's tells whether it worked."""

    # ── what a letter asks of its session (outgoing.Speaker) ─────────────────────────────────────

    def command(self, line: bytes, handler: Callable[[Reply], None], timeout: float) -> None:
        self._output.append(line)
        self.note(line[:-2].decode("utf-8", "replace"))
        self._awaiting.append((handler, timeout))

    def put(self, octets: bytes) -> None:
        self._output.append(octets)

    def note(self, text: str) -> None:
        self._dialogue.append(Line("C", text, self._seconds()))

    def _seconds(self) -> float:
        if not self._dialogue:
            self._began = self._clock()
            return 0.0
        return self._clock() - self._began

    def expect(self, handler: Callable[[Reply], None], timeout: float) -> None:
        self._awaiting.append((handler, timeout))

    def want_content(self) -> None:
        self._events.append(WantsContent())

    def done(self, finished: Finished, *, reset: bool) -> None:
        self._letter = None
        self._reset_needed = reset
        self._phase = "idle"
        self._events.append(finished)

    def lose(self, reply: Reply, *, silently: bool = False, cut: bool = False) -> None:
        """The session is over; whoever waits for a decision gets `reply`, ours when the server was silent."""
        if self.closing:
            return
        if reply.code < 400:  # a yes to what was never asked must not pass for one
            reply = Reply(451, "4.5.0", f"Protocol error: unexpected reply {reply}")
        self.closing = True
        self._awaiting.clear()
        self._output.clear()
        letter, self._letter = self._letter, None
        if letter is not None:
            self._events.append(letter.lost(reply, silently=silently, cut=cut))
        elif self._phase == "idle":
            self._loss = _Loss(reply, silently, cut)
        elif self._phase != "quit":
            self._events.append(Lost(reply, self._phase))
