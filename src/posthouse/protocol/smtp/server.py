"""The server's side of an SMTP or LMTP session (RFC 5321, RFC 2033), without input or output.

Octets go in by `receive`; `next_event` tells what the client wants; the driver decides and says so with
`answer`; `take_output` gives the octets to write. While an answer is outstanding nothing else happens, so
replies come in the order of the commands however they were pipelined (RFC 2920), and all replies of one
turn leave together.

It promises: a line ends with CRLF, the data with CRLF.CRLF, and nothing else; what came in plain text
before TLS is forgotten (RFC 3207 §4.2); data beyond the limits is swallowed, not kept; after too many
errors the session ends with 421. It knows nothing of users, domains or policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.reply import (
    AUTH_INVALID,
    AUTH_REQUIRED,
    BAD_SEQUENCE,
    BARE_LINE_ENDING,
    CANNOT_VERIFY,
    CLOSING,
    COMMAND_UNRECOGNIZED,
    LINE_TOO_LONG,
    MESSAGE_TOO_BIG,
    NO_VALID_RECIPIENTS,
    NOT_IMPLEMENTED,
    OK,
    PARAMETER_NOT_IMPLEMENTED,
    READY_FOR_TLS,
    RECIPIENT_OK,
    SENDER_OK,
    SHUTTING_DOWN,
    TIMED_OUT,
    TLS_REQUIRED,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    Reply,
)
from posthouse.protocol import sasl
from posthouse.protocol.lines import BareLineEnding, LineTooLong
from posthouse.protocol.sasl import Keys, KeysWanted
from posthouse.protocol.smtp import auth, verbs
from posthouse.protocol.smtp.auth import AuthExchange
from posthouse.protocol.smtp.events import (
    Auth,
    Chunk,
    Connected,
    Data,
    EndOfData,
    Event,
    Expn,
    FetchUrl,
    Helo,
    Mail,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Vrfy,
)
from posthouse.protocol.smtp.grammar import AuthCommand, Refused
from posthouse.protocol.smtp.intake import Intake
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.verbs import Capabilities, Verb

_OF_A_LETTER = ("RCPT", "DATA", "BDAT", "BURL")
"""Verbs that need an open transaction."""


class ServerSession(Intake):
    """One connection."""

    __slots__ = (
        "_channel", "_draining", "_eof", "_exchange", "_hello", "_outstanding", "_verb", "_vouched",
        "authenticated", "extended", "helo", "tls", "wants_tls",
    )  # fmt: skip

    unanswered: ClassVar[frozenset[type]] = frozenset({Chunk, Reset, Quit})
    """Events that are told, not asked."""

    def __init__(self, capabilities: Capabilities, limits: Limits | None = None, *, tls: str = "") -> None:
        """`tls` describes the TLS session where it began before SMTP did (RFC 8314), else it is empty."""
        super().__init__(capabilities, limits or Limits())
        self._outstanding: Event | None = None
        self._verb: Verb | None = None
        self._hello = Helo("", extended=False)
        self._exchange: AuthExchange | None = None
        self._channel = sasl.PRIVATE if tls or capabilities.auth_without_tls else sasl.IN_CLEAR
        self._draining = False
        self._eof = False
        self.wants_tls = False
        """220 to STARTTLS is in the output: write it, shake hands, call `tls_started`."""
        self.tls = tls
        self.helo = ""
        """What the client called itself; empty before HELO."""
        self.extended = False
        self._vouched = self.authenticated = False

    # ── what the pump does ───────────────────────────────────────────────────────────────────────

    @property
    def timeout(self) -> float:
        """Seconds to wait for the next octets before `time_out`."""
        return self._limits.timeout

    @property
    def pipelined_too_soon(self) -> bool:
        """The client has sent more after a command whose reply it must await (RFC 2920 §3.1).

        For the event just handed out; the fact behind Postfix's reject_unauth_pipelining.
        """
        if self._verb is None or not len(self._buffer) or self._chunk is not None:
            return False
        return not self.extended or bool(self._verb.flags & verbs.LAST_IN_GROUP)

    @property
    def protocol(self) -> str:
        """The `with` value of the trace field (RFC 3848, RFC 6531 §4.3)."""
        if self._capabilities.lmtp:
            name = "UTF8LMTP" if self.smtputf8 else "LMTP"
        elif not self.extended:
            return "SMTP"
        else:
            name = "UTF8SMTP" if self.smtputf8 else "ESMTP"
        return name + ("S" if self.tls else "") + ("A" if self.authenticated else "")

    def receive(self, data: bytes) -> None:
        """Take octets from the client. Between 220 to STARTTLS and `tls_started` they are dropped."""
        if not (self.wants_tls or self.closing):
            self._buffer.feed(data)

    def receive_eof(self) -> None:
        """The client sends no more. What it has sent is still obeyed."""
        self._eof = True

    def tls_started(self, info: str, channel: sasl.Channel = sasl.PRIVATE) -> None:
        """TLS stands; `info` is like `TLSv1.3 TLS_AES_256_GCM_SHA384`. All that was known is forgotten."""
        self._channel = channel
        self.wants_tls = False
        self._buffer.clear()  # RFC 3207 §4.2, against injected plain text
        self.tls = info
        self.helo = ""
        self.extended = False
        self.authenticated = self._vouched
        self._state = verbs.GREETED

    def vouch(self) -> None:
        """Others know who the client is (the kernel, on a Unix socket): no AUTH is asked of him."""
        self._vouched = self.authenticated = True

    def allow_auth_in_clear(self) -> None:
        """Nobody can listen in between (loopback, a Unix socket): passwords are taken without TLS."""
        self._channel = self._channel._replace(private=True)

    def time_out(self) -> None:
        """The client kept silent for `timeout` seconds."""
        self._say(TIMED_OUT)

    def fail(self) -> None:
        """Something of ours broke: say so and close."""
        self._say(Reply(421, "4.3.0", "Local error, closing"))

    def shut_down(self) -> None:
        """Finish: with 421 at once when no transaction is open, else after it (RFC 5321 §3.8)."""
        self._draining = True
        if self.at_rest and not self.wants_tls:
            self._say_goodbye_if_idle()

    @property
    def at_rest(self) -> bool:
        """No decision is awaited."""
        return self._outstanding is None and self._after is None

    def next_event(self) -> Event | None:
        """What the client wants next; None until more octets or an answer have come."""
        if self._after is not None:
            event, self._after = self._after, None
            if type(event) in _ANSWERS:
                self._outstanding = event
            return event
        while self._outstanding is None and not (self.closing or self.wants_tls):
            state = self._state
            if state & verbs.OCTETS:
                told = self._read_letter()
            else:
                line = self._read_line()
                if line is None:
                    break
                told = self._continue_auth(line) if self._state == verbs.AUTH else self._obey(line)
            if told is not None:
                if type(told) in _ANSWERS:
                    self._outstanding = told
                return told
            if state & verbs.OCTETS and self._state == state:
                break
        if self._eof and self._outstanding is None:
            self.closing = True
        return None

    def answer(self, decision: Reply | Keys | Sequence[Reply] | None) -> None:
        """The driver's decision on the outstanding event; None is the usual yes. Sequences are LMTP's."""
        event = self._outstanding
        if event is None:
            return
        self._outstanding = None
        _ANSWERS[type(event)](self, decision)
        if self._draining:
            self._say_goodbye_if_idle()

    # ── lines and replies ────────────────────────────────────────────────────────────────────────

    def _read_line(self) -> bytes | None:
        if self._draining:
            self._say_goodbye_if_idle()
            if self.closing:
                return None
        while not self.closing:
            try:
                return self._buffer.next_line(verbs.LINE_LIMIT)
            except LineTooLong:
                self._break_off_auth()
                self._refuse(LINE_TOO_LONG)
            except BareLineEnding:
                self._break_off_auth()
                self._refuse(BARE_LINE_ENDING)
        return None

    def _say_goodbye_if_idle(self) -> None:
        if self._state & (verbs.REFUSED | verbs.GREETED | verbs.READY) and not self.closing:
            self._say(SHUTTING_DOWN)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def _obey(self, line: bytes) -> Event | None:
        """One command: the guard for every row of the table, then what the verb does."""
        name, _, argument = line.partition(b" ")
        verb = verbs.VERBS.get(name) or verbs.VERBS.get(name.upper())
        if verb is None:
            self._refuse(COMMAND_UNRECOGNIZED if self._state != verbs.REFUSED else BAD_SEQUENCE)
            return None
        self._verb = verb
        objection = self._objection(verb, len(line) + 2)
        if objection is None:
            try:
                parsed = verb.parse(argument, self.smtputf8)
            except Refused as refused:
                objection = refused.reply
        if objection is None:
            return _ACTIONS[verb.name](self, parsed)
        if verb.name == "BDAT":
            self._refuse_bdat(argument, objection)
        else:
            self._refuse(objection)
        return None

    def _objection(self, verb: Verb, length: int) -> Reply | None:
        """Why the verb may not be said now, or None."""
        capabilities, flags = self._capabilities, verb.flags
        if self._state == verbs.REFUSED and verb.name != "QUIT":
            return BAD_SEQUENCE
        if (flags or verb.extension) and not verbs.exists(verb, capabilities):
            return NOT_IMPLEMENTED if verb.extension else COMMAND_UNRECOGNIZED
        if length > verb.line_limit:
            return LINE_TOO_LONG
        if capabilities.tls_required and not self.tls and not flags & verbs.BEFORE_TLS:
            return TLS_REQUIRED
        if flags & verbs.IDLE_TALK:
            self._idle_commands += 1
            if self._idle_commands > self._limits.idle_commands:
                self._errors += 1
                if self._errors > self._limits.errors:
                    return TOO_MANY_ERRORS
        if not self._state & verb.states:
            return self._bad_sequence(verb)
        if capabilities.auth_required and not self.authenticated and verb.name in ("MAIL", "VRFY", "EXPN"):
            return AUTH_REQUIRED
        return None

    def _bad_sequence(self, verb: Verb) -> Reply:
        """503 in words that help, or the 554 that RFC 5321 §3.3 has for a letter nobody may receive."""
        state, name = self._state, verb.name
        nobody = state == verbs.MAIL and self._recipient_refused and not self._capabilities.lmtp
        if name in ("DATA", "BURL") and nobody:
            return NO_VALID_RECIPIENTS
        if state == verbs.GREETED and name not in _OF_A_LETTER:
            hello = "LHLO" if self._capabilities.lmtp else "EHLO"
            return BAD_SEQUENCE.saying(f"Say {hello} first")
        if name in _OF_A_LETTER and state == verbs.MAIL:
            return BAD_SEQUENCE.saying("Say RCPT first")
        if name in _OF_A_LETTER and state in (verbs.GREETED, verbs.READY):
            return BAD_SEQUENCE.saying("Say MAIL first")
        if name == "MAIL":
            return BAD_SEQUENCE.saying("A transaction is open already")
        return BAD_SEQUENCE

    def _helo(self, name: str) -> Event | None:
        return self._greeted_by(Helo(name, extended=False))

    def _ehlo(self, name: str) -> Event | None:
        return self._greeted_by(Helo(name, extended=True))

    def _greeted_by(self, event: Helo) -> Event | None:
        self._hello = event
        if not self._state & verbs.TRANSACTION:
            return event
        self._after = event  # RFC 5321 §4.1.4: EHLO within a transaction ends it as RSET does
        self._end_transaction()
        return Reset(None)

    def _mail(self, sender: Sender) -> Event | None:
        limit = self._capabilities.message_size_limit
        if limit and sender.size > limit:  # RFC 1870 §6.1
            self._refuse(MESSAGE_TOO_BIG)
            return None
        self.smtputf8 = sender.smtputf8
        return Mail(sender)

    def _rcpt(self, recipient: Recipient) -> Event | None:
        if self.recipients >= self._limits.recipients:  # RFC 5321 §4.5.3.1.10
            self._say(TOO_MANY_RECIPIENTS)
            return None
        return Rcpt(recipient)

    def _data(self, _: None) -> Event | None:
        return Data(chunked=False)

    def _rset(self, _: None) -> Event | None:
        self._say(OK)
        if not self._state & verbs.TRANSACTION:
            return None
        self._end_transaction()
        return Reset(None)

    def _noop(self, _: None) -> Event | None:
        self._say(OK)
        return None

    def _quit(self, _: None) -> Event | None:
        self._say(CLOSING)
        self.closing = True
        return Quit()

    def _vrfy(self, argument: str) -> Event | None:
        return Vrfy(argument)

    def _expn(self, argument: str) -> Event | None:
        return Expn(argument)

    def _help(self, topic: str) -> Event | None:
        if topic.upper() == "STATUS":
            self._say(Reply(211, "2.0.0", "\n".join(self._status())))
            return None
        lines = verbs.help_lines(topic, self._capabilities)
        if lines is None:
            self._refuse(PARAMETER_NOT_IMPLEMENTED.saying("There is no help on that"))
        else:
            self._say(Reply(214, "2.0.0", "\n".join(lines)))
        return None

    def _status(self) -> list[str]:
        open_now = f"open, {self.recipients} recipients" if self._state & verbs.TRANSACTION else "none"
        return [
            f"{self._capabilities.hostname} in good order",
            f"You are {self.helo or 'not introduced'}; {self.tls or 'no TLS'}; "
            + ("authenticated" if self.authenticated else "not authenticated"),
            f"Transaction: {open_now}",
        ]

    def _starttls(self, _: None) -> Event | None:
        if self.tls:
            self._refuse(BAD_SEQUENCE.saying("TLS is on already"))
            return None
        return StartTls()

    # ── AUTH (RFC 4954) ──────────────────────────────────────────────────────────────────────────

    def _authenticate(self, command: AuthCommand) -> Event | None:
        channel, offered = self._channel, self._offered()
        objection = auth.objection(command, offered, channel, authenticated=self.authenticated)
        if objection is not None:
            self._refuse(objection)
            return None
        self._exchange = AuthExchange(sasl.Exchange(command.mechanism, channel, offered))
        return self._auth_outcome(self._exchange.begin(command.initial))

    def _offered(self) -> tuple[str, ...]:
        """Mechanisms, on this connection as it is now."""
        return sasl.offered(self._capabilities.auth_mechanisms, self._channel)

    def _continue_auth(self, line: bytes) -> Event | None:
        return None if self._exchange is None else self._auth_outcome(self._exchange.respond(line))

    def _auth_outcome(self, outcome: auth.Outcome) -> Event | None:
        if isinstance(outcome, Reply):
            self._break_off_auth()
            self._refuse(outcome)
            return None
        self._state = verbs.AUTH
        if isinstance(outcome, bytes):
            self._output.append(outcome)
            return None
        return outcome

    def _break_off_auth(self) -> None:
        self._exchange = None
        if self._state == verbs.AUTH:
            self._state = verbs.READY

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def _answer_connected(self, decision: Reply | None) -> None:
        if decision is None:
            self._output.append(verbs.greeting(self._capabilities))
            return
        if decision.code >= 500:  # RFC 5321 §3.1, RFC 7504: we wait for QUIT
            self._state = verbs.REFUSED
        self._say(decision)

    def _answer_helo(self, decision: Reply | None) -> None:
        event = self._hello
        if decision is not None and decision.code >= 400:
            self._refuse(decision)
            return
        self.helo, self.extended = event.name, event.extended
        self._state = verbs.READY
        now = verbs.Now(bool(self.tls), self.authenticated, self._offered())
        self._output.append(verbs.hello(self._capabilities, event.extended, now))

    def _answer_starttls(self, decision: Reply | None) -> None:
        if self._settle(decision or READY_FOR_TLS):
            self._buffer.clear()
            self.wants_tls = True

    def _answer_keys(self, decision: Keys | Reply) -> None:
        if self._exchange is not None and isinstance(decision, Keys):
            self._output.append(self._exchange.challenge(decision))
        else:
            self._break_off_auth()
            self._settle(decision if isinstance(decision, Reply) else AUTH_INVALID)

    def _answer_auth(self, decision: Reply | sasl.Refused | None) -> None:
        if self._exchange is not None and isinstance(decision, sasl.Refused):
            self._output.append(self._exchange.refuse(decision))
            return
        assert not isinstance(decision, sasl.Refused)
        self._break_off_auth()
        self.authenticated = self._settle(decision or AUTH_INVALID)

    def _answer_mail(self, decision: Reply | None) -> None:
        if self._settle(decision or SENDER_OK):
            self._state = verbs.MAIL
        else:
            self.smtputf8 = False

    def _answer_rcpt(self, decision: Reply | None) -> None:
        if self._settle(decision or RECIPIENT_OK):
            self._state = verbs.RCPT
            self.recipients += 1
        else:
            self._recipient_refused = True

    def _answer_enquiry(self, decision: Reply | None) -> None:
        self._settle(decision or CANNOT_VERIFY)


_ACTIONS: dict[str, Callable[[ServerSession, Any], Event | None]] = {
    "HELO": ServerSession._helo,
    "EHLO": ServerSession._ehlo,
    "LHLO": ServerSession._ehlo,
    "MAIL": ServerSession._mail,
    "RCPT": ServerSession._rcpt,
    "DATA": ServerSession._data,
    "BDAT": ServerSession._bdat,
    "BURL": ServerSession._from_url,
    "RSET": ServerSession._rset,
    "NOOP": ServerSession._noop,
    "QUIT": ServerSession._quit,
    "VRFY": ServerSession._vrfy,
    "EXPN": ServerSession._expn,
    "HELP": ServerSession._help,
    "STARTTLS": ServerSession._starttls,
    "AUTH": ServerSession._authenticate,
}
"""What each verb of the table does."""

_ANSWERS: dict[type, Callable[[ServerSession, Any], None]] = {
    Connected: ServerSession._answer_connected,
    Helo: ServerSession._answer_helo,
    StartTls: ServerSession._answer_starttls,
    KeysWanted: ServerSession._answer_keys,
    Auth: ServerSession._answer_auth,
    Mail: ServerSession._answer_mail,
    Rcpt: ServerSession._answer_rcpt,
    Vrfy: ServerSession._answer_enquiry,
    Expn: ServerSession._answer_enquiry,
    Data: ServerSession._answer_data,
    FetchUrl: ServerSession._answer_url,
    EndOfData: ServerSession._answer_end_of_data,
}
"""What follows from the driver's answer to each event that wants one."""
