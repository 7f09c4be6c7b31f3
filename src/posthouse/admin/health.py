"""What is wrong with an installation, and how to fix it: the findings behind `posthouse check`.

Looks, and changes nothing.
"""

from __future__ import annotations

import ctypes
import datetime
import errno
import os
import resource
import shutil
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from posthouse.admin import search
from posthouse.admin.search import Index
from posthouse.config import Config, Endpoint
from posthouse.config.units import show_size
from posthouse.db.blobs import Blobs
from posthouse.db.errors import DatabaseError
from posthouse.db.limits import OTHER_CONNECTIONS, Capacity
from posthouse.net.supervisor import worker_count
from posthouse.net.tls import CertificateFiles, ServerTls, TlsProblem, certificate_names, valid
from posthouse.ports import Clock, Found, LookupFailed, NotFound, Resolver

Level: TypeAlias = Literal["ok", "warning", "problem"]

_RELEASED = 1_790_000_000.0
"""No clock that is right shows less: seconds since 1970, autumn 2026."""
_LITTLE_SPACE = 1_000_000_000
_NO_SPACE = 100_000_000
_EXPIRES_SOON = 14 * 86_400
_TIME_ERROR = 5
_COMMANDS = 3
"""Connections to the database left for what is run at the prompt."""


_AFTER_ALL = "~"
"""No blob has a name that sorts behind it."""


class Finding(NamedTuple):
    """One thing that was looked at. `remedy` says how to fix it; empty where all is well."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


def examine_machine(config: Config, clock: Clock) -> Iterator[Finding]:
    """Everything but DNS. Ports below 1024 can be tried by root only."""
    yield _hostname(config)
    yield from _data_directory(config)
    yield _file_limit(config)
    yield _clock(config, clock)
    yield from _tls(config, clock)
    yield from _files(config)
    yield from _listeners(config)


def examine_owner(config: Config) -> Finding:
    """Whether all in the data directory belongs to who we are now, its owner."""
    uid = os.geteuid()
    path = config.data_directory
    strange = [entry.path for entry in os.scandir(path) if entry.stat(follow_symlinks=False).st_uid != uid]
    if uid and strange:
        others = ", ".join(sorted(strange))
        return Finding("problem", "data_directory", f"not of uid {uid}: {others}", f"chown -R {uid} {path}")
    return Finding("ok", "data_directory", f"all in it belongs to uid {uid}")


async def examine_dns(config: Config, domains: Sequence[str], resolver: Resolver) -> list[Finding]:
    """Our own name, its reverse, and the MX records of `domains` (A-labels)."""
    findings = await _own_name(config, resolver)
    for domain in domains:
        findings.append(await _mx(config, domain, resolver))
    if not domains:
        findings.append(
            Finding("warning", "domains", "there is no domain yet", "posthouse domain add example.org")
        )
    return findings


def examine_connections(config: Config, room: Capacity) -> Finding:
    """Whether the server of the database takes all connections that this host may open."""
    ours = config.database.reader_connections + OTHER_CONNECTIONS
    workers = worker_count(config.workers)
    needed = workers * ours + _COMMANDS
    said = (
        f"{workers} workers may open {ours} each, commands {_COMMANDS}: {needed} of {room.allowed}"
        f" that the server allows, of which others use {room.others}"
    )
    remedy = "raise max_connections (or the role's CONNECTION LIMIT), or lower database.reader_connections"
    if needed > room.allowed:
        return Finding("problem", "database connections", said, remedy)
    if needed > room.allowed - room.others:
        return Finding("warning", "database connections", said, remedy)
    hosts = (room.allowed - room.others) // needed
    return Finding("ok", "database connections", f"{said}: enough for {hosts} such hosts")


async def examine_blobs(url: str, blobs: Blobs) -> Finding:
    """Whether the bucket of `url` is there, and lets us in."""
    try:
        async for _ in blobs.names_before(0.0, after=_AFTER_ALL):
            pass
    except DatabaseError as error:
        return Finding(
            "problem",
            "object store",
            f"{url}: {error}",
            "correct database.blobs, make the bucket, and give the credentials, AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, to the server and to commands",
        )
    return Finding("ok", "object store", url)


async def examine_index(index: Index) -> Finding:
    """How far the full-text index is, and whether anybody goes on with it."""
    waiting = await search.waiting(index)
    if not waiting:
        return Finding("ok", "search", "every message is in the full-text index")
    said = f"{waiting} messages not yet indexed: searches read them"
    if await search.is_being_made(index):
        return Finding("ok", "search", f"{said}; posthouse account index looks on")
    return Finding("warning", "search", said, "start the server, which indexes them in the background")


def _hostname(config: Config) -> Finding:
    name = config.hostname
    if "." not in name or name.endswith((".localdomain", ".local")):
        return Finding(
            "problem",
            "hostname",
            f"{name} is not a name that other servers can look up",
            'set hostname = "mail.example.org" in posthouse.toml, with your own name',
        )
    return Finding("ok", "hostname", name)


def _data_directory(config: Config) -> Iterator[Finding]:
    path = config.data_directory
    try:
        status = path.stat()
    except OSError as error:
        yield Finding("problem", "data_directory", f"{path}: {error.strerror}", "posthouse init makes it")
        return
    if status.st_mode & 0o066:
        yield Finding(
            "problem", "data_directory", f"{path} can be read or written by others", f"chmod 711 {path}"
        )
    elif not os.access(path, os.W_OK | os.X_OK):
        yield Finding(
            "problem",
            "data_directory",
            f"{path} cannot be written",
            f"run this as its owner, uid {status.st_uid}",
        )
    elif status.st_uid == 0 and not config.user:
        yield Finding(
            "warning",
            "data_directory",
            f"{path} is root's, so the server runs as root",
            f"adduser --system posthouse && chown -R posthouse {path}",
        )
    else:
        yield Finding("ok", "data_directory", str(path))
    free = shutil.disk_usage(path).free
    level: Level = "problem" if free < _NO_SPACE else "warning" if free < _LITTLE_SPACE else "ok"
    remedy = "make room; without space mail is refused for the time being (452)" if level != "ok" else ""
    yield Finding(level, "disk", f"{show_size(free // 10**6 * 10**6)} free", remedy)


def _file_limit(config: Config) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.smtp.connection_limit + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding(
            "warning",
            "open files",
            f"a process may open {hard} files, and smtp.connection_limit needs {needed}",
            f"raise it (LimitNOFILE={needed} with systemd), or lower smtp.connection_limit",
        )
    return Finding("ok", "open files", "unlimited" if hard == resource.RLIM_INFINITY else str(hard))


def _clock(config: Config, clock: Clock) -> Finding:
    now = clock.now()
    shown = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(" ", "seconds")
    remedy = "set the clock, and keep it with systemd-timesyncd or chrony"
    if now < _RELEASED:
        return Finding("problem", "clock", f"{shown} cannot be right", remedy)
    try:
        newest = max((entry.stat().st_mtime for entry in os.scandir(config.data_directory)), default=0.0)
    except OSError:
        newest = 0.0
    if newest > now + 120:
        return Finding("problem", "clock", f"{shown} is earlier than the newest file of the data", remedy)
    if _unsynchronised():
        return Finding("warning", "clock", f"{shown}, not kept by any time service", remedy)
    return Finding("ok", "clock", shown)


def _unsynchronised() -> bool:
    """Whether the kernel says that nobody disciplines the clock: adjtimex(2) in its reading mode."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return int(libc.adjtimex(ctypes.create_string_buffer(512))) == _TIME_ERROR
    except (OSError, AttributeError):
        return False


def _tls(config: Config, clock: Clock) -> Iterator[Finding]:
    path = config.tls.certificate
    if path is None:
        yield Finding(
            "warning",
            "certificate",
            "none is configured; a self-signed one is used, of which mail programs warn",
            "set tls.certificate and tls.key",
        )
        return
    try:
        ServerTls(lambda: [CertificateFiles(path, config.tls.key)], config.tls.minimum_protocol)
        validity = valid(path)
    except TlsProblem as problem:
        remedy = "correct tls.certificate and tls.key, and their permissions"
        yield Finding("problem", "certificate", str(problem), remedy)
        return
    now = clock.now()
    shown = f"{path}, valid until {datetime.datetime.fromtimestamp(validity.until, datetime.UTC):%Y-%m-%d}"
    if not validity.since <= now < validity.until:
        yield Finding("problem", "certificate", f"{shown}: not valid now", "renew it")
    elif validity.until - now < _EXPIRES_SOON:
        yield Finding("warning", "certificate", f"{shown}: soon", "renew it")
    elif not _covers(certificate_names(path), config.hostname):
        yield Finding(
            "problem", "certificate", f"{shown}: not for {config.hostname}", f"get one for {config.hostname}"
        )
    else:
        yield Finding("ok", "certificate", shown)


def _covers(names: tuple[str, ...], hostname: str) -> bool:
    # RFC 9525 §6.3: a wildcard stands for the whole leftmost label.
    return hostname in names or "*." + hostname.partition(".")[2] in names


def _files(config: Config) -> Iterator[Finding]:
    """The files that the configuration names."""
    named: list[tuple[str, Path | None]] = [
        ("outbound.relayhost_password_file", config.outbound.relayhost_password_file),
        ("outbound.tls_ca_file", config.outbound.tls_ca_file),
    ]
    named += [
        (f"smtp.relay_domains.{name}.recipients", domain.recipients)
        for name, domain in config.smtp.relay_domains.items()
    ]
    for key, path in named:
        if path is None:
            continue
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            yield Finding("problem", key, f"{path}: {error.strerror}", "correct the path or its permissions")
        else:
            yield Finding("ok", key, str(path))


def _listeners(config: Config) -> Iterator[Finding]:
    seen: dict[Endpoint, str] = {}
    tables = [(f"listen.{name}", endpoints) for name, endpoints in config.listen]
    for key, endpoints in [*tables, ("metrics.listen", config.metrics.listen)]:
        for endpoint in endpoints:
            if endpoint in seen and endpoint.port != 0:
                yield Finding(
                    "problem", key, f"{endpoint} is also in {seen[endpoint]}", "give each service its own"
                )
            elif not endpoint.path:
                yield _port(key, endpoint)
            seen[endpoint] = key


def _port(key: str, endpoint: Endpoint) -> Finding:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        return Finding("problem", key, f"{endpoint}: {error.strerror}", "correct the host")
    try:
        with socket.socket(family, kind, protocol) as trial:
            # With SO_REUSEPORT, as `serve` does it: a port of a running Posthouse counts as free.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(address)
    except OSError as error:
        return _port_trouble(key, endpoint, error)
    return Finding("ok", key, str(endpoint))


def _port_trouble(key: str, endpoint: Endpoint, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return Finding(
            "problem",
            key,
            f"{endpoint} is taken by another program",
            f"find it with `ss -ltnp 'sport = :{endpoint.port}'` and stop it, or change {key}",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Finding(
            "warning",
            key,
            f"{endpoint} can be opened by root only",
            "start the server as root (it gives root up at once), or with CAP_NET_BIND_SERVICE",
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return Finding("problem", key, f"{endpoint} is not an address of this machine", f"correct {key}")
    return Finding("problem", key, f"{endpoint}: {error.strerror}", f"correct {key}")


async def _own_name(config: Config, resolver: Resolver) -> list[Finding]:
    name = config.hostname
    answer = await resolver.addresses(name)
    match answer:
        case NotFound():
            remedy = f"add an A record for {name}, and an AAAA record if the machine has IPv6"
            return [Finding("problem", "dns", f"{name} has no address", remedy)]
        case LookupFailed():
            remedy = "check the network and dns.nameservers"
            return [Finding("warning", "dns", f"{name} could not be looked up: {answer.reason}", remedy)]
    findings = [Finding("ok", "dns", f"{name} is {', '.join(answer.records)}")]
    for address in answer.records:
        if ip_address(address).is_global:
            findings.append(await _reverse(name, address, resolver))
    return findings


async def _reverse(name: str, address: str, resolver: Resolver) -> Finding:
    answer = await resolver.ptr(address)
    if isinstance(answer, LookupFailed):
        return Finding(
            "warning", "dns", f"the name of {address} could not be looked up: {answer.reason}", "try later"
        )
    if isinstance(answer, Found) and name in answer.records:
        return Finding("ok", "dns", f"{address} is {name}")
    known = ", ".join(answer.records) if isinstance(answer, Found) else "has no name"
    return Finding(
        "warning",
        "dns",
        f"the PTR record of {address} is not {name} ({known}); many servers refuse such clients",
        f"have your provider set it to {name}",
    )


async def _mx(config: Config, domain: str, resolver: Resolver) -> Finding:
    answer = await resolver.mx(domain)
    wanted = f"{domain}. MX 10 {config.hostname}."
    match answer:
        case LookupFailed():
            return Finding(
                "warning", "dns", f"the MX of {domain} could not be looked up: {answer.reason}", "try later"
            )
        case NotFound():
            return Finding("problem", "dns", f"{domain} has no MX record", wanted)
    exchanges = [mx.exchange for mx in answer.records]
    if config.hostname in exchanges:
        return Finding("ok", "dns", f"the MX of {domain} is {config.hostname}")
    return Finding(
        "warning",
        "dns",
        f"the MX of {domain} is {', '.join(exchanges) or 'null'}, not {config.hostname}",
        f"{wanted} — unless another server passes its mail on to this one",
    )
