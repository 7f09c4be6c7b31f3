"""Whether users can log in as the configuration says: findings of `posthouse check`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from posthouse.accounts.tokens import KeysProblem, read_keys
from posthouse.admin.health import Finding
from posthouse.protocol.sasl import BEARER, takes_passwords

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.ports import Clock

_MECHANISMS = "accounts.auth_mechanisms"


def examine_logins(config: Config, clock: Clock) -> Iterator[Finding]:
    """What is offered, what it needs, and what is configured in vain."""
    mechanisms = config.accounts.auth_mechanisms
    authorities, issuer = config.tls.client_ca_file, config.oauth.issuer
    in_vain = []
    if "EXTERNAL" in mechanisms and authorities is None:
        in_vain.append("EXTERNAL")
        yield _in_vain("EXTERNAL", "tls.client_ca_file is not set")
    for name in BEARER:
        if name in mechanisms and not issuer:
            in_vain.append(name)
            yield _in_vain(name, "oauth.issuer is not set")
    if len(in_vain) == len(mechanisms):
        yield Finding("problem", _MECHANISMS, "nobody can log in", "set what they need, or name others")
    elif not takes_passwords(mechanisms):
        yield Finding("ok", _MECHANISMS, "passwords themselves are not taken, by LOGIN and USER neither")
    if authorities is not None:
        yield _unless("EXTERNAL" in mechanisms, "tls.client_ca_file", "EXTERNAL", authorities)
        yield from _authorities(authorities, config.tls.client_crl_file, clock)
    if issuer:
        named = any(name in mechanisms for name in BEARER)
        yield _unless(named, "oauth.issuer", " or ".join(BEARER), issuer)
        assert config.oauth.keys_file is not None  # the configuration has it where there is an issuer
        yield _keys(config.oauth.keys_file)


def _in_vain(mechanism: str, why: str) -> Finding:
    return Finding("warning", _MECHANISMS, f"{mechanism} is never offered: {why}", "set it, or take it out")


def _unless(named: bool, key: str, mechanism: str, value: object) -> Finding:
    """A key that is of use only with a mechanism."""
    if named:
        return Finding("ok", key, str(value))
    return Finding("warning", key, f"of no use without {mechanism}", f"add {mechanism} to {_MECHANISMS}")


def _authorities(authorities: Path, revoked: Path | None, clock: Clock) -> Iterator[Finding]:
    now = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
    try:
        until = min(
            found.not_valid_after_utc for found in x509.load_pem_x509_certificates(authorities.read_bytes())
        )
    except (OSError, ValueError) as error:
        yield Finding(
            "problem", "tls.client_ca_file", f"{authorities}: {error}", "correct it: the server needs it"
        )
        return
    if until < now:
        yield Finding("problem", "tls.client_ca_file", f"a certificate ended on {until:%Y-%m-%d}", "renew it")
    if revoked is None:
        yield Finding(
            "warning",
            "tls.client_crl_file",
            "is not set: a certificate that was revoked still opens its mailbox",
            "give the authority's revocation list, or disable the account of who has lost a key",
        )
        return
    try:
        due = x509.load_pem_x509_crl(revoked.read_bytes()).next_update_utc
    except (OSError, ValueError) as error:
        yield Finding(
            "problem", "tls.client_crl_file", f"{revoked}: {error}", "correct it: the server needs it"
        )
        return
    if due is not None and due < now:
        message = f"{revoked} was due for renewal on {due:%Y-%m-%d}: all certificates are refused"
        yield Finding("problem", "tls.client_crl_file", message, "fetch the new one, then reload the server")
    else:
        yield Finding("ok", "tls.client_crl_file", str(revoked))


def _keys(path: Path) -> Finding:
    try:
        number = len(read_keys(path).keys)
    except KeysProblem as error:
        return Finding("problem", "oauth.keys_file", str(error), "fetch what jwks_uri of the issuer names")
    return Finding("ok", "oauth.keys_file", f"{path}: keys: {number}")
