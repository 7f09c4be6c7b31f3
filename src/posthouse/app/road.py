"""The road: what one worker has to take letters in and pass them on, built once from the configuration.

Everything that sessions share is an attribute; who needs what stands here and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthouse.acceptance.accept import Acceptance
from posthouse.acceptance.bounces import Bounces
from posthouse.acceptance.redelivery import Redelivery
from posthouse.acceptance.transaction import Lifetimes
from posthouse.accounts.authentication import Authenticator
from posthouse.accounts.directory import Directory
from posthouse.accounts.quota import Quota
from posthouse.accounts.throttle import Throttle
from posthouse.accounts.tokens import KeysProblem, Tokens
from posthouse.config import Config
from posthouse.db import DatabaseError, open_announcements, open_database
from posthouse.db.blobs import discard, open_blobs
from posthouse.db.limits import Limits
from posthouse.db.slots import Slot
from posthouse.journey.refusals import Refusals
from posthouse.machine import MachineClock, MachineRandom
from posthouse.mail.ids import SLOTS, LetterIds
from posthouse.net.addresses import own_addresses
from posthouse.net.dns import StubResolver
from posthouse.net.limits import share
from posthouse.net.tls import ClientTls
from posthouse.observe import log
from posthouse.outbound.hop import parse_next_hop
from posthouse.outbound.send import Outbound, Settings
from posthouse.policy.policy import Policy
from posthouse.protocol.sasl import Credentials
from posthouse.queue import entries as queue
from posthouse.queue.schedule import Schedule
from posthouse.routing.router import Router
from posthouse.runner.recording import Recording
from posthouse.runner.runner import Runner
from posthouse.store import content
from posthouse.store.fulltext import FullText, open_fulltext
from posthouse.store.indexer import Indexer
from posthouse.store.notify import QUEUE, Notifier
from posthouse.submission.submission import Submission

if TYPE_CHECKING:
    from posthouse.acceptance.letter import Letter
    from posthouse.db import Tx
    from posthouse.mail.content import Content
    from posthouse.mail.reply import Reply
    from posthouse.ports import Clock, Random, Resolver


_log = log.get("app")


class Road:
    """One worker's share of the road. Make it within a running loop; `close` it.

    `count` is the number of workers that share the limits. Before the first letter, `slot` must be kept.
    """

    def __init__(
        self,
        config: Config,
        *,
        count: int = 1,
        clock: Clock | None = None,
        chance: Random | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.count = count
        self.clock: Clock = clock or MachineClock()
        self.chance: Random = chance or MachineRandom()
        self.resolver: Resolver = resolver or _resolver(config, self.clock)
        self.ids = LetterIds(
            int.from_bytes(self.chance.token(2)) % SLOTS, lambda: int(self.clock.now() * 1000)
        )
        data = config.data_directory
        limits = database_limits(config)
        self.database = open_database(config.database.url, data, limits, prepared=True)
        self.slot = Slot(self.database, SLOTS, self.ids.move)
        self.blobs = open_blobs(config.database.blobs, data, config.database.blobs_timeout)
        announced = config.database.notify == "auto"
        announcements = open_announcements(config.database.url, limits) if announced else None
        self.notifier = Notifier(self.database, data / "run", announcements)
        self.fulltext = self._fulltext(config)
        self.contents = content.Contents(queue.in_queue, self._discard)
        self.directory = Directory(self.database)
        self.refusals = Refusals(self.ids.new, self.database.write_later)
        self.authenticator = Authenticator(
            self.database,
            self.clock,
            lambda ip: self.policy.trusts(ip),
            lambda: self.config.accounts.auth_mechanisms,
            Throttle(data / "run"),
        )
        self.configure(config, first=True)
        self.notifier.on(QUEUE, self.runner.wake)

    def _fulltext(self, config: Config) -> FullText | None:
        if not config.search.enabled:
            return None
        return open_fulltext(config.database.url, config.data_directory, database_limits(config))

    def indexer(self) -> Indexer | None:
        """A new indexer of the full-text index, if there is to be one."""
        if self.fulltext is None:
            return None
        limit = self.config.search.text_size_limit
        return Indexer(self.database, self.fulltext, self.blobs, self.notifier, text_limit=limit)

    def configure(self, config: Config, *, first: bool = False) -> None:
        """Go by this configuration from now on; what is under way ends as it began.

        Raises what Outbound's settings raise (OSError), and then nothing has changed.
        """
        settings = _outbound_settings(config)
        self.authenticator.tokens = self._tokens(config, first)
        self.config = config
        addresses = own_addresses()
        self._is_us = _IsUs(config, addresses)
        self.router = Router(self.directory, config, self.clock, addresses)
        self.policy = Policy(config, self.resolver, self.router)
        self.quota = Quota(self.database, self.directory, config.accounts.mailbox_size_limit)
        self.submission = Submission(self.router, self.ids, self.clock, config.hostname)
        bounces = Bounces(
            config.hostname,
            self.ids,
            self.chance.token,
            config.queue.bounce_queue_lifetime,
            keep_journeys=config.journey.enabled,
        )
        self._configure_the_way_out(config, settings, bounces, first)
        self._configure_the_way_in(config, bounces)

    def _tokens(self, config: Config, first: bool) -> Tokens | None:
        """Who reads tokens. A worker that starts without the issuer's keys serves, but takes no tokens."""
        if not config.oauth.issuer:
            return None
        try:
            return Tokens(config.oauth, self.clock)
        except KeysProblem as problem:
            if not first:
                raise
            _log.error("no tokens are taken until a reload finds the issuer's keys", reason=str(problem))
            return None

    def _configure_the_way_out(
        self, config: Config, settings: Settings, bounces: Bounces, first: bool
    ) -> None:
        """Outbound and the queue's runner, which live on; what they go by is new."""
        waits = config.queue
        contexts = ClientTls(config.outbound.tls_ca_file, config.tls.minimum_protocol)
        if first:
            self.outbound = Outbound(
                settings,
                self.resolver,
                self.clock,
                self.chance,
                contexts=contexts,
                is_us=lambda host, port: self._is_us(host, port),
            )
        else:
            self.outbound.configure(settings, contexts)
        redelivery = Redelivery(
            self.router,
            self.clock,
            self.ids.new,
            mailbox_size_limit=config.accounts.mailbox_size_limit,
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
            keep_journeys=config.journey.enabled,
        )
        if first:
            self.runner = Runner(
                self.database,
                self.clock,
                recording,
                send=self.outbound.send,
                prepare=redelivery.prepare,
                load=self._load,
                port=config.outbound.port,
                destination_concurrency_limit=share(
                    config.outbound.destination_concurrency_limit, self.count
                ),
            )
        else:
            self.runner.configure(recording, redelivery.prepare, config.outbound.port)

    def _configure_the_way_in(self, config: Config, bounces: Bounces) -> None:
        """Acceptance, which hands the runner fresh letters."""
        waits = config.queue
        self.acceptance = Acceptance(
            self.database,
            self.blobs,
            self.ids,
            self.clock,
            bounces,
            lifetimes=Lifetimes(
                waits.maximal_queue_lifetime, waits.bounce_queue_lifetime, waits.minimal_backoff_time
            ),
            mailbox_size_limit=config.accounts.mailbox_size_limit,
            keep_journeys=config.journey.enabled,
            refused=self._refused,
            changed=self.notifier.changed,
            take=self.runner.take,
            room=self.runner.has_room,
            wake=self._wake_somebody,
        )

    def _wake_somebody(self) -> None:
        """Something in the queue is due: for ourselves, or where our hands are full for whoever is free."""
        if self.runner.has_room():
            self.runner.wake()
        else:
            self.notifier.poke(QUEUE)

    async def close(self, seconds: float) -> None:
        """Let attempts under way finish within `seconds`, write what is waiting, let go of everything."""
        await self.runner.stop(seconds)
        self.outbound.close()
        if isinstance(self.resolver, StubResolver):
            self.resolver.close()
        self.refusals.flush()
        self.authenticator.close()
        await self.notifier.close()
        if self.fulltext is not None:
            await self.fulltext.close()
        with contextlib.suppress(DatabaseError):
            await self.slot.give_up()
        await self.database.close()
        await self.blobs.close()

    def _refused(self, letter: Letter, reply: Reply) -> None:
        about = str(letter.sender.address or "")
        self.refusals.add(self.clock.now(), letter.client, "DATA", about, reply)

    def _discard(self, tx: Tx, names: Sequence[str]) -> None:
        now = self.clock.now()
        for name in names:
            discard(tx, name, now)

    async def _load(self, id: int) -> Content:
        """Content for an attempt. Raises NoSuchContent."""
        return await self.database.read(lambda reader: content.find(reader, self.blobs, id), point=True)


def database_limits(config: Config) -> Limits:
    """What [database] says of connections."""
    ours = config.database
    return Limits(ours.reader_connections, ours.connect_timeout, ours.statement_timeout)


class _IsUs:
    """Whether an MX host is this mail system: mail to it would come back (RFC 5321 §5.1)."""

    def __init__(self, config: Config, addresses: frozenset[str]) -> None:
        self._hostname = config.hostname
        self._endpoints = config.listen.smtp
        self._addresses = addresses

    def __call__(self, host: str, port: int) -> bool:
        if host == self._hostname:
            return True
        for endpoint in self._endpoints:
            everywhere = endpoint.host in ("0.0.0.0", "::")
            if port == endpoint.port and (host == endpoint.host or (everywhere and host in self._addresses)):
                return True
        return False


def _resolver(config: Config, clock: Clock) -> StubResolver:
    servers = [(endpoint.host, endpoint.port) for endpoint in config.dns.nameservers]
    return StubResolver(servers, clock, trust_ad=config.dns.trust_ad)


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
