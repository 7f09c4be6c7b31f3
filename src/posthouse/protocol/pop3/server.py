"""The POP3 server core: octets in, events out; answers in, octets out (RFC 1939, 2449, 2595, 5034, 6856).

The core knows a maildrop by the sizes and unique-ids of its messages, which the answer to `Login`
brings; STAT, DELE, RSET, NOOP and the like it answers itself. What remains are five events:

- `Connected`: answered by `None` (greet) or a `Refusal`, after which the connection closes;
- `Login`, `sasl.Evidence`: answered by a `Maildrop`, a `Refusal`, or `sasl.Refused`, which holds one;
- `sasl.KeysWanted`: answered by `sasl.Keys` or a `Refusal`;
- `Retrieve`: answered by `None` once the message has been written as a stream (see `response_to`),
  or by a `Refusal`;
- `Listing`: a whole listing of LIST or UIDL, to be written as a stream; answered by `None`;
- `Quit`: with the numbers of the messages to remove, answered by `None` or a `Refusal`. Only this
  event deletes anything: a connection that ends without QUIT leaves the maildrop as it was (RFC 1939 §6).

One event is outstanding at a time; commands that arrive meanwhile wait (PIPELINING). Every bound is
in `Limits`. APOP is not offered: it needs the password in clear on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

from posthouse.protocol import sasl
from posthouse.protocol.language import DEFAULT, LANGUAGES, chosen, translated
from posthouse.protocol.lines import BareLineEnding, LineBuffer, LineTooLong
from posthouse.protocol.pop3.multiline import TERMINATOR, ByteStuffer, TopOfMessage
from posthouse.protocol.pop3.verbs import BY_NAME, CAPABILITIES, REST_OF_LINE, VERBS, State
from posthouse.protocol.speaker import Speaker


class Connected(NamedTuple):
    """A client has connected."""


class Login(NamedTuple):
    """A client wants to open the maildrop of `login`."""

    login: str
    password: str


class Retrieve(NamedTuple):
    """RETR, or TOP with a number of body `lines`. `number` counts from 1."""

    number: int
    lines: int | None


class Listing(NamedTuple):
    """LIST or UIDL of all messages: the response, piece by piece. It may be long, hence not in the output."""

    chunks: Iterator[bytes]


class Quit(NamedTuple):
    """QUIT in the TRANSACTION state: remove these messages, then the session ends."""

    deleted: tuple[int, ...]


Event: TypeAlias = Connected | sasl.KeysWanted | Login | sasl.Evidence | Retrieve | Listing | Quit


class Maildrop(NamedTuple):
    """The messages of an opened maildrop, in order: octets of each, and its unique-id (RFC 1939 §7, UIDL)."""

    sizes: Sequence[int]
    unique_ids: Sequence[str]
    may_delete: bool = True
    """The client may remove messages; else DELE is refused."""


class Refusal(NamedTuple):
    """A negative answer. `code` is a response code such as `SYS/TEMP` (RFC 2449 §8), or empty."""

    text: str
    code: str = ""


BAD_CREDENTIALS = Refusal("Login name or password is wrong", "AUTH")  # RFC 3206 §4
TRY_LATER = Refusal("Temporary problem, try again later", "SYS/TEMP")  # RFC 3206 §4
NO_SUCH_MAILBOX = Refusal("There is no such mailbox", "SYS/PERM")
MAY_NOT_DELETE = Refusal("You have no permission to delete messages of this mailbox", "SYS/PERM")
IN_USE = Refusal("Another session has the maildrop open", "IN-USE")  # RFC 2449 §8.1.2
NOT_REMOVED = Refusal("Some deleted messages were not removed", "SYS/TEMP")  # RFC 1939 §6


class Limits(NamedTuple):
    """What one client may ask of one session."""

    line: int = 1024
    """Octets of a command line with its CRLF. RFC 2449 §4 says 255."""
    sasl_line: int = sasl.RESPONSE_LIMIT
    """The same before login: passwords are long, tokens longer, and clients send them with AUTH at once."""
    errors: int = 20
    """Bad commands in a row, or failed logins, after which the session ends."""
    idle: float = 600.0
    """Seconds of silence after which the session ends without UPDATE (RFC 1939 §3)."""


DEFAULT_LIMITS = Limits()
_LOGINS = Login | sasl.KeysWanted | sasl.Proof | sasl.Certificate | sasl.Token
_MAX_NUMBER_DIGITS = 10
T = TypeVar("T")
_LINES_AT_A_TIME = 2000


def response_to(request: Retrieve, size: int, message: Iterable[bytes]) -> Iterator[bytes]:
    """The whole positive response to RETR or TOP, piece by piece, from the pieces of the message."""
    wire = ResponseWriter(request, size)
    yield wire.begin()
    for chunk in message:
        if piece := wire.feed(chunk):
            yield piece
        if wire.done:
            break
    yield wire.finish()


class ResponseWriter:
    """Makes the positive response to one `Retrieve`: `begin`, `feed` for each piece, `finish`."""

    __slots__ = ("_request", "_size", "_stuffer", "_top")

    def __init__(self, request: Retrieve, size: int) -> None:
        self._request = request
        self._size = size
        self._top = None if request.lines is None else TopOfMessage(request.lines)
        self._stuffer = ByteStuffer()

    def begin(self) -> bytes:
        if self._top is not None:
            return b"+OK Top of message follows\r\n"
        return b"+OK %d octets\r\n" % self._size

    def feed(self, chunk: bytes) -> bytes:
        return self._stuffer.feed(chunk if self._top is None else self._top.feed(chunk))

    @property
    def done(self) -> bool:
        """No more of the message is needed."""
        return self._top is not None and self._top.done

    def finish(self) -> bytes:
        return self._stuffer.finish()


class ServerSession(Speaker):
    """One POP3 session. See the module's page for its events, and `net.pump` for who drives it.

    `tls_available`: STLS is offered. `secure`: the connection is encrypted already (POP3S).
    `plaintext_login`: passwords are taken without encryption too (loopback). `mechanisms`: of SASL, those
    that are configured.
    """

    def __init__(
        self,
        hostname: str,
        *,
        tls_available: bool = False,
        secure: bool = False,
        plaintext_login: bool = False,
        mechanisms: Sequence[str] = sasl.USUAL,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.state = State.AUTHORIZATION
        self.closing = False
        self.wants_tls = False
        self.timeout = limits.idle
        self._hostname = hostname
        self._tls_available = tls_available
        self._secure = secure
        self._configured = mechanisms
        self._channel = sasl.PRIVATE if secure or plaintext_login else sasl.IN_CLEAR
        self._limits = limits
        self._input = LineBuffer()
        self._output: list[bytes] = []
        self._event: Event | None = Connected()
        self._waiting = False
        self._ended = False
        self._draining = False
        self._errors = 0
        self._user: str | None = None
        self.utf8 = False
        """The client takes UTF-8 in headers: who answers `Login` sees to what it is sent otherwise."""
        self._language = DEFAULT
        self._exchange: sasl.Exchange | None = None
        self._sizes: Sequence[int] = ()
        self._unique_ids: Sequence[str] = ()
        self._may_delete = False
        self._deleted: set[int] = set()

    # What the pump calls

    def allow_plaintext_login(self) -> None:
        """Take passwords without encryption from this client: nobody can listen in between."""
        self._channel = self._channel._replace(private=True)

    def receive(self, data: bytes) -> None:
        """Takes octets from the client."""
        if not self.closing:
            self._input.feed(data)

    def receive_eof(self) -> None:
        """The client will send no more; what it has sent is still answered."""
        self._ended = True

    def next_event(self) -> Event | None:
        """The next event to answer; None while one is outstanding or more octets are needed."""
        if self._waiting:
            return None
        while self._event is None and not self.closing and not self.wants_tls:
            if not self._next_line():
                break
        if self._event is None:
            if self._ended and not self.wants_tls:
                self.closing = True
            return None
        event, self._event = self._event, None
        self._waiting = True
        self._outstanding = event
        return event

    def answer(self, decision: Maildrop | sasl.Keys | sasl.Refused | Refusal | None) -> None:
        """Answers the outstanding event."""
        event = self._outstanding
        self._waiting = False
        if isinstance(decision, sasl.Keys):
            assert self._exchange is not None
            self._challenge(self._exchange.challenge(decision))
        elif isinstance(decision, sasl.Refused):
            assert self._exchange is not None
            self._challenge(self._exchange.refuse(decision))
        elif isinstance(event, Connected):
            self._answer_connected(decision)
        elif isinstance(event, _LOGINS):
            self._exchange = None
            self._answer_login(decision)
        elif isinstance(event, Quit):
            self._answer_quit(decision)
        elif isinstance(decision, Refusal):
            self._refuse(decision)
        if self._draining:
            self._end_for_shut_down()

    def tls_started(self, info: str, channel: sasl.Channel = sasl.PRIVATE) -> None:
        """The TLS handshake is done. What came in clear before it is forgotten (RFC 2595 §4)."""
        self._channel = channel
        self.wants_tls = False
        self._secure = True
        self._input.clear()
        self._user = None

    def time_out(self) -> None:
        """The client was silent for `timeout` seconds: the session ends, nothing is removed nor said (§3)."""
        self.closing = True

    def fail(self) -> None:
        """Something broke on our side: the session ends, nothing is removed."""
        self._err("Internal error, try again later", "SYS/TEMP")
        self.closing = True

    def shut_down(self) -> None:
        """The server stops: the session ends, once an outstanding command is answered. Nothing is removed."""
        self._draining = True
        if self.at_rest:
            self._end_for_shut_down()

    @property
    def at_rest(self) -> bool:
        """No decision is awaited."""
        return not self._waiting

    # Lines

    def _next_line(self) -> bool:
        """Handles one line; False when there is none yet."""
        try:
            before = self.state is State.AUTHORIZATION
            line = self._input.next_line(self._limits.sasl_line if before else self._limits.line)
        except LineTooLong:
            self._exchange = None
            self._bad("Line too long")
            return True
        except BareLineEnding:
            self._exchange = None
            self._bad("A line must end with <CR><LF>")
            return True
        if line is None:
            return False
        if self._exchange is not None:
            self._step(self._exchange.respond, line)
        else:
            self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        verb = BY_NAME.get(word.decode("ascii", "replace").upper())
        if verb is None:
            return self._bad("Unknown command")
        if self.state not in verb.states:
            return self._bad(f"{verb.name} is not allowed in the {self.state.value} state")
        try:
            text = rest.decode("utf-8")
        except UnicodeDecodeError:
            return self._bad("Arguments must be UTF-8")
        if verb.most == REST_OF_LINE:
            arguments = [text] if text else []
        else:
            arguments = text.split()
        if len(arguments) < verb.least or (verb.most >= 0 and len(arguments) > verb.most):
            return self._bad(f"{verb.name}: wrong number of arguments")
        if "\0" in text:
            return self._bad("NUL is not allowed")
        errors = self._errors
        _HANDLERS[verb.name](self, arguments)
        if self._errors == errors and self.state is State.TRANSACTION:
            self._errors = 0

    # AUTHORIZATION state

    def _login_allowed(self) -> bool:
        if self._channel.private:
            return True
        self._bad("Start TLS first: passwords are not taken in clear")
        return False

    def _takes_passwords(self) -> bool:
        return self._channel.private and sasl.takes_passwords(self._configured)

    def _on_user(self, arguments: list[str]) -> None:
        if not self._login_allowed():
            return
        if not self._takes_passwords():
            self._bad("Passwords are not taken here")
        else:
            self._user = arguments[0].strip(" ")
            self._ok("Send the password")

    def _on_pass(self, arguments: list[str]) -> None:
        if self._user is None:
            return self._bad("USER comes first")
        user, self._user = self._user, None
        self._event = Login(user, arguments[0])

    def _on_auth(self, arguments: list[str]) -> None:
        if not arguments:
            # The list of mechanisms, as older clients ask for it (RFC 1734 had none; Outlook sends it).
            return self._lines("Mechanisms follow", self._mechanisms())
        if not self._login_allowed():
            return
        offered = self._mechanisms()
        if (name := arguments[0].upper()) not in offered:
            return self._bad("Unknown authentication mechanism")
        exchange = self._exchange = sasl.Exchange(name, self._channel, offered)
        self._step(exchange.begin, arguments[1].encode() if len(arguments) == 2 else None)

    def _step(self, step: Callable[[T], sasl.Next], response: T) -> None:
        """One step of a SASL exchange (RFC 5034 §4); `response` is in base64."""
        try:
            outcome = step(response)
        except sasl.SaslError as problem:
            self._exchange = None
            return self._bad(f"Authentication failed: {problem}")
        if isinstance(outcome, bytes):
            self._challenge(outcome)
        elif isinstance(outcome, sasl.Over):
            self._exchange = None
            self._refuse(outcome.refusal)
        elif isinstance(outcome, sasl.Credentials):
            self._event = Login(outcome.identity, outcome.password)
        else:
            self._event = outcome

    def _challenge(self, text: bytes) -> None:
        self._output.append(b"+ " + text + b"\r\n")

    def _on_stls(self, arguments: list[str]) -> None:
        if self._secure:
            return self._bad("TLS is active already")
        if not self._tls_available:
            return self._bad("TLS is not available")
        if self.utf8:  # RFC 6856 §2.1
            return self._bad("STLS comes before UTF8")
        self._ok("Begin TLS negotiation now")
        self.wants_tls = True

    def _on_utf8(self, arguments: list[str]) -> None:
        self.utf8 = True
        self._ok("UTF-8 it is")

    def _on_lang(self, arguments: list[str]) -> None:
        if not arguments:
            listing = [f"{tag} {description}" for tag, description in LANGUAGES.items()]
            return self._lines("Languages follow", listing)
        language = chosen(arguments)
        if language is None:
            return self._bad("None of these languages is spoken here")
        self._language = language
        self._output.append(f"+OK {language} {translated('This is English', language)}\r\n".encode())

    def _answer_connected(self, decision: Maildrop | Refusal | None) -> None:
        if isinstance(decision, Refusal):
            self._err(decision.text, decision.code)
            self.closing = True
        else:
            self._ok(f"{self._hostname} POP3 server ready")

    def _answer_login(self, decision: Maildrop | Refusal | None) -> None:
        if not isinstance(decision, Maildrop):
            return self._refuse(decision or TRY_LATER)
        self.state = State.TRANSACTION
        self._sizes, self._unique_ids, self._may_delete = decision
        count = len(self._sizes)
        self._ok(f"Maildrop has {count} message{'' if count == 1 else 's'} ({sum(self._sizes)} octets)")

    # TRANSACTION state

    def _number(self, argument: str) -> int | None:
        """The message that `argument` names; None, and an answer, where there is none."""
        digits = argument.isascii() and argument.isdigit() and len(argument) <= _MAX_NUMBER_DIGITS
        number = int(argument) if digits else 0
        if not 1 <= number <= len(self._sizes) or number in self._deleted:
            self._bad("No such message")
            return None
        return number

    def _left(self) -> Iterator[int]:
        """The numbers of the messages not marked as deleted."""
        deleted = self._deleted
        return (number for number in range(1, len(self._sizes) + 1) if number not in deleted)

    def _on_stat(self, arguments: list[str]) -> None:
        numbers = list(self._left())
        self._output.append(b"+OK %d %d\r\n" % (len(numbers), sum(self._sizes[n - 1] for n in numbers)))

    def _listing(self, text: str, values: Sequence[object]) -> Iterator[bytes]:
        yield f"+OK {translated(text, self._language)}\r\n".encode()
        numbers = self._left()
        while piece := list(islice(numbers, _LINES_AT_A_TIME)):
            yield "".join([f"{number} {values[number - 1]}\r\n" for number in piece]).encode()
        yield TERMINATOR

    def _on_list(self, arguments: list[str]) -> None:
        if not arguments:
            self._event = Listing(self._listing("Scan listing follows", self._sizes))
            return
        if number := self._number(arguments[0]):
            self._ok(f"{number} {self._sizes[number - 1]}")

    def _on_uidl(self, arguments: list[str]) -> None:
        if not arguments:
            self._event = Listing(self._listing("Unique-ids follow", self._unique_ids))
            return
        if number := self._number(arguments[0]):
            self._ok(f"{number} {self._unique_ids[number - 1]}")

    def _on_retr(self, arguments: list[str]) -> None:
        if number := self._number(arguments[0]):
            self._event = Retrieve(number, None)

    def _on_top(self, arguments: list[str]) -> None:
        lines = arguments[1]
        if not (lines.isascii() and lines.isdigit() and len(lines) <= _MAX_NUMBER_DIGITS):
            return self._bad("TOP: the number of lines must be a number")
        if number := self._number(arguments[0]):
            self._event = Retrieve(number, int(lines))

    def _on_dele(self, arguments: list[str]) -> None:
        if not self._may_delete:
            return self._refuse(MAY_NOT_DELETE)
        if number := self._number(arguments[0]):
            self._deleted.add(number)
            self._ok(f"Message {number} marked as deleted")

    def _on_noop(self, arguments: list[str]) -> None:
        self._ok("Nothing done")

    def _on_rset(self, arguments: list[str]) -> None:
        self._deleted.clear()
        self._ok(f"Maildrop has {len(self._sizes)} messages ({sum(self._sizes)} octets)")

    # Any state

    def _mechanisms(self) -> tuple[str, ...]:
        """Those of SASL that can be used on this connection."""
        return sasl.offered(self._configured, self._channel)

    def _on_capa(self, arguments: list[str]) -> None:
        mechanisms = self._mechanisms()
        offered = {
            "USER": self._takes_passwords(),
            "SASL": bool(mechanisms),
            "STLS": self._tls_available and not self._secure and self.state is State.AUTHORIZATION,
        }
        tags = dict.fromkeys(verb.capability for verb in VERBS)
        lines = [tag for tag in tags if tag and offered.get(tag, True)]
        lines = [f"SASL {' '.join(mechanisms)}" if tag == "SASL" else tag for tag in lines]
        self._lines("Capability list follows", [*lines, *CAPABILITIES])

    def _on_quit(self, arguments: list[str]) -> None:
        if self.state is State.AUTHORIZATION:
            self._ok("Bye")
            self.closing = True
        else:
            self.state = State.UPDATE
            self._event = Quit(tuple(sorted(self._deleted)))

    def _answer_quit(self, decision: Maildrop | Refusal | None) -> None:
        if isinstance(decision, Refusal):
            self._err(decision.text, decision.code)
        else:
            self._ok(f"Bye, {len(self._deleted)} removed" if self._deleted else "Bye")
        self.closing = True

    # Writing

    def _ok(self, text: str) -> None:
        self._output.append(f"+OK {translated(text, self._language)}\r\n".encode())

    def _err(self, text: str, code: str = "") -> None:
        text = translated(text, self._language)
        self._output.append((f"-ERR [{code}] {text}\r\n" if code else f"-ERR {text}\r\n").encode())

    def _lines(self, text: str, lines: Iterable[str]) -> None:
        body = "".join([f"{line}\r\n" for line in lines]).encode()
        self._ok(text)
        self._output.append(body + TERMINATOR)

    def _refuse(self, refusal: Refusal) -> None:
        self._err(refusal.text, refusal.code)
        self._count_error()

    def _bad(self, text: str) -> None:
        self._err(text)
        self._count_error()

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self._limits.errors:
            self._err("Too many errors, closing", "SYS/PERM")
            self.closing = True

    def _end_for_shut_down(self) -> None:
        if not self.closing:
            self._err("Server is shutting down", "SYS/TEMP")
            self.closing = True


_HANDLERS: dict[str, Callable[[ServerSession, list[str]], None]] = {
    name: getattr(ServerSession, f"_on_{name.lower()}") for name in BY_NAME
}
