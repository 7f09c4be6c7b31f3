"""What a server shows of itself in TLS, and which certificates of users it takes, by the configuration.

The supervisor reads the files before it forks the first worker, and again at SIGHUP: a file that vanishes
meanwhile hurts nobody, not even a worker that starts late.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from posthouse.net.tls import CertificateFiles, ClientAuthorities, ServerTls, TlsProblem, self_signed, valid
from posthouse.observe import log

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.net.tls import Validity

_log = log.get("app")


class Certificates:
    """TLS of one server. Raises TlsProblem where its certificate cannot be used, and OSError."""

    def __init__(self, config: Config) -> None:
        self._take(config)
        self.everybody = ServerTls(lambda: [self._own], config.tls.minimum_protocol)
        """For those who send mail here."""
        self.users = self._for_users(config)
        """For users, who may have certificates of their own."""
        self._validity = _validity(config)

    def _take(self, config: Config) -> None:
        self._own = certificate(config)
        self._authorities = _authorities(config)
        self._binding = config.accounts.auth_channel_binding

    def _for_users(self, config: Config) -> ServerTls:
        """A server that cannot read who issues certificates to users serves without."""

        def make() -> ServerTls:
            return ServerTls(
                lambda: [self._own],
                config.tls.minimum_protocol,
                lambda: self._authorities,
                lambda: self._binding == "always",
            )

        try:
            return make()
        except TlsProblem as problem:
            if self._authorities is None:
                raise
            _log.error("no certificates of users are asked for until a reload", reason=str(problem))
            self._authorities = None
            return make()

    def expired(self, now: float) -> str:
        """What is to be said of a certificate that is not valid at this moment; empty where it is."""
        return _objection(self._own, self._validity, now)

    def configure(self, config: Config, now: float) -> None:
        """Read all files anew, and show them from the next handshake on.

        Raises TlsProblem and OSError, and goes on with the old ones: also where a new one is not valid now.
        """
        before = self._own, self._authorities, self._binding, self.everybody.minimum_protocol
        try:
            self._take(config)
            validity = _validity(config)
            if validity != self._validity and (objection := _objection(self._own, validity, now)):
                raise TlsProblem(objection)
            self._reload(config.tls.minimum_protocol)
        except BaseException:
            self._own, self._authorities, self._binding, minimum = before
            self.everybody.minimum_protocol = self.users.minimum_protocol = minimum
            raise
        self._validity = validity

    def _reload(self, minimum_protocol: str) -> None:
        self.everybody.minimum_protocol = self.users.minimum_protocol = minimum_protocol
        self.everybody.reload()
        self.users.reload()


def certificate(config: Config) -> CertificateFiles:
    """The certificate that is configured, else a self-signed one, made where there is none."""
    if config.tls.certificate:
        return CertificateFiles(config.tls.certificate, config.tls.key)
    return self_signed(config.data_directory / "tls", config.hostname)


def _authorities(config: Config) -> ClientAuthorities | None:
    """Who issues certificates to users, if they may log in with one."""
    if config.tls.client_ca_file is None:
        return None
    return ClientAuthorities(config.tls.client_ca_file, config.tls.client_crl_file)


def _validity(config: Config) -> Validity | None:
    return valid(config.tls.certificate) if config.tls.certificate else None


def _objection(files: CertificateFiles, validity: Validity | None, now: float) -> str:
    if validity is None or validity.since <= now < validity.until:
        return ""
    since, until = (datetime.datetime.fromtimestamp(moment, datetime.UTC) for moment in validity)
    return f"{files.certificate} is valid from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, not now"
