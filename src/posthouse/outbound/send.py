"""The door of outbound: hand one letter to one next hop, for one or more recipients of it.

`Outbound.send` uses a session from the pool or opens one: it asks DNS for the hosts, tries their addresses
in order, protects the connection as the security level says, and runs one transaction. It ends with an
outcome for each recipient, the reply of the remote server unchanged wherever there is one, and with the
steps of the journey: what DNS answered, each connection, TLS, the dialogue.

It tries the next address when a host cannot be reached, greets with 4xx or 5xx (as Postfix does), says 421
or drops the connection, unless the letter may have arrived already: then the recipients are deferred, and
a second copy is possible (RFC 5321 §4.5.3.2.6). It never waits without a deadline.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from posthouse.db.errors import DatabaseError
from posthouse.mail.content import Content, MemoryContent
from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.outcome import Deferred, Delivered, Failed, Outcome, outcome_of
from posthouse.mail.reply import Reply
from posthouse.outbound.connection import Connection
from posthouse.outbound.hop import NextHop
from posthouse.outbound.mx import IsUs, Target, find_route
from posthouse.outbound.pool import Pool
from posthouse.outbound.security import IMPLICIT_TLS_PORT, Contexts, context_for
from posthouse.ports import Clock, Random, Resolver
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.client import ClientSession, Lost, Ready, SecurityLevel, WantsContent
from posthouse.protocol.smtp.outgoing import Finished, Timeouts, Transaction

Step: TypeAlias = tuple[str, float, dict[str, Any]]
"""One step of a journey: its kind (route, connect, dialogue), when (clock), what."""

TARGET_LIMIT = 5
"""Addresses that one attempt tries (smtp_mx_address_limit)."""

TURN_TIMEOUT = 600.0
"""Seconds to wait for a turn where all connections to the next hop are busy."""

NO_TURN = Reply(451, "4.4.5", "All connections to the next hop stayed busy")
CUT_OFF = Reply(451, "4.3.0", "Content could not be read")


def _always() -> bool:
    return True


class Job(NamedTuple):
    """One letter for recipients of one next hop."""

    sender: Sender
    recipients: tuple[Recipient, ...]
    content: Content
    prefix: bytes = b""
    """What goes before the content: trace fields."""
    may_finish: Callable[[], bool] = _always
    """Asked just before responsibility passes; False breaks the attempt off (a lease has run out)."""


class Sent(NamedTuple):
    """What became of a job."""

    outcomes: tuple[Outcome, ...]
    """One for each recipient, in order."""
    steps: tuple[Step, ...]
    in_doubt: bool = False
    """The letter may have arrived although it is deferred: its final reply was lost."""
    dsn: bool = False
    """The next hop understands DSN: it reports success for those it has taken (RFC 3461 §5.2.2)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """[outbound] of the configuration."""

    hostname: str
    """What we call ourselves."""
    tls_security_level: SecurityLevel = "may"
    connection_cache_time_limit: float = 2.0
    destination_concurrency_limit: int = 20
    connect_timeout: float = 30.0
    bind_address: str = ""
    bind_address6: str = ""
    relayhost: NextHop | None = None
    relayhost_credentials: Credentials | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)


class Outbound:
    """Sends letters to next hops; one for each worker. Make it where its loop runs."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        clock: Clock,
        random: Random,
        *,
        contexts: Contexts | None,
        is_us: IsUs,
    ) -> None:
        """Without `contexts` there is no TLS. `is_us` cuts loops: host name or address, and port."""
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._random = random
        self._contexts = contexts
        self._is_us = is_us
        self._loop = asyncio.get_running_loop()
        self.pool = Pool(
            self._loop,
            limit=settings.destination_concurrency_limit,
            cache_time=settings.connection_cache_time_limit,
        )

    def configure(self, settings: Settings, contexts: Contexts | None) -> None:
        """Go by these from the next connection on; how many there may be stays as it was."""
        self._settings = settings
        self._contexts = contexts

    async def send(self, hop: NextHop, job: Job) -> Sent:
        """One attempt for all recipients of the job."""
        attempt = _Attempt(job)
        taken = self.pool.take(hop)
        if isinstance(taken, asyncio.Future):
            try:
                connection = await self._turn(hop, taken)
            except TimeoutError:
                return attempt.end(Deferred(NO_TURN, str(hop)))
        else:
            connection = taken
        try:
            if connection is not None:
                attempt.reuse(connection, self._clock.now())
            while True:
                if connection is None:
                    connection = await self._connect(hop, attempt)
                    if connection is None:
                        break
                await self._transact(connection, attempt)
                if attempt.finished or connection.usable:
                    break
                connection = None
        except BaseException:
            if connection is not None:
                connection.abort()
            self.pool.give_up(hop)
            raise
        if connection is None:
            self.pool.give_up(hop)
        else:
            self.pool.give_back(hop, connection)
        return attempt.end(attempt.reason)

    async def _turn(self, hop: NextHop, turn: asyncio.Future[Connection | None]) -> Connection | None:
        """Wait in line. Raises TimeoutError; what arrives too late is handed on."""
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                connection = turn.result()
                if connection is None:
                    self.pool.give_up(hop)
                else:
                    self.pool.give_back(hop, connection)
            raise

    def close(self) -> None:
        """No more letters: idle sessions say QUIT."""
        self.pool.close()

    # ── getting a session ────────────────────────────────────────────────────────────────────────

    async def _connect(self, hop: NextHop, attempt: _Attempt) -> Connection | None:
        """A session with the next target that lets us in; None when none does, and the attempt knows why."""
        if attempt.targets is None:
            route = await find_route(hop, self._resolver, self._random, self._is_us)
            if route.answers or route.outcome:
                attempt.note("route", self._clock.now(), {"hop": str(hop), "answers": route.answers})
            if route.outcome is not None:
                attempt.reason = route.outcome
            attempt.targets = iter(route.targets[:TARGET_LIMIT])
        for target in attempt.targets:
            connection = await self._open(hop, target, self._level(), attempt)
            if connection is None and attempt.retry_in_clear:
                connection = await self._open(hop, target, "none", attempt)
            if connection is not None:
                return connection
        return None

    def _level(self) -> SecurityLevel:
        level = self._settings.tls_security_level
        return "none" if level == "may" and self._contexts is None else level

    async def _open(
        self, hop: NextHop, target: Target, level: SecurityLevel, attempt: _Attempt
    ) -> Connection | None:
        """Connect, and wait until introductions are over; None with the reason in the attempt."""
        attempt.retry_in_clear = False
        began = self._clock.now()
        connection = self._connection(hop, target, level)
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await self._loop.create_connection(
                    lambda: connection, target.address, target.port, local_addr=self._local_address(target)
                )
        except (OSError, TimeoutError) as error:
            why = _why(error)
            reply = Reply(451, "4.4.1", f"Cannot connect to {target.place}: {why}")
            attempt.note("connect", began, {"place": target.place, "error": why})
            attempt.give_reason(Deferred(reply, target.place))
            return None
        try:
            event = await connection.event()
        except BaseException:
            connection.abort()
            raise
        attempt.reused = False
        attempt.steps.append(_connected(connection, began, reused=False))
        if isinstance(event, Ready):
            return connection
        attempt.note_dialogue(connection, self._clock.now())
        if isinstance(event, Lost):
            attempt.retry_in_clear = connection.handshake_failed and level == "may"
            attempt.give_reason(_refused(event, target))
        connection.quit()
        return None

    def _connection(self, hop: NextHop, target: Target, level: SecurityLevel) -> Connection:
        settings = self._settings
        context: ssl.SSLContext | None = None
        if level != "none" and self._contexts is not None:
            context = context_for(level, self._contexts)
        is_relayhost = hop == settings.relayhost
        credentials = settings.relayhost_credentials if is_relayhost else None
        if credentials is not None and level == "may":
            level = "encrypt"  # a password does not go in clear because a handshake failed
        session = ClientSession(
            settings.hostname,
            time.monotonic,
            level=level,
            credentials=credentials,
            timeouts=settings.timeouts,
        )
        implicit = is_relayhost and hop.port == IMPLICIT_TLS_PORT and context is not None
        return Connection(session, target, self._loop, level, context, implicit_tls=implicit)

    def _local_address(self, target: Target) -> tuple[str, int] | None:
        settings = self._settings
        bind = settings.bind_address6 if ":" in target.address else settings.bind_address
        return (bind, 0) if bind else None

    # ── one transaction ──────────────────────────────────────────────────────────────────────────

    async def _transact(self, connection: Connection, attempt: _Attempt) -> None:
        """Send the letter to the recipients that have no outcome yet."""
        began = self._clock.now()
        session = connection.session
        session.send(attempt.transaction())
        connection.advance()
        event = await connection.event()
        if isinstance(event, WantsContent):
            await self._stream(connection, attempt.job)
            event = await connection.event()
        attempt.note_dialogue(connection, began)
        if isinstance(event, Finished):
            attempt.take(event, connection)

    async def _stream(self, connection: Connection, job: Job) -> None:
        """The content piece by piece, as fast as the server takes it."""
        session = connection.session
        session.write(job.prefix)
        try:
            async for piece in job.content.chunks():
                if session.closing:
                    return
                session.write(piece)
                connection.advance()
                await connection.room()
        except (OSError, EOFError, DatabaseError) as error:
            session.lose(CUT_OFF.saying(f"Content could not be read: {error}"))
        else:
            session.finish()
        connection.advance()


class _Attempt:
    """What one attempt knows so far."""

    __slots__ = (
        "_dsn", "_in_doubt", "_outcomes", "_pending", "job", "reason", "retry_in_clear", "reused", "steps",
        "targets",
    )  # fmt: skip

    def __init__(self, job: Job) -> None:
        self.job = job
        self.targets: Iterator[Target] | None = None
        """Those not tried yet; None before DNS was asked."""
        self.reason: Outcome = Deferred(Reply(451, "4.4.1", "No host of the next hop could be reached"))
        """What is told of recipients that no server has answered for."""
        self.retry_in_clear = False
        self.steps: list[Step] = []
        self._outcomes: list[Outcome | None] = [None] * len(job.recipients)
        self._pending = list(range(len(job.recipients)))
        self._in_doubt = False
        self._dsn = False
        self.reused = False

    @property
    def finished(self) -> bool:
        return not self._pending

    def transaction(self) -> Transaction:
        """For the recipients that are still pending."""
        job = self.job
        content: bytes | None = None
        if isinstance(job.content, MemoryContent):
            content = job.prefix + job.content.data if job.prefix else job.content.data
        recipients = job.recipients
        if len(self._pending) < len(recipients):
            recipients = tuple(recipients[place] for place in self._pending)
        return Transaction(
            job.sender,
            recipients,
            len(job.prefix) + job.content.size,
            content,
            _is_internationalized(job, recipients),
            job.may_finish,
        )

    def take(self, finished: Finished, connection: Connection) -> None:
        """The end of a transaction: who is decided, and who is worth another target."""
        place = connection.target.place
        # A session from the pool that the server had just closed took nothing, however much we wrote to it.
        stale = self.reused and finished.unheard
        elsewhere = connection.session.closing and (stale or not finished.in_doubt)
        self._in_doubt = self._in_doubt or (finished.in_doubt and not stale)
        self._dsn = "DSN" in connection.session.extensions
        pending: list[int] = []
        for which, reply in zip(self._pending, finished.replies, strict=True):
            outcome = outcome_of(reply, place)
            if elsewhere and reply.code == 421:  # lost, or "service not available": another host may do
                self.reason = outcome
                pending.append(which)
            else:
                self._outcomes[which] = outcome
        self._pending = pending

    def reuse(self, connection: Connection, at: float) -> None:
        """The attempt begins with a session from the pool."""
        self.reused = True
        self.steps.append(_connected(connection, at, reused=True))

    def give_reason(self, outcome: Outcome) -> None:
        """A target did not work. One that may work later outweighs one that never will."""
        if isinstance(outcome, Deferred) or not isinstance(self.reason, Deferred) or self._untold():
            self.reason = outcome

    def _untold(self) -> bool:
        return not self.reason.place

    def end(self, rest: Outcome) -> Sent:
        """The result; `rest` is for recipients that nobody has decided about."""
        outcomes = tuple(rest if outcome is None else outcome for outcome in self._outcomes)
        delivered = any(isinstance(outcome, Delivered) for outcome in outcomes)
        return Sent(outcomes, tuple(self.steps), self._in_doubt, dsn=delivered and self._dsn)

    def note(self, kind: str, at: float, data: dict[str, Any]) -> None:
        self.steps.append((kind, at, data))

    def note_dialogue(self, connection: Connection, at: float) -> None:
        lines = connection.session.take_dialogue()
        if lines:
            self.steps.append(("dialogue", at, {"place": connection.target.place, "lines": lines}))


def _connected(connection: Connection, at: float, *, reused: bool) -> Step:
    """The step that tells of a connection and its protection."""
    data: dict[str, Any] = {"place": connection.target.place, "reused": reused}
    protection = connection.protection
    if protection is not None:
        data["tls"] = protection.tls
        data["verified"] = protection.verified
        data["certificate"] = protection.fingerprint
    return ("connect", at, data)


def _why(error: OSError | TimeoutError) -> str:
    """An error of connecting in the words of the system: `Connection refused`."""
    if error.errno is None:
        return "timed out" if isinstance(error, TimeoutError) else str(error)
    return os.strerror(error.errno)


def _refused(lost: Lost, target: Target) -> Outcome:
    """A host did not let us in.

    A 5xx greeting speaks for the host, not for the recipients: deferred, as Postfix does it
    (smtp_skip_5xx_greeting). So is a refused login, which is ours to mend. A refused HELO is final.
    """
    if lost.phase == "hello" and lost.reply.permanent:
        return Failed(lost.reply, target.place)
    return Deferred(lost.reply, target.place)


def _is_internationalized(job: Job, recipients: tuple[Recipient, ...]) -> bool:
    """Whether the letter needs SMTPUTF8 (RFC 6531 §3.2): asked for, and not without reason."""
    sender = job.sender
    needs = sender.address is not None and not sender.address.local.isascii()
    if needs or any(not recipient.address.local.isascii() for recipient in recipients):
        return True
    return sender.smtputf8 and not job.content.head.isascii()
