"""A client that sends drop by drop holds no session for ever; one that is slow but steady is served.

Everything happens on a clock that stands still between the octets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from posthouse.mail.reply import Reply
from posthouse.net.pump import Pump
from posthouse.protocol.imap import server as imap
from posthouse.protocol.pop3 import server as pop3
from posthouse.protocol.smtp import server as smtp
from posthouse.protocol.smtp.events import EndOfData
from posthouse.protocol.smtp.verbs import Capabilities

SMTP_SECONDS = 300.0
LOGIN_SECONDS = 180.0
IMAP_SECONDS = 1800.0
POP3_SECONDS = 600.0
RATE = 500


class Timer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """As much of an event loop as a pump needs, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.made = 0
        self._soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        self.made += 1
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[..., object], *arguments: Any, context: object = None) -> None:
        self._soon.append((callback, arguments))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise AssertionError(context)

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def turn(self) -> None:
        while self._soon:
            callback, arguments = self._soon.pop(0)
            callback(*arguments)

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
            self.turn()
        self.now = end


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Session:
    """A core behind a pump, whose driver says yes to everything."""

    def __init__(self, core: Any, decide: Callable[[Any], Any]) -> None:
        self.loop = Loop()
        self.wire = Wire()
        self._decide = decide
        self.pump = Pump(core, self, self.loop)  # type: ignore[arg-type]
        self.pump.connection_made(self.wire)
        self.loop.turn()

    def connected(self, pump: Pump) -> None: ...

    def handle(self, event: Any) -> Any:
        return self._decide(event)

    def closed(self, reason: str) -> None: ...

    def say(self, octets: bytes) -> bytes:
        """What is answered at once."""
        self.wire.said = b""
        self.pump.data_received(octets)
        self.loop.turn()
        return self.wire.said

    def lasts(self, octets: Iterator[bytes], every: float) -> float:
        """For how many seconds octets are taken that come at this interval, up to a day."""
        began = self.loop.now
        while not self.wire.closed and self.loop.now < began + 86400:
            self.loop.sleep(every)
            if not self.wire.closed:
                self.say(next(octets))
        return self.loop.now - began

    def receives(self, seconds: float, octets: bytes, every: float) -> None:
        """So much at this interval, and nobody is cut off."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            self.loop.sleep(every)
            assert not self.wire.closed, self.loop.now
            self.say(octets)


def drops(piece: bytes = b"x") -> Iterator[bytes]:
    while True:
        yield piece


def smtp_session(*commands: bytes) -> Session:
    def decide(event: Any) -> Any:
        return Reply(250, "2.0.0", "Ok: queued") if isinstance(event, EndOfData) else None

    session = Session(smtp.ServerSession(Capabilities("mail.example.org", message_size_limit=10**9)), decide)
    for command in commands:
        assert session.say(command + b"\r\n")[:1] in b"23", command
    return session


LETTER = (b"EHLO x", b"MAIL FROM:<a@x.test>", b"RCPT TO:<b@y.test>")


def imap_session(*commands: bytes) -> Session:
    def decide(event: Any) -> Any:
        if isinstance(event, imap.Connected | imap.Literal) or type(event).__name__ == "Append":
            return None
        return imap.Result("OK", "done")

    session = Session(imap.ServerSession("mail.example.org", plaintext_login=True), decide)
    for command in commands:
        session.say(command + b"\r\n")
    return session


def pop3_session(*commands: bytes) -> Session:
    def decide(event: Any) -> Any:
        return pop3.Maildrop((), ()) if isinstance(event, pop3.Login) else None

    session = Session(pop3.ServerSession("mail.example.org", plaintext_login=True), decide)
    for command in commands:
        session.say(command + b"\r\n")
    return session


@pytest.mark.parametrize(
    ("session", "seconds", "farewell"),
    [
        (lambda: smtp_session(), SMTP_SECONDS, b"421 "),
        (lambda: smtp_session(*LETTER), SMTP_SECONDS, b"421 "),
        (lambda: smtp_session(*LETTER, b"DATA"), SMTP_SECONDS, b"421 "),
        (lambda: imap_session(), LOGIN_SECONDS, b"* BYE "),
        (lambda: imap_session(b"a LOGIN bob secret"), IMAP_SECONDS, b"* BYE "),
        (lambda: imap_session(b"a LOGIN bob secret", b"b APPEND INBOX {100000}"), IMAP_SECONDS, b"* BYE "),
        (lambda: imap_session(b"a LOGIN bob secret", b"b SEARCH TEXT {60000}"), IMAP_SECONDS, b"* BYE "),
        (lambda: pop3_session(), POP3_SECONDS, b""),  # RFC 1939 §3: without any response
        (lambda: pop3_session(b"USER bob", b"PASS secret"), POP3_SECONDS, b""),
    ],
    ids=[
        "SMTP command",
        "SMTP command in a transaction",
        "DATA",
        "IMAP login",
        "IMAP command",
        "APPEND",
        "IMAP literal",
        "POP3 login",
        "POP3 command",
    ],
)
def test_an_octet_every_few_seconds_keeps_no_session_open(
    session: Callable[[], Session], seconds: float, farewell: bytes
) -> None:
    dripping = session()
    lasted = dripping.lasts(drops(), 5.0)
    assert seconds <= lasted <= seconds + 10
    assert dripping.wire.said[: len(farewell) or 1] == farewell


def test_chunks_too_must_come_in_at_a_rate() -> None:
    session = smtp_session(*LETTER)
    session.say(b"BDAT 100000 LAST\r\n")
    assert SMTP_SECONDS <= session.lasts(drops(), 5.0) <= SMTP_SECONDS + 10


def test_a_letter_below_the_minimal_rate_ends_when_its_credit_is_used_up() -> None:
    # 300 octets a second earn 0.6 seconds each second: 300 seconds last for 750
    session = smtp_session(*LETTER, b"DATA")
    assert 740 <= session.lasts(drops(b"x" * 298 + b"\r\n"), 1.0) <= 760


def test_a_slow_and_steady_letter_comes_in_however_long_it_takes() -> None:
    session = smtp_session(*LETTER, b"DATA")
    session.receives(6 * 3600, b"x" * (RATE * 10 - 2) + b"\r\n", 10.0)
    assert session.say(b".\r\n").startswith(b"250 ")


def test_a_client_that_was_fast_enough_may_pause_for_as_long_as_ever() -> None:
    session = smtp_session(*LETTER, b"DATA")
    much = b"x" * (RATE * 20 - 2) + b"\r\n"
    for _ in range(5):
        session.say(much)
        session.receives(400, much, 10.0)
        session.loop.sleep(SMTP_SECONDS - 1)
        assert not session.wire.closed
    session.loop.sleep(2.0)
    assert session.wire.closed


def test_what_was_answered_begins_anew() -> None:
    session = smtp_session(b"EHLO x")
    session.receives(3 * 3600, b"NOOP\r\n", SMTP_SECONDS - 1)
    session = imap_session(b"a LOGIN bob secret")
    session.receives(24 * 3600, b"b NOOP\r\n", IMAP_SECONDS - 1)


def test_our_own_time_is_not_the_clients() -> None:
    # given a literal whose pieces are long in being taken, and a client that sends more whenever it may
    waiting: list[asyncio.Future[None]] = []

    def decide(event: Any) -> Any:
        if isinstance(event, imap.Literal):
            waiting.append(session.loop.create_future())
            return waiting[-1]
        append = isinstance(event, imap.Connected) or type(event).__name__ == "Append"
        return None if append else imap.Result("OK", "done")

    session = Session(imap.ServerSession("mail.example.org", plaintext_login=True), decide)
    session.say(b"a LOGIN bob secret\r\n")
    session.say(b"b APPEND INBOX {100000}\r\n")
    for _ in range(5):
        session.say(b"x" * RATE)
        session.loop.sleep(IMAP_SECONDS + 10)
        waiting.pop().set_result(None)
        session.loop.turn()
        session.loop.sleep(1.0)
        assert not session.wire.closed
    # when it lets drops fall instead, each of which is taken in its own time, then it does not last
    began = session.loop.now
    while not session.wire.closed and session.loop.now < began + 10 * IMAP_SECONDS:
        session.say(b"x")
        session.loop.sleep(0.5)
        waiting.pop().set_result(None)
        session.loop.turn()
        session.loop.sleep(4.5)
    assert session.loop.now - began <= IMAP_SECONDS + 10


def test_no_timer_is_made_for_what_arrives() -> None:
    session = smtp_session(*LETTER, b"DATA")
    before = session.loop.made
    for _ in range(1000):
        session.say(b"x" * 998 + b"\r\n")
    assert session.loop.made == before
    # nor for commands
    assert session.say(b".\r\n").startswith(b"250 ")
    for _ in range(100):
        session.say(b"NOOP\r\n")
    assert session.loop.made == before
