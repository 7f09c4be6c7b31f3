"""The doors: a listener for each entry of [listen], and how a session behind it is made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from posthouse.access.imap.session import imap_session
from posthouse.access.pop3.session import pop3_session
from posthouse.access.services import Services
from posthouse.app.road import Road
from posthouse.inbound.service import Role, Service
from posthouse.inbound.session import SmtpSession
from posthouse.mail.reply import TOO_MANY_CONNECTIONS
from posthouse.net.limits import ConnectionLimits, Networks, share
from posthouse.net.listener import Listener
from posthouse.net.tls import ServerTls
from posthouse.protocol.smtp.server import Limits, ServerSession
from posthouse.protocol.smtp.verbs import Capabilities

if TYPE_CHECKING:
    pass

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
SERVED = (*SMTP_ROLES, *ACCESS)
"""Names of the listeners that have a session."""


class Doors:
    """All listeners of one worker. `sockets`: listening sockets by name of listener."""

    def __init__(
        self, road: Road, tls: ServerTls, sockets: Mapping[str, Sequence[socket.socket]], count: int
    ) -> None:
        config = road.config
        self._road = road
        self._tls = tls
        self._services = Services(
            database=road.database,
            blobs=road.blobs,
            contents=road.contents,
            notifier=road.notifier,
            authenticate=road.authenticator.authenticate,
            clock=road.clock,
            new_id=road.ids.new,
            spool_directory=road.blobs.spool_directory,
            message_size_limit=config.smtp.message_size_limit,
            mailbox_size_limit=config.accounts.mailbox_size_limit,
            hostname=config.hostname,
            auth_allow_cleartext=config.accounts.auth_allow_cleartext,
        )
        self._smtp_services: list[Service] = []
        self._limits = ConnectionLimits(
            share(config.smtp.connection_limit, count),
            share(config.smtp.client_connection_count_limit, count),
            road.policy.mynetworks,
        )
        self.listeners = [self._listener(name, those) for name, those in sockets.items() if name in SERVED]

    def in_letter(self) -> int:
        """Sessions in the middle of a letter."""
        return sum(service.in_letter for service in self._smtp_services)

    def _listener(self, name: str, sockets: Sequence[socket.socket]) -> Listener:
        config = self._road.config
        in_clear = name == "smtp" and config.smtp.tls_security_level == "none"
        if name in SMTP_ROLES:
            session, refusal = self._smtp_sessions(name, not in_clear), TOO_MANY_CONNECTIONS.encode()
        else:
            session, refusal = self._access_sessions(name)
        return Listener(
            name,
            sockets,
            session,
            tls=None if in_clear else self._tls,
            implicit_tls=name in IMPLICIT_TLS,
            gate=self._limits,
            refusal=refusal,
            proxies=Networks(config.smtp.proxy_trusted),
        )

    def _smtp_sessions(self, name: str, tls: bool) -> Callable[[], tuple[Any, Any]]:
        road = self._road
        config = road.config
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
            tls_available=lambda: True,
        )
        self._smtp_services.append(service)

        def session() -> tuple[Any, Any]:
            core = ServerSession(service.capabilities, service.limits)
            return core, SmtpSession(core, service)

        return session

    def _access_sessions(self, name: str) -> tuple[Callable[[], tuple[Any, Any]], bytes]:
        make, refusal = ACCESS[name]
        offers_tls = name not in IMPLICIT_TLS

        def session() -> tuple[Any, Any]:
            return make(self._services, tls_available=offers_tls)

        return session, refusal
