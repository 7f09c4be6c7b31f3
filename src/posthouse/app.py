"""The composition root: builds every object from the configuration; the only place that knows all rooms.

`serve` opens the sockets and forks workers by the supervisor; a `Worker` is one process's share of the
program: it serves every protocol and runs its part of the queue in one loop. Tests build a `Worker` in
their own process, on a clock of their own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posthouse.acceptance.accept import Acceptance, Lifetimes
from posthouse.acceptance.bounces import Bounces
from posthouse.acceptance.redelivery import Redelivery
from posthouse.access.imap.session import imap_session
from posthouse.access.pop3.session import pop3_session
from posthouse.access.services import Services
from posthouse.accounts import account as accounts
from posthouse.accounts import usage
from posthouse.accounts.authentication import Authenticator
from posthouse.accounts.directory import Directory
from posthouse.admin import housekeeping
from posthouse.config import Config, ConfigError, load
from posthouse.config.load import Problem
from posthouse.db import DatabaseError, migrate, open_database
from posthouse.db.blobs import discard, open_blobs
from posthouse.inbound.service import Role, Service
from posthouse.inbound.session import SmtpSession
from posthouse.journey.refusals import Refusals
from posthouse.machine import MachineClock, MachineRandom
from posthouse.mail.ids import SLOTS, LetterIds
from posthouse.mail.reply import TOO_MANY_CONNECTIONS
from posthouse.net import supervisor
from posthouse.net.addresses import own_addresses
from posthouse.net.dns import StubResolver
from posthouse.net.limits import ConnectionLimits, Networks, share
from posthouse.net.listener import Listener, drain
from posthouse.net.sockets import ListenerSpec
from posthouse.net.supervisor import DRAIN_TIME, WorkerContext
from posthouse.net.tls import CertificateFiles, ClientTls, ServerTls, TlsProblem, self_signed
from posthouse.observe import log, metrics
from posthouse.observe.scrape import Scrape
from posthouse.outbound.hop import parse_next_hop
from posthouse.outbound.send import Outbound, Settings
from posthouse.policy.policy import Policy
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.server import Limits, ServerSession
from posthouse.protocol.smtp.verbs import Capabilities
from posthouse.queue import entries as queue
from posthouse.queue.schedule import Schedule
from posthouse.routing.router import Router
from posthouse.runner.recording import Recording
from posthouse.runner.runner import Runner
from posthouse.store import content
from posthouse.store.notify import Notifier
from posthouse.submission.submission import Submission

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.content import Content
    from posthouse.mail.envelope import AccountId
    from posthouse.ports import Clock, Random, Resolver

_log = log.get("app")
SMTP_ROLES = {
    "smtp": Role.MX,
    "submission": Role.SUBMISSION,
    "submissions": Role.SUBMISSION,
    "lmtp": Role.LMTP,
}
ACCESS = {
    "imap": (imap_session, b"* BYE Too many connections\r\n"),
    "imaps": (imap_session, b""),
    "pop3": (pop3_session, b"-ERR [SYS/TEMP] Too many connections\r\n"),
    "pop3s": (pop3_session, b""),
}
IMPLICIT_TLS = frozenset({"submissions", "imaps", "pop3s"})
AUTH_MECHANISMS = ("PLAIN", "LOGIN")
SUBMISSION_MODE = 0o666
"""Any user of the machine may submit by the Unix socket; who he is, the kernel says."""
FLUSH_SECONDS = 1.0
"""Between two writes of what was refused."""
GC_THRESHOLD = 10_000
"""New objects before a look for cycles: a thousand sessions in the middle of a letter are none."""


class Worker:
    """One process's share of the program. Make it within a running loop, `start` it, `stop` it.

    `sockets`: listening sockets by name of listener. `slot` makes its ids different from those of the
    other processes of this host; `count` is the number of workers that share the limits.
    """

    def __init__(
        self,
        config: Config,
        sockets: Mapping[str, Sequence[socket.socket]],
        *,
        slot: int | None = None,
        count: int = 1,
        clock: Clock | None = None,
        chance: Random | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.config = config
        self.count = count
        self.clock: Clock = clock or MachineClock()
        self.chance: Random = chance or MachineRandom()
        self.resolver: Resolver = resolver or _resolver(config, self.clock)
        slot = int.from_bytes(self.chance.token(2)) if slot is None else slot
        self.ids = LetterIds(slot % SLOTS, lambda: int(self.clock.now() * 1000))
        data = config.data_directory
        self.database = open_database(config.database.url, data)
        self.blobs = open_blobs(config.database.blobs, data)
        self.notifier = Notifier(self.database, data / "run")
        self.contents = content.Contents(queue.in_queue, self._discard)
        self.directory = Directory(self.database)
        self._addresses = own_addresses()
        self.router = Router(self.directory, config, self.clock, self._addresses)
        self.policy = Policy(config, self.resolver, self.router)
        self.authenticator = Authenticator(self.database, self.clock, self.policy.trusts)
        self.refusals = Refusals(self.ids.new, self.database.write_later)
        self._certificate = _certificate(config)
        self.tls = ServerTls(lambda: [self._certificate], config.tls.minimum_protocol)
        self._build_road()
        self.services = Services(
            database=self.database,
            blobs=self.blobs,
            contents=self.contents,
            notifier=self.notifier,
            authenticate=self.authenticator.authenticate,
            clock=self.clock,
            new_id=self.ids.new,
            spool_directory=self.blobs.spool_directory,
            message_size_limit=config.smtp.message_size_limit,
            mailbox_size_limit=config.accounts.mailbox_size_limit,
            hostname=config.hostname,
            auth_allow_cleartext=config.accounts.auth_allow_cleartext,
        )
        self.smtp_services: list[Service] = []
        trusted = Networks(config.smtp.mynetworks)
        self._limits = ConnectionLimits(
            share(config.smtp.connection_limit, count),
            share(config.smtp.client_connection_count_limit, count),
            trusted,
        )
        self.listeners = [self._listener(name, those) for name, those in sockets.items() if name != "metrics"]
        self._metrics_sockets = sockets.get("metrics", ())
        self._housekeeping: asyncio.Task[None] | None = None
        self.database.hold = self._in_letter

    def _build_road(self) -> None:
        """Outbound, the queue's runner, and acceptance, which hands it fresh letters."""
        config = self.config
        waits = config.queue
        keep = config.journey.enabled
        quota = config.accounts.mailbox_size_limit
        bounces = Bounces(
            config.hostname, self.ids, self.chance.token, waits.bounce_queue_lifetime, keep_journeys=keep
        )
        self.outbound = Outbound(
            _outbound_settings(config),
            self.resolver,
            self.clock,
            self.chance,
            contexts=ClientTls(config.outbound.tls_ca_file, config.tls.minimum_protocol),
            is_us=self._is_us,
        )
        redelivery = Redelivery(
            self.router,
            self.clock,
            self.ids.new,
            mailbox_size_limit=quota,
            first_wait=waits.minimal_backoff_time,
            changed=self.notifier.changed,
            wake=lambda: self.runner.wake(),
        )
        recording = Recording(
            bounces,
            Schedule(waits.minimal_backoff_time, waits.maximal_backoff_time, waits.delay_warning_time),
            self.database.holder,
            self.contents.release,
            self.ids.new,
            self.chance.random,
            keep_journeys=keep,
        )
        self.runner = Runner(
            self.database,
            self.clock,
            recording,
            send=self.outbound.send,
            prepare=redelivery.prepare,
            load=self._load,
            port=config.outbound.port,
            destination_concurrency_limit=share(config.outbound.destination_concurrency_limit, self.count),
        )
        self.submission = Submission(self.router, self.ids, self.clock, config.hostname)
        self.acceptance = Acceptance(
            self.database,
            self.blobs,
            self.ids,
            self.clock,
            bounces,
            lifetimes=Lifetimes(
                waits.maximal_queue_lifetime, waits.bounce_queue_lifetime, waits.minimal_backoff_time
            ),
            mailbox_size_limit=quota,
            keep_journeys=keep,
            changed=self.notifier.changed,
            take=self.runner.take,
            room=self.runner.has_room,
            wake=self.runner.wake,
        )
        self.notifier.on("queue", self.runner.wake)

    async def start(self) -> None:
        """Begin to serve."""
        self.notifier.start()
        for listener in self.listeners:
            await listener.start()
        loop = asyncio.get_running_loop()
        for listening in self._metrics_sockets:
            await loop.create_server(Scrape, sock=listening)
        self.runner.start()
        self._housekeeping = loop.create_task(self._keep_house(), name="housekeeping")

    async def stop(self, seconds: float = DRAIN_TIME) -> None:
        """Stop accepting, let what is in flight finish, say goodbye, and write what is waiting."""
        await drain(self.listeners, seconds * 0.6)
        await self.runner.stop(seconds * 0.3)
        self.outbound.close()
        if isinstance(self.resolver, StubResolver):
            self.resolver.close()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        self.refusals.flush()
        self.authenticator.close()
        self.outbound.close()
        await self.notifier.close()
        await self.database.close()
        await self.blobs.close()

    def reload(self, config: Config) -> None:
        """Take over what can change while serving: certificates, and how much is logged.

        No connection is dropped. Raises TlsProblem and keeps what was where the new files are wrong.
        """
        self._certificate = _certificate(config)
        self.tls.reload()
        log.configure(config.log.level, config.log.format)

    # ── listeners ────────────────────────────────────────────────────────────────────────────────

    def _listener(self, name: str, sockets: Sequence[socket.socket]) -> Listener:
        config = self.config
        in_clear = name == "smtp" and config.smtp.tls_security_level == "none"
        if name in SMTP_ROLES:
            session, refusal = self._smtp_sessions(name, not in_clear), TOO_MANY_CONNECTIONS.encode()
        else:
            session, refusal = self._access_sessions(name)
        return Listener(
            name,
            sockets,
            session,
            tls=None if in_clear else self.tls,
            implicit_tls=name in IMPLICIT_TLS,
            gate=self._limits,
            refusal=refusal,
            proxies=Networks(config.smtp.proxy_trusted),
        )

    def _smtp_sessions(self, name: str, tls: bool) -> Callable[[], tuple[Any, Any]]:
        config = self.config
        role = SMTP_ROLES[name]
        service = Service(
            name=name,
            role=role,
            capabilities=Capabilities(
                config.hostname,
                lmtp=role is Role.LMTP,
                starttls=tls and name not in IMPLICIT_TLS,
                tls_required=role is Role.MX and config.smtp.tls_security_level == "encrypt",
                auth_mechanisms=AUTH_MECHANISMS if role is Role.SUBMISSION else (),
                auth_without_tls=config.accounts.auth_allow_cleartext,
                auth_required=role is Role.SUBMISSION,
                message_size_limit=config.smtp.message_size_limit,
            ),
            limits=Limits(
                recipients=config.smtp.recipient_limit,
                errors=config.smtp.hard_error_limit,
                timeout=config.smtp.timeout,
            ),
            acceptance=self.acceptance,
            authenticator=self.authenticator,
            policy=self.policy,
            router=self.router,
            submission=self.submission,
            refusals=self.refusals,
            ids=self.ids,
            clock=self.clock,
            spool_directory=self.blobs.spool_directory,
            hopcount_limit=config.smtp.hopcount_limit,
            full=self._is_full,
            tls_available=lambda: True,
        )
        self.smtp_services.append(service)

        def session() -> tuple[Any, Any]:
            core = ServerSession(service.capabilities, service.limits)
            return core, SmtpSession(core, service)

        return session

    def _access_sessions(self, name: str) -> tuple[Callable[[], tuple[Any, Any]], bytes]:
        make, refusal = ACCESS[name]
        offers_tls = name not in IMPLICIT_TLS

        def session() -> tuple[Any, Any]:
            return make(self.services, tls_available=offers_tls)

        return session, refusal

    # ── what rooms ask of each other ─────────────────────────────────────────────────────────────

    def _in_letter(self) -> int:
        return sum(service.in_letter for service in self.smtp_services)

    def _discard(self, tx: Tx, names: Sequence[str]) -> None:
        now = self.clock.now()
        for name in names:
            discard(tx, name, now)

    def _is_full(self, account: AccountId, octets: int) -> bool | Awaitable[bool]:
        """Whether so many octets more would exceed the account's quota."""
        limit = self.config.accounts.mailbox_size_limit
        if self.database.immediate and not self._has_quota(account, limit):
            return False

        def look(reader: Reader) -> bool:
            try:
                used, allowed = usage.usage(reader, account, limit)
            except usage.NoSuchAccount:
                return False
            return 0 < allowed < used + octets

        if self.database.immediate:
            return self.database.point(look)
        return self.database.read(look, point=True)

    def _has_quota(self, account: AccountId, default: int) -> bool:
        """Whether the account's mail is limited at all; remembered until the directory changes."""

        def look(reader: Reader) -> bool:
            found = accounts.by_id(reader, account)
            return bool(found and (default if found.quota is None else found.quota))

        return self.directory.recall(("limited", account), look) is True

    def _is_us(self, host: str, port: int) -> bool:
        """Whether an MX host is this mail system: mail to it would come back (RFC 5321 §5.1)."""
        if host == self.config.hostname:
            return True
        for endpoint in self.config.listen.smtp:
            everywhere = endpoint.host in ("0.0.0.0", "::")
            if port == endpoint.port and (host == endpoint.host or (everywhere and host in self._addresses)):
                return True
        return False

    async def _load(self, id: int) -> Content:
        """Content for an attempt. Raises NoSuchContent."""
        return await self.database.read(lambda reader: content.find(reader, self.blobs, id), point=True)

    # ── housekeeping ─────────────────────────────────────────────────────────────────────────────

    async def _keep_house(self) -> None:
        """What each worker does for itself, and what only one does for all."""
        last = 0.0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.refusals.flush()
            now = time.monotonic()
            if now - last < housekeeping.SECONDS:
                continue
            last = now
            retention = self.config.journey.retention
            try:
                await housekeeping.keep_house(self.database, self.blobs, self.contents, self.clock, retention)
            except (DatabaseError, OSError) as error:
                _log.warning("housekeeping has to wait", reason=str(error))


# ── the program ──────────────────────────────────────────────────────────────────────────────────


def serve(config: Config, path: Path) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. `path` is the file that SIGHUP reads again."""
    log.configure(config.log.level, config.log.format)
    # Workers of one host never make the same id; those of several hosts hardly ever.
    first_slot = random.SystemRandom().randrange(SLOTS)

    def work(context: WorkerContext) -> None:
        metrics.take_row(context.index + 1)
        # What the database does in its thread and what sessions do in the loop take turns quickly.
        sys.setswitchinterval(0.0005)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(config, path, context, first_slot + context.index))

    return supervisor.run(config, list(_listener_specs(config, path)), work, lambda: _prepare(config))


def _prepare(config: Config) -> None:
    """In a child, before the first worker: what all of them need."""
    migrate(config.database.url, config.data_directory)
    _certificate(config)


def _listener_specs(config: Config, path: Path) -> Iterator[ListenerSpec]:
    listen = config.listen
    for name in (*SMTP_ROLES, *ACCESS):
        mode = SUBMISSION_MODE if name == "submission" else 0o660
        yield ListenerSpec(name, getattr(listen, name), mode)
    yield ListenerSpec("metrics", config.metrics.listen)
    for name in ("managesieve", "http", "https"):
        if getattr(listen, name):
            what = "is not served by this version; leave the list empty"
            raise ConfigError(str(path), (Problem(0, f"listen.{name}", what),))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(config: Config, path: Path, context: WorkerContext, slot: int) -> None:
    stopped = asyncio.Event()
    worker = Worker(config, context.sockets, slot=slot, count=context.count)
    worker.database.on_fatal = _end_worker

    def reload() -> None:
        try:
            worker.reload(load(path))
        except (ConfigError, TlsProblem, OSError) as error:
            _log.error("cannot reload; going on as before", reason=str(error))

    context.attach(asyncio.get_running_loop(), reload=reload, stop=stopped.set)
    await worker.start()
    # What lives as long as the worker need not be looked through for garbage again and again.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    context.ready()
    await stopped.wait()
    await worker.stop()


def _end_worker(error: BaseException) -> None:
    """Nothing may be answered any more: what was not committed was not promised (250 means durable)."""
    _log.critical("the database cannot be written; this worker ends", reason=str(error))
    os._exit(os.EX_IOERR)


def _resolver(config: Config, clock: Clock) -> StubResolver:
    servers = [(endpoint.host, endpoint.port) for endpoint in config.dns.nameservers]
    return StubResolver(servers, clock, trust_ad=config.dns.trust_ad)


def _certificate(config: Config) -> CertificateFiles:
    if config.tls.certificate:
        return CertificateFiles(config.tls.certificate, config.tls.key)
    return self_signed(config.data_directory / "tls", config.hostname)


def _outbound_settings(config: Config) -> Settings:
    ours = config.outbound
    credentials = None
    if ours.relayhost_user:
        file = ours.relayhost_password_file
        lines = file.read_text("utf-8").splitlines() if file is not None else []
        credentials = Credentials(ours.relayhost_user, lines[0] if lines else "")
    return Settings(
        hostname=config.hostname,
        tls_security_level=ours.tls_security_level,
        connection_cache_time_limit=ours.connection_cache_time_limit,
        destination_concurrency_limit=ours.destination_concurrency_limit,
        connect_timeout=ours.connect_timeout,
        bind_address=ours.bind_address,
        bind_address6=ours.bind_address6,
        relayhost=parse_next_hop(ours.relayhost, ours.port) if ours.relayhost else None,
        relayhost_credentials=credentials,
    )
