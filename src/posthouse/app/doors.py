"""The doors: a listener for each entry of [listen], and how a session behind it is made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from posthouse.access.imap.facts import Knowledge
from posthouse.access.imap.rehearsal import rehearse
from posthouse.access.imap.session import imap_session
from posthouse.access.imap.urlauth import for_submission
from posthouse.access.pop3.session import pop3_session
from posthouse.access.services import Services
from posthouse.app.road import Road
from posthouse.inbound.service import MidLetter, Role, Service
from posthouse.inbound.session import SmtpSession
from posthouse.mail.reply import TOO_MANY_CONNECTIONS
from posthouse.net.anteroom import Anteroom
from posthouse.net.limits import ConnectionLimits, Networks
from posthouse.net.listener import Listener
from posthouse.net.tls import ServerTls
from posthouse.observe import log
from posthouse.protocol import sasl
from posthouse.protocol.imap.offers import Offers
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities
from posthouse.store.shared import Snapshots

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
FOR_MAIL_PROGRAMS = frozenset({"imap", "imaps"})
IMPLICIT_TLS = frozenset({"submissions", "imaps", "pop3s"})
SERVED = (*SMTP_ROLES, *ACCESS)
"""Names of the listeners that have a session."""
FOR_USERS = frozenset(SERVED) - {"smtp", "lmtp"}
"""Those at which users may show a certificate; other servers have some that say nothing to us."""


class Doors:
    """All listeners of one worker. `sockets`: listening sockets by name; `user_tls`: for the users' ones."""

    def __init__(
        self,
        road: Road,
        tls: ServerTls,
        user_tls: ServerTls,
        sockets: Mapping[str, Sequence[socket.socket]],
        limits: ConnectionLimits,
    ) -> None:
        self._road = road
        self._tls = tls
        self._user_tls = user_tls
        self.mid_letter = MidLetter()
        self._limits = limits
        self._anteroom = Anteroom()
        self._snapshots = Snapshots(road.database)
        self._knowledge = Knowledge()
        self._smtp: dict[str, Service] = {}
        self._names = [name for name in sockets if name in SERVED]
        self.listeners: list[Listener] = []
        self.configure()
        self.listeners = [self._listener(name, sockets[name]) for name in self._names]

    def configure(self) -> None:
        """Go by the road's configuration: sessions that begin from now on, and the limits of connections."""
        road, config = self._road, self._road.config
        self._anteroom.seconds = config.accounts.login_timeout
        self._limits.configure(
            config.smtp.connection_limit,
            config.smtp.client_connection_count_limit,
            road.policy.mynetworks,
        )
        self._services = Services(
            database=road.database,
            blobs=road.blobs,
            fulltext=road.fulltext,
            contents=road.contents,
            notifier=road.notifier,
            snapshots=self._snapshots,
            knowledge=self._knowledge,
            authenticate=road.authenticator.authenticate,
            authenticator=road.authenticator,
            mechanisms=self._mechanisms(),
            clock=road.clock,
            new_id=road.ids.new,
            spool_directory=road.blobs.spool_directory,
            message_size_limit=config.smtp.message_size_limit,
            mailbox_size_limit=config.accounts.mailbox_size_limit,
            hostname=config.hostname,
            auth_allow_cleartext=config.accounts.auth_allow_cleartext,
            imap=Offers(
                message_limit=config.imap.message_limit,
                save_limit=config.imap.save_limit,
                unauthenticate=config.imap.unauthenticate,
            ),
            append_8bit_headers=config.imap.append_8bit_headers,
            pop3_lock_session=config.pop3.lock_session,
            pop3_downgrade=config.pop3.downgrade,
            anteroom=self._anteroom,
        )
        for name in self._names:
            if name in SMTP_ROLES:
                self._smtp[name] = self._smtp_service(name)
        for listener in self.listeners:
            listener.min_data_rate = config.smtp.min_data_rate

    async def rehearse(self) -> None:
        """Have what the first sessions need ready, before they come."""
        if not FOR_MAIL_PROGRAMS.isdisjoint(self._names):
            try:
                await rehearse(self._services)
            except Exception as problem:  # noqa: BLE001 (whatever it is, sessions do without)
                _log.warning("the first sessions will take longer", reason=str(problem))

    def _mechanisms(self) -> tuple[str, ...]:
        """Those of SASL that users may use, where the connection allows it."""
        accounts = self._road.config.accounts
        mechanisms: tuple[str, ...] = accounts.auth_mechanisms
        if self._road.authenticator.tokens is None:
            mechanisms = tuple([name for name in mechanisms if name not in sasl.BEARER])
        return mechanisms if accounts.auth_channel_binding == "off" else sasl.with_binding(mechanisms)

    def _listener(self, name: str, sockets: Sequence[socket.socket]) -> Listener:
        if name in SMTP_ROLES:
            session, refusal = self._smtp_sessions(name), TOO_MANY_CONNECTIONS.encode()
        else:
            session, refusal = self._access_sessions(name)
        return Listener(
            name,
            sockets,
            session,
            tls=self._user_tls if name in FOR_USERS else self._tls,
            implicit_tls=name in IMPLICIT_TLS,
            gate=self._limits,
            refusal=refusal,
            proxies=Networks(self._road.config.smtp.proxy_trusted),
            min_data_rate=self._road.config.smtp.min_data_rate,
        )

    def _smtp_service(self, name: str) -> Service:
        road, config = self._road, self._road.config
        role = SMTP_ROLES[name]
        in_clear = name == "smtp" and config.smtp.tls_security_level == "none"
        return Service(
            name=name,
            role=role,
            capabilities=Capabilities(
                config.hostname,
                lmtp=role is Role.LMTP,
                starttls=not in_clear and name not in IMPLICIT_TLS,
                tls_required=role is Role.MX and config.smtp.tls_security_level == "encrypt",
                auth_mechanisms=self._mechanisms() if role is Role.SUBMISSION else (),
                auth_without_tls=config.accounts.auth_allow_cleartext,
                auth_required=role is Role.SUBMISSION,
                burl=role is Role.SUBMISSION,
                message_size_limit=config.smtp.message_size_limit,
            ),
            limits=Limits(
                recipients=config.smtp.recipient_limit,
                errors=config.smtp.hard_error_limit,
                timeout=config.smtp.timeout,
            ),
            acceptance=road.acceptance,
            authenticator=road.authenticator,
            policy=road.policy,
            router=road.router,
            submission=road.submission,
            refusals=road.refusals,
            ids=road.ids,
            clock=road.clock,
            spool_directory=road.blobs.spool_directory,
            hopcount_limit=config.smtp.hopcount_limit,
            full=road.quota.is_full,
            mid_letter=self.mid_letter,
            from_url=partial(for_submission, self._services),
            anteroom=self._anteroom,
        )

    def _smtp_sessions(self, name: str) -> Callable[[], tuple[Any, Any]]:
        services = self._smtp

        def session() -> tuple[Any, Any]:
            service = services[name]
            core = ServerSession(service.capabilities, service.limits)
            return core, SmtpSession(core, service)

        return session

    def _access_sessions(self, name: str) -> tuple[Callable[[], tuple[Any, Any]], bytes]:
        make, refusal = ACCESS[name]
        offers_tls = name not in IMPLICIT_TLS

        def session() -> tuple[Any, Any]:
            return make(self._services, tls_available=offers_tls)

        return session, refusal
