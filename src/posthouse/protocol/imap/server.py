"""The IMAP server core: octets in, commands out; results in, octets out (RFC 3501).

An event is a command value of `commands`, or one of those below; it is answered by a `Result`, which
the session writes under the command's tag, or by None where there is nothing to say:

- `Connected` → None (greet), or a Result that is not OK: BYE.
- `Login` (LOGIN, or AUTHENTICATE by a mechanism that sends the password), `sasl.Evidence` (by another)
  → Result, or `sasl.Refused`, which holds one. `sasl.KeysWanted` → `sasl.Keys`, or a Result that refuses.
- `Append` → None (send the message), or a Result that refuses it; then `Literal` → None, for each
  piece of the message. `AppendNext` → as `Append`, for one message more. `CatenateText`, followed by
  its `Literal`s, and `CatenateUrl` → as `Append`, for parts of a message that is put together.
  `AppendWhole` → the same for several that have arrived, with no `Literal` to follow.
  `AppendEnd` → Result, or `AppendAbort` → None: the command was wrong after all, or too long, forget
  the messages.
- `Idle` → None (idling begins) or a Result; `IdleEnd` → Result.
- all others → Result.

Untagged data goes out before the result: little of it in `Result.untagged`, much of it written by the
driver while its event is outstanding. One event is outstanding at a time; what a client pipelines
waits. States, guards, CAPABILITY, STARTTLS, ENABLE, ID, NAMESPACE and LOGOUT are dealt with here.
Every bound is in `Limits`. What a literal may do to the end of a command is in `framing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from posthouse.protocol import sasl
from posthouse.protocol.imap import commands, notifying
from posthouse.protocol.imap.appending import Appending
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.events import (
    BAD_CREDENTIALS,
    TRY_LATER,
    UNKNOWN_CHARSET,
    AppendAbort,
    AppendEnd,
    AppendWhole,
    Connected,
    Event,
    IdleEnd,
    Literal,
    Result,
)
from posthouse.protocol.imap.framing import CommandText, Framer, LiteralHeader, LiteralPiece
from posthouse.protocol.imap.notifying import UnknownEvent
from posthouse.protocol.imap.offers import NO_LIMITS, Offers
from posthouse.protocol.imap.searching import FilterCharset, UnknownCharset
from posthouse.protocol.imap.session_commands import ANSWERS, capabilities
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, read_tag
from posthouse.protocol.imap.verbs import Head, State, read_fetch_of_one, read_head
from posthouse.protocol.language import DEFAULT, translated
from posthouse.protocol.lines import BareLineEnding, LineBuffer, LineTooLong

__all__ = [
    "BAD_CREDENTIALS", "TRY_LATER", "AppendAbort", "AppendEnd", "AppendWhole", "Connected", "Event",
    "IdleEnd", "Limits", "Literal", "Result", "ServerSession",
]  # fmt: skip

_UIDS_ONLY = Result("BAD", "Messages are named by UID alone", "UIDREQUIRED")  # RFC 9586 §3.1
_BAD_EVENT = Result(
    "NO", "There is no such event here", f"BADEVENT ({' '.join(event.value for event in notifying.Event)})"
)  # RFC 5465 §5
_FILTER_CHARSET = Result(
    "BAD", "A search by FILTER is in UTF-8", "BADCHARSET (US-ASCII UTF-8)"
)  # RFC 5466 §3.1
_APPENDING = ("APPEND", "REPLACE")
_NEEDS_TLS = Result("NO", "Start TLS first: passwords are not taken in clear", "PRIVACYREQUIRED")
_NO_PASSWORDS = Result("NO", "Passwords are not taken here", "CANNOT")
T = TypeVar("T")


class Limits(NamedTuple):
    """What one client may ask of one session."""

    command: int = 64 * 1024
    """Octets of a command with its literals; the message of an APPEND does not count."""
    command_before_login: int = 16 * 1024
    errors: int = 20
    """Bad commands in a row, or failed logins, after which the session ends."""
    login: float = 180.0
    """Seconds of silence allowed before login."""
    idle: float = 1800.0
    """Seconds of silence allowed after it; not less than 30 minutes (RFC 3501 §5.4)."""


DEFAULT_LIMITS = Limits()
_LOGINS = commands.Login | sasl.Proof | sasl.Certificate | sasl.Token
_NEW_CAPABILITIES = _LOGINS | commands.Unauthenticate
_STATE_CHANGES = frozenset(
    {
        commands.Login, sasl.Proof, sasl.Certificate, sasl.Token,
        commands.Unauthenticate, commands.Select, commands.Close, commands.Unselect,
    }
)  # fmt: skip


class ServerSession:
    """One IMAP session. See the module's page for its events.

    `tls_available`: STARTTLS is offered. `secure`: the connection is encrypted already (IMAPS).
    `plaintext_login`: passwords are taken without encryption too (loopback).
    `mechanisms`: of SASL, those that are configured.
    `offers`: as CAPABILITY tells; the driver holds to the limits.
    """

    def __init__(
        self,
        hostname: str,
        *,
        tls_available: bool = False,
        secure: bool = False,
        plaintext_login: bool = False,
        offers: Offers = NO_LIMITS,
        mechanisms: Sequence[str] = sasl.USUAL,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.enabled = Enabled()
        self.closing = False
        self.language = DEFAULT
        self.rested: Callable[[], None] | None = None
        """Called when a command has been answered and no other is in hand."""
        self.wants_tls = False
        self.timeout = limits.login
        self.tls_available = tls_available
        self.secure = secure
        self.offers = offers
        self._mechanisms = mechanisms
        self._channel = sasl.PRIVATE if secure or plaintext_login else sasl.IN_CLEAR
        self._hostname = hostname
        self._limits = limits
        self._lines = LineBuffer()
        self._framer = Framer(self._lines, limits.command_before_login)
        self._output: list[bytes] = []
        self._event: Event | None = Connected()
        self._outstanding: Event | None = None
        self._tag = b"*"
        self._appending: Appending | None = None
        self._open = False
        self._header: LiteralHeader | None = None
        self._further: deque[Event] = deque()
        self._failure: Result | None = None
        self._exchange: sasl.Exchange | None = None
        self._idling = False
        self._ended = False
        self._draining = False
        self._errors = 0

    @property
    def tag(self) -> bytes:
        """Of the command in hand."""
        return self._tag

    # What the pump calls

    def allow_plaintext_login(self) -> None:
        """Take passwords without encryption from this client: nobody can listen in between."""
        self._channel = self._channel._replace(private=True)

    def receive(self, data: bytes) -> None:
        """Takes octets from the client."""
        if not self.closing:
            self._lines.feed(data)

    def receive_eof(self) -> None:
        """The client will send no more; what it has sent is still answered."""
        self._ended = True

    def next_event(self) -> Event | None:
        """The next event to answer; None while one is outstanding or more octets are needed."""
        if self._outstanding is not None:
            return None
        while self._event is None and not self.closing and not self.wants_tls:
            if not self._advance():
                break
        if self._event is None or self.closing:
            if self._ended and not self.wants_tls:
                self.closing = True
            return None
        event, self._event = self._event, None
        self._outstanding = event
        return event

    def answer(self, decision: Result | sasl.Keys | sasl.Refused | None) -> None:
        """Answers the outstanding event: keys where they are wanted, else a result."""
        event, self._outstanding = self._outstanding, None
        if isinstance(decision, sasl.Keys):
            assert self._exchange is not None
            return self._challenge(self._exchange.challenge(decision))
        if isinstance(decision, sasl.Refused):
            assert self._exchange is not None
            return self._challenge(self._exchange.refuse(decision))
        self._exchange = None
        if decision is not None and decision.untagged:
            self._output.append(decision.untagged)
        if decision is not None and decision.status == "BYE":
            self._bye(decision.text, decision.code)
        else:
            _ANSWERED.get(type(event), ServerSession._answer_command)(self, event, decision)
        if self._draining and self.at_rest:
            self._bye("Server is shutting down", "UNAVAILABLE")
        if self.rested is not None and self.at_rest:
            self.rested()

    def take_output(self) -> bytes:
        """All octets that wait to be written."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def tls_started(self, info: str, channel: sasl.Channel = sasl.PRIVATE) -> None:
        """The TLS handshake is done. What came in clear before it is forgotten (RFC 3501 §6.2.1)."""
        self._channel = channel
        self.wants_tls = False
        self.secure = True
        self._lines.clear()

    def time_out(self) -> None:
        """The client was silent for `timeout` seconds: the session ends."""
        self._bye("Idle for too long")

    def fail(self) -> None:
        """Something broke on our side: the session cannot go on."""
        self._bye("Internal error, try again later", "SERVERBUG")

    def shut_down(self) -> None:
        """The server stops: BYE now, or after the command in flight."""
        self._draining = True
        if self.at_rest:
            self._bye("Server is shutting down", "UNAVAILABLE")

    @property
    def at_rest(self) -> bool:
        """No command is in hand, but perhaps IDLE."""
        waiting = self._event is not None or self._appending is not None or bool(self._further)
        return self._outstanding is None and not waiting

    # Input

    def _advance(self) -> bool:
        """Takes one step through what has arrived; False when it needs more."""
        if self._exchange is not None or self._idling:
            return self._bare_line()
        if self._further:
            self._event = self._further.popleft()
            return True
        if self._appending is not None and self._failure is None:
            messages = self._appending.whole(self._framer)
            if messages:
                self._event = AppendWhole(messages)
                return True
        if not self._framer.has_input:
            return False
        try:
            frame = self._framer.next_frame()
        except LineTooLong:
            # What follows a cut line can no longer be told from a literal: the session cannot go on.
            self._bye("Command line too long", "TOOBIG")
            return True
        except BareLineEnding:
            self._line_ending_wrong()
            return True
        if frame is None:
            return False
        if isinstance(frame, LiteralHeader):
            self._literal_announced(frame)
        elif isinstance(frame, LiteralPiece):
            if frame.octets:
                self._event = Literal(frame.octets)
        else:
            self._text_complete(frame)
        return True

    def _bare_line(self) -> bool:
        """A line that is no command: a SASL response, or DONE."""
        try:
            line = self._lines.next_line(sasl.RESPONSE_LIMIT)
        except (LineTooLong, BareLineEnding):
            line = b"\n"
        if line is None:
            return False
        if self._exchange is not None:
            self._step(self._exchange.respond, line)
            return True
        self._idling = False
        self._event = IdleEnd()
        if line.upper() != b"DONE":
            self._failure = Result("BAD", "Expected DONE")
        return True

    def _line_ending_wrong(self) -> None:
        if not self._open:
            self._tag = b"*"
        self._abort(Result("BAD", "A line must end with <CR><LF>"))

    def _abort(self, failure: Result | None) -> None:
        """The command ends here and has gone wrong; a driver that holds messages of it forgets them."""
        self._failure = failure
        self._appending = None
        if self._open:
            self._open = False
            self._event = AppendAbort()
        else:
            self._give_up()

    def _literal_announced(self, header: LiteralHeader) -> None:
        """Decides what becomes of a literal."""
        if self._failure is None and self._appending is None:
            head = self._readable_head(header.before)
            if head is not None and head.verb.name in _APPENDING:
                self._appending = Appending(head, self.enabled)
        if self._failure is None and self._appending is not None and self._stretch(header.before, header):
            self._header = header
            return
        if self._failure is None and self._framer_has_room(header):
            self._framer.collect()
            if header.synchronizing:
                self._output.append(b"+ Ready for more\r\n")
            return
        if self._failure is None:
            self._failure = Result("BAD", "The literal is too large", "TOOBIG")  # RFC 7888 §4
        if header.synchronizing:
            self._framer.refuse()
            self._abort(self._failure)
        elif self.state is State.NOT_AUTHENTICATED and header.size > self._limits.command_before_login:
            self._bye("The literal is too large", "TOOBIG")
        else:
            self._framer.skip()

    def _stretch(self, octets: bytes, literal: LiteralHeader | None) -> bool:
        """Takes a stretch of an APPEND; True when it has become events, about `literal` too."""
        assert self._appending is not None
        try:
            events = self._appending.read(octets, literal)
        except SyntaxProblem as problem:
            self._failure = Result("BAD", str(problem))
            return False
        if self.enabled.uidonly and any(
            isinstance(event, commands.Append) and commands.uses_numbers(event) for event in events or ()
        ):
            self._failure = _UIDS_ONLY
            return False
        self._further.extend(events or ())
        return events is not None

    def _framer_has_room(self, header: LiteralHeader) -> bool:
        return len(header.before) + header.size + 64 < self._framer.limit

    def _readable_head(self, octets: bytes) -> Head | None:
        """Tag and verb of a command; None, and a failure, where they are wrong."""
        try:
            head = read_head(octets)
        except SyntaxProblem as problem:
            self._tag = read_tag(octets)
            self._failure = Result("BAD", str(problem))
            return None
        self._tag = head.tag
        if head.verb.name == "UNAUTHENTICATE" and not self.offers.unauthenticate:
            self._failure = Result("BAD", f"Unknown command {head.verb.name}")
            return None
        if self.state not in head.verb.states:
            self._failure = self._wrong_state(head)
            return None
        return head

    def _text_complete(self, frame: CommandText) -> None:
        octets = frame.octets
        if self._failure is not None:
            return self._abort(self._failure)
        if self._appending is not None:
            return self._last_stretch(octets)
        if self.state is State.SELECTED and not self.enabled.uidonly:
            one = read_fetch_of_one(octets)
            if one is not None:
                self._tag, self._event = one
                return
        head = self._readable_head(octets)
        if head is None:
            return self._give_up()
        if head.verb.name in _APPENDING:
            self._appending = Appending(head, self.enabled)
            return self._last_stretch(octets)
        try:
            parser = Parser(octets, head.position, self.enabled)
            command = head.verb.read(parser, head.uid)
            parser.end()
        except SyntaxProblem as problem:
            return self._fail(str(problem))
        except UnknownEvent:
            return self._finish(_BAD_EVENT)
        except UnknownCharset:
            return self._finish(UNKNOWN_CHARSET)
        except FilterCharset:
            return self._finish(_FILTER_CHARSET)
        if self.enabled.uidonly and commands.uses_numbers(command):
            return self._finish(_UIDS_ONLY)
        if commands.turns_on_condstore(command):
            self.enabled.enable("CONDSTORE")
        answer = ANSWERS.get(type(command))
        if answer is not None:
            result = answer(self, command)
            self._output.append(result.untagged)
            self._finish(result)
        elif isinstance(command, commands.Noop) and self.state is State.NOT_AUTHENTICATED:
            self._finish(Result("OK", "NOOP completed"))  # there is no user yet, to whom to tell what is new
        elif isinstance(command, commands.Login):
            self._on_login(command)
        elif isinstance(command, commands.Authenticate):
            self._on_authenticate(command)
        else:
            self._event = command

    def _last_stretch(self, octets: bytes) -> None:
        if self._stretch(octets, None):
            self._further.append(AppendEnd())
            self._appending, self._open = None, False
        else:
            self._abort(self._failure)

    def _wrong_state(self, head: Head) -> Result:
        if self.state is State.NOT_AUTHENTICATED:
            return Result("BAD", f"{head.verb.name}: log in first")
        if State.SELECTED in head.verb.states:
            return Result("BAD", f"{head.verb.name}: select a mailbox first")
        return Result("BAD", f"{head.verb.name}: you have logged in already")

    # Logging in

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Those of SASL that can be used on this connection."""
        return sasl.offered(self._mechanisms, self._channel)

    @property
    def takes_passwords(self) -> bool:
        """Whether LOGIN may be said on this connection."""
        return self._channel.private and sasl.takes_passwords(self._mechanisms)

    def _on_login(self, command: commands.Login) -> None:
        if self.takes_passwords:
            self._event = command
        else:
            self._finish(_NO_PASSWORDS if self._channel.private else _NEEDS_TLS)

    def _on_authenticate(self, command: commands.Authenticate) -> None:
        if not self._channel.private:
            return self._finish(_NEEDS_TLS)
        offered = self.mechanisms
        if command.mechanism not in offered:
            return self._finish(Result("NO", "Unknown authentication mechanism", "CANNOT"))
        exchange = self._exchange = sasl.Exchange(command.mechanism, self._channel, offered)
        self._step(exchange.begin, command.initial)

    def _step(self, step: Callable[[T], sasl.Next], response: T) -> None:
        """One step of a SASL exchange; `response` is in base64."""
        try:
            outcome = step(response)
        except sasl.NotYourself:
            self._exchange = None
            return self._finish(Result("NO", "Acting as somebody else is not allowed", "AUTHORIZATIONFAILED"))
        except sasl.SaslError as problem:
            self._exchange = None
            return self._fail(f"Authentication failed: {problem}")  # RFC 3501 §6.2.2
        if isinstance(outcome, bytes):
            self._challenge(outcome)
        elif isinstance(outcome, sasl.Over):
            self._exchange = None
            self._finish(outcome.refusal)
        elif isinstance(outcome, sasl.Credentials):
            self._event = commands.Login(outcome.identity, outcome.password)
        else:
            self._event = outcome

    def _challenge(self, text: bytes) -> None:
        self._output.append(b"+ " + text + b"\r\n")

    # Answers

    def _answer_command(self, event: Event | None, decision: Result | None) -> None:
        result = decision or _failed(type(event).__name__)
        ok = result.status == "OK"
        if type(event) in _STATE_CHANGES:
            self._move_on(event, ok)
            if ok and isinstance(event, _NEW_CAPABILITIES):
                result = result._replace(code=f"CAPABILITY {capabilities(self)}")
        self._finish(result)

    def _answer_connected(self, event: Event | None, decision: Result | None) -> None:
        if decision is not None:
            self._bye(decision.text, decision.code)
        else:
            greeting = f"* OK [CAPABILITY {capabilities(self)}] {self._hostname} Posthouse ready\r\n"
            self._output.append(greeting.encode())

    def _answer_idle(self, event: Event | None, decision: Result | None) -> None:
        if decision is not None:
            self._answer_command(event, decision)
            return
        self._idling = True
        self._output.append(b"+ idling\r\n")

    def _answer_abort(self, event: Event | None, decision: Result | None) -> None:
        self._give_up()

    def _answer_literal(self, event: Event | None, decision: Result | None) -> None:
        """A piece of a message gets no answer."""

    def _answer_append(self, event: Event | None, decision: Result | None) -> None:
        """None: go on, with the literal where all before it has been taken. Else the command is refused."""
        if decision is None:
            self._open = self._appending is not None
            if self._further or self._header is None:
                return
            if self._header.synchronizing:
                self._output.append(b"+ Ready for the message\r\n")
            self._header = None
            self._framer.stream()
            return
        self._refuse_append(event, decision)

    def _refuse_append(self, event: Event | None, decision: Result) -> None:
        self._further.clear()
        self._appending, self._open = None, False
        header, self._header = self._header, None
        if type(event) is AppendWhole:
            self._failure = decision._replace(untagged=b"")
        elif header is None:
            self._finish(decision)
        elif header.synchronizing:
            self._framer.refuse()
            self._finish(decision)
        else:
            self._failure = decision._replace(untagged=b"")
            self._framer.skip()

    def _move_on(self, event: Event | None, ok: bool) -> None:
        """The state after a command (RFC 3501 §3)."""
        if isinstance(event, _LOGINS) and ok:
            self.state = State.AUTHENTICATED
            self.timeout = self._limits.idle
            self._framer.limit = self._limits.command
        elif isinstance(event, commands.Unauthenticate) and ok:
            # RFC 8437 §3: as after STARTTLS, what was turned on is off again
            self.state = State.NOT_AUTHENTICATED
            self.enabled = Enabled()
            self.language = DEFAULT
            self.timeout = self._limits.login
            self._framer.limit = self._limits.command_before_login
        elif isinstance(event, commands.Select):
            # RFC 3501 §6.3.1: a SELECT that fails leaves no mailbox selected.
            self.state = State.SELECTED if ok else State.AUTHENTICATED
        elif isinstance(event, commands.Close | commands.Unselect) and ok:
            self.state = State.AUTHENTICATED

    def _finish(self, result: Result) -> None:
        """Writes the tagged status response of the command."""
        if self._failure is not None:
            result, self._failure = self._failure, None
        if result.status == "OK" and self.state is not State.NOT_AUTHENTICATED:
            self._errors = 0
        text = translated(result.text, self.language)
        self._output.append(_status(self._tag, result.status, result.code, self._readable(text)))
        if result.status == "BAD" or (result.status == "NO" and self.state is State.NOT_AUTHENTICATED):
            self._errors += 1
            if self._errors >= self._limits.errors:
                self._bye("Too many errors")

    def _readable(self, text: str) -> str:
        """RFC 9051 §9, RFC 5255 §3.5: a text beyond ASCII is for those who have asked for it."""
        if text.isascii() or self.enabled.utf8 or self.language != DEFAULT:
            return text
        return text.encode("ascii", "replace").decode()

    def _fail(self, text: str) -> None:
        self._finish(Result("BAD", text))

    def _give_up(self) -> None:
        """Answers a command that went wrong before its end."""
        failure, self._failure = self._failure, None
        assert failure is not None
        self._finish(failure)

    def _bye(self, text: str, code: str = "") -> None:
        if not self.closing:
            text = self._readable(translated(text, self.language))
            self._output.append(_status(b"*", "BYE", code, text))
            self.closing = True


_ANSWERED: dict[type, Callable[[ServerSession, Event | None, Result | None], None]] = {
    Connected: ServerSession._answer_connected,
    commands.Append: ServerSession._answer_append,
    commands.AppendNext: ServerSession._answer_append,
    commands.CatenateText: ServerSession._answer_append,
    commands.CatenateUrl: ServerSession._answer_append,
    AppendWhole: ServerSession._answer_append,
    AppendAbort: ServerSession._answer_abort,
    Literal: ServerSession._answer_literal,
    commands.Idle: ServerSession._answer_idle,
}
"""How the answers to these are written; all others are commands, and end with their status."""


def _failed(name: str) -> Result:
    return Result("NO", f"{name} failed", "SERVERBUG")


def _status(tag: bytes, status: str, code: str, text: str) -> bytes:
    if not code:
        return tag + _plain_status(status, text)
    return tag + f" {status} [{code}] {text}\r\n".encode("utf-8", "replace")


@lru_cache(maxsize=64)
def _plain_status(status: str, text: str) -> bytes:
    """What is said at the end of nearly all commands."""
    return f" {status} {text}\r\n".encode("utf-8", "replace")
