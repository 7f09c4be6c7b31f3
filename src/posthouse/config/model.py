"""The keys of posthouse.toml: frozen models, one per table, each key with its default and its meaning.

Names are Postfix's where Postfix has the setting, without its prefix: [smtp] holds smtpd_*, [outbound]
smtp_*. The descriptions are what docs/configuration.md prints. After reading, durations are seconds,
sizes octets, and paths absolute.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from posthouse.config.endpoint import Endpoint, parse_endpoint
from posthouse.config.kinds import (
    Algorithm,
    Algorithms,
    BlobsUrl,
    DatabaseUrl,
    Duration,
    Endpoints,
    FilePath,
    Hostname,
    Kind,
    Mechanism,
    Mechanisms,
    Networks,
    NextHop,
    Number,
    Restriction,
    Restrictions,
    Size,
    Switch,
    Text,
    Texts,
    read_hostname,
)
from posthouse.config.units import parse_network


class Table(BaseModel):
    """A table of the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _on(*endpoints: str) -> tuple[Endpoint, ...]:
    return tuple(parse_endpoint(text) for text in endpoints)


class Listen(Table):
    """Where the services listen: lists of "host:port", "[::]:port" or "unix:/path"; [] turns one off."""

    smtp: Endpoints = Field(_on("0.0.0.0:25", "[::]:25"), description="mail from other servers")
    submission: Endpoints = Field(
        _on("0.0.0.0:587", "[::]:587", "unix:run/submission"),
        description="mail from our users, with STARTTLS; on a Unix socket, which `posthouse sendmail` uses, "
        "the peer's uid is the identity",
    )
    submissions: Endpoints = Field(
        _on("0.0.0.0:465", "[::]:465"), description="mail from our users, with TLS from the start"
    )
    lmtp: Endpoints = Field((), description="local delivery for another MTA (RFC 2033)")
    imap: Endpoints = Field(_on("0.0.0.0:143", "[::]:143"), description="IMAP, with STARTTLS")
    imaps: Endpoints = Field(_on("0.0.0.0:993", "[::]:993"), description="IMAP, with TLS from the start")
    pop3: Endpoints = Field(_on("0.0.0.0:110", "[::]:110"), description="POP3, with STLS")
    pop3s: Endpoints = Field(_on("0.0.0.0:995", "[::]:995"), description="POP3, with TLS from the start")
    managesieve: Endpoints = Field((), description="ManageSieve")
    http: Endpoints = Field((), description="web without TLS, for a proxy in front")
    https: Endpoints = Field((), description="web, with TLS")


class Database(Table):
    """Where everything is kept."""

    url: DatabaseUrl = Field("sqlite:///posthouse.db", description="the database")
    blobs: BlobsUrl = Field("file:blobs", description="message bodies above 64 KiB")
    notify: Literal["auto", "off"] = Field(
        "auto",
        description="PostgreSQL: tell other hosts of changes by LISTEN and NOTIFY, if the server has them; "
        "else they look once a second",
    )
    reader_connections: Number = Field(
        4,
        ge=1,
        le=64,
        description="PostgreSQL: connections for reading, of each worker; it has up to four more",
    )
    connect_timeout: Duration = Field(
        5.0, ge=2, description="PostgreSQL: wait for a connection, to each host that the URL names"
    )
    statement_timeout: Duration = Field(
        20.0, ge=1, description="PostgreSQL: wait for a statement; locks are waited for half as long"
    )
    blobs_timeout: Duration = Field(
        10.0,
        ge=1,
        description="S3: wait for an answer, all retries included; large bodies get longer by size",
    )


class RelayDomain(Table):
    """A domain for which we take mail and pass it on."""

    next_hop: NextHop = Field(
        "", description="the server that its mail goes to; empty: as its MX records say"
    )
    recipients: FilePath = Field(
        None, description="a file of the addresses that exist, one a line; empty: all are taken"
    )


def _relay_domains_by_name(value: object) -> object:
    if isinstance(value, dict):
        return {read_hostname(name): domain for name, domain in value.items()}
    return value


class Smtp(Table):
    """Receiving mail (Postfix's smtpd_ settings)."""

    message_size_limit: Size = Field(50_000_000, description="of one letter; 0: none")
    mynetworks: Networks = Field(
        (parse_network("127.0.0.0/8"), parse_network("::1/128")),
        description="clients that may relay, and meet no look-ups and no per-client limits, on any port",
    )
    relay_domains: Annotated[
        dict[str, RelayDomain], BeforeValidator(_relay_domains_by_name), Kind("table of relay domains")
    ] = Field(default_factory=dict, description="domains that we pass mail on for, see below")
    client_restrictions: Restrictions = Field(
        (Restriction.PERMIT_MYNETWORKS,), description="rules about the client's address"
    )
    helo_restrictions: Restrictions = Field(
        (Restriction.PERMIT_MYNETWORKS,), description="rules about the name given with HELO or EHLO"
    )
    sender_restrictions: Restrictions = Field(
        (Restriction.PERMIT_MYNETWORKS,), description="rules about MAIL FROM"
    )
    recipient_restrictions: Restrictions = Field(
        (
            Restriction.PERMIT_MYNETWORKS,
            Restriction.PERMIT_SASL_AUTHENTICATED,
            Restriction.REJECT_UNAUTH_DESTINATION,
        ),
        description="rules about RCPT TO; without reject_unauth_destination, reject or defer "
        "this were an open relay, which is an error",
    )
    data_restrictions: Restrictions = Field((Restriction.PERMIT_MYNETWORKS,), description="rules at DATA")
    tls_security_level: Literal["none", "may", "encrypt"] = Field(
        "may", description="STARTTLS on port 25: not offered, offered, or demanded"
    )
    client_connection_count_limit: Number = Field(
        50, ge=0, description="connections of one client at a time; 0: no limit"
    )
    connection_limit: Number = Field(
        2000, ge=1, description="connections of all clients and protocols at a time"
    )
    recipient_limit: Number = Field(
        1000, ge=100, description="recipients of one letter; RFC 5321 demands at least 100"
    )
    hard_error_limit: Number = Field(20, ge=1, description="errors in a session, after which it is ended")
    hopcount_limit: Number = Field(50, ge=1, description="Received fields, beyond which a letter loops")
    timeout: Duration = Field(
        300.0, ge=1, description="wait for the client's next command, all of it, or more of its letter"
    )
    min_data_rate: Number = Field(
        500,
        ge=1,
        description="octets a second with which a letter must come in, on average, that takes longer than "
        "the timeout; for APPEND of IMAP too",
    )
    proxy_trusted: Networks = Field(
        (), description="load balancers from which the PROXY protocol (version 1 or 2) is demanded"
    )

    @field_validator("recipient_restrictions")
    @classmethod
    def _not_an_open_relay(cls, rules: tuple[Restriction, ...]) -> tuple[Restriction, ...]:
        closing = {Restriction.REJECT_UNAUTH_DESTINATION, Restriction.REJECT, Restriction.DEFER}
        for rule in rules:
            if rule in closing:
                return rules
            if rule is Restriction.PERMIT:
                break
        raise ValueError(
            "must hold reject_unauth_destination, reject or defer before any permit: "
            "this would be an open relay"
        )


class Accounts(Table):
    """Users and their mailboxes."""

    mailbox_size_limit: Size = Field(
        0, description="of all mail of an account that has no quota of its own; 0: none"
    )
    auth_mechanisms: Mechanisms = Field(
        (Mechanism.PLAIN, Mechanism.LOGIN),
        description="how users may prove who they are, on all ports (SASL); SCRAM keeps keys beside the "
        "password's hash, made when a password is set, or at a login with PLAIN; EXTERNAL needs "
        "tls.client_ca_file, OAUTHBEARER and XOAUTH2 need [oauth]; without PLAIN and LOGIN no passwords are "
        "taken by other commands either",
    )
    auth_channel_binding: Literal["off", "auto", "always"] = Field(
        "auto",
        description="offer SCRAM-…-PLUS, which nobody in between can pass on: never, on TLS 1.2 (tls-unique "
        "and tls-server-end-point), or on TLS 1.3 too, where programs fail that know only tls-exporter",
    )
    auth_allow_cleartext: Switch = Field(
        False, description="take passwords without TLS from other addresses than loopback too"
    )
    login_timeout: Duration = Field(
        180.0, ge=1, description="how long a client may take to log in, whatever it sends meanwhile"
    )


class OAuth(Table):
    """Access tokens (JSON web tokens) of an authorization server, for OAUTHBEARER and XOAUTH2."""

    issuer: Text = Field("", description="who issues them, exactly as they say in `iss`")
    audience: Texts = Field((), description="whom they must be for: one of these in `aud`")
    keys_file: FilePath = Field(
        None, description="the issuer's public keys, a JSON web key set (JWKS); read again at SIGHUP"
    )
    algorithms: Algorithms = Field(
        (Algorithm.RS256, Algorithm.ES256), description="how they may be signed, whatever they say"
    )
    account_claim: Text = Field("email", description="which of their claims is the address of the account")
    scope: Text = Field("", description="the scope that they must have; empty: none")
    leeway: Duration = Field(60.0, ge=0, le=300, description="how far the issuer's clock may be from ours")
    discovery_url: Text = Field(
        "", description="the issuer's OpenID configuration, told to programs whose token is of no use"
    )

    @field_validator("audience", "keys_file")
    @classmethod
    def _with_issuer(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("issuer") and not value:
            raise ValueError("cannot be empty beside oauth.issuer")
        return value

    @field_validator("discovery_url")
    @classmethod
    def _is_secure(cls, url: str) -> str:
        if url and not url.startswith("https://"):
            raise ValueError('must begin with "https://"')
        return url


class Imap(Table):
    """IMAP."""

    message_limit: Number = Field(
        0,
        ge=0,
        description="messages that one command deals with at most, 1000 or more; clients that know "
        "MESSAGELIMIT (RFC 9738) go on with the rest; 0: all",
    )
    save_limit: Number = Field(
        0,
        ge=0,
        description="messages that one COPY or APPEND takes at most, 1000 or more, where there is no "
        "message_limit (SAVELIMIT of RFC 9738); 0: all",
    )
    unauthenticate: Switch = Field(
        True, description="a client may log out and stay, to log in as another user (RFC 8437)"
    )
    append_8bit_headers: Switch = Field(
        True,
        description="APPEND takes messages with 8-bit characters in the header also without ENABLE "
        "UTF8=ACCEPT, so that old mail can be moved here; false: it refuses them, as RFC 6855 has it",
    )

    @field_validator("message_limit", "save_limit")
    @classmethod
    def _is_what_clients_expect(cls, limit: int, info: ValidationInfo) -> int:
        if 0 < limit < 1000:  # RFC 9738 §3
            raise ValueError("must be 0, or 1000 at least")
        if limit and info.field_name == "save_limit" and info.data.get("message_limit"):
            raise ValueError("must be 0 beside message_limit, which holds for COPY and APPEND too")
        return limit


class Pop3(Table):
    """POP3."""

    lock_session: Switch = Field(
        False, description="one session at a time for each mailbox; others are told [IN-USE]"
    )
    downgrade: Switch = Field(
        True,
        description="clients that have not said UTF8 get header fields in UTF-8 encoded in ASCII (RFC 6857);"
        " with false as they came, which RFC 6856 forbids",
    )


class Dns(Table):
    """Name servers."""

    nameservers: Endpoints = Field((), description='such as ["127.0.0.1:5353"]; empty: the system\'s')
    trust_ad: Switch = Field(
        False,
        description="believe every name server that says it has validated DNSSEC, not only one on loopback",
    )


class Outbound(Table):
    """Sending mail to other servers (Postfix's smtp_ settings)."""

    port: Number = Field(
        25, ge=1, le=65_535, description="of other people's MX hosts; other values are for tests"
    )
    relayhost: NextHop = Field(
        "", description='the smarthost that takes all mail for others, such as "[smtp.example.net]:587"'
    )
    relayhost_user: Text = Field("", description="log in at the relayhost with this name")
    relayhost_password_file: FilePath = Field(
        None, description="and with the password on the first line of this file"
    )
    connection_cache_time_limit: Duration = Field(2.0, description="keep an idle session for the next letter")
    destination_concurrency_limit: Number = Field(
        20, ge=1, description="connections to one destination at a time"
    )
    tls_security_level: Literal["none", "may", "encrypt", "secure"] = Field(
        "may",
        description="never use TLS, use it where offered, demand it, or demand it "
        "with a certificate that is valid for the host",
    )
    tls_ca_file: FilePath = Field(
        None, description="certificate authorities for `secure`; empty: the system's"
    )
    bind_address: Text = Field(
        "", description="our IPv4 address for connections out; empty: the system chooses"
    )
    bind_address6: Text = Field(
        "", description="our IPv6 address for connections out; empty: the system chooses"
    )
    connect_timeout: Duration = Field(30.0, ge=1, description="wait for a connection")

    @field_validator("bind_address", "bind_address6")
    @classmethod
    def _is_an_address(cls, text: str, info: ValidationInfo) -> str:
        version = 6 if info.field_name == "bind_address6" else 4
        if text and ("/" in text or parse_network(text).version != version):
            raise ValueError(f"must be an IPv{version} address")
        return text


class Queue(Table):
    """Retries."""

    maximal_queue_lifetime: Duration = Field(
        5 * 86_400.0, description="give up after this time and tell the sender"
    )
    bounce_queue_lifetime: Duration = Field(
        5 * 86_400.0, description="the same for letters without a sender, which are then dropped"
    )
    minimal_backoff_time: Duration = Field(300.0, ge=1, description="before the second attempt")
    maximal_backoff_time: Duration = Field(4000.0, ge=1, description="the longest wait between two attempts")
    delay_warning_time: Duration = Field(
        4 * 3_600.0, description="tell the sender of a delay after this time; 0: never"
    )

    @field_validator("maximal_backoff_time")
    @classmethod
    def _not_below_minimal(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds < info.data.get("minimal_backoff_time", 0):
            raise ValueError("must not be less than queue.minimal_backoff_time")
        return seconds


class Tls(Table):
    """The certificate of all services. Without one, a self-signed one is made."""

    certificate: FilePath = Field(None, description="PEM file with the chain, the server's own first")
    key: FilePath = Field(
        None, description="PEM file with the private key; empty: it is in the certificate's file"
    )
    client_ca_file: FilePath = Field(
        None,
        description="PEM file of the authorities that issue certificates to users, for EXTERNAL; users' "
        "programs are then asked for one on the ports for users, and need not have one",
    )
    client_crl_file: FilePath = Field(
        None, description="PEM file of their revocation lists; without it nothing tells what was revoked"
    )
    minimum_protocol: Literal["TLSv1.2", "TLSv1.3"] = Field(
        "TLSv1.2", description="for users' connections and for other servers"
    )

    @field_validator("key")
    @classmethod
    def _with_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key and not info.data.get("certificate"):
            raise ValueError("needs tls.certificate beside it")
        return key

    @field_validator("client_crl_file")
    @classmethod
    def _with_authorities(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path and not info.data.get("client_ca_file"):
            raise ValueError("needs tls.client_ca_file beside it")
        return path


class Policy(Table):
    """Checks of mail from strangers. There are no keys yet beyond the restriction lists of [smtp]."""


class Journey(Table):
    """The record of what happened to each letter."""

    enabled: Switch = Field(True, description="keep journeys")
    retention: Duration = Field(30 * 86_400.0, description="for this time")


class Search(Table):
    """The full-text index of all mail, made in the background. Without it, searches read the messages."""

    enabled: Switch = Field(True, description="keep it; it takes about three times the size of the text")
    text_size_limit: Size = Field(
        1_000_000,
        description="characters of one message that are indexed; what is beyond is read when it is searched; "
        "0: all",
    )


class Web(Table):
    """The web interface. There are no keys yet."""


class Metrics(Table):
    """Counters for Prometheus, at /metrics."""

    listen: Endpoints = Field((), description="where to answer; anybody who can connect may read them")


class Log(Table):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least important that is written"
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="for people, or one JSON object a line; auto: for people on a terminal"
    )


def _read_data_directory(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("must be a path in quotes")
    context: Any = info.context
    directory = context["directory"] if context else Path.cwd()
    return Path(directory) / Path(value).expanduser()


def _read_own_hostname(value: object) -> str:
    return read_hostname(socket.gethostname().replace("_", "-") if value == "" else value)


class Config(Table):
    """All of posthouse.toml."""

    hostname: Annotated[Hostname, BeforeValidator(_read_own_hostname)] = Field(
        "", description="our name in greetings, trace fields and Message-IDs; empty: the machine's"
    )
    data_directory: Annotated[
        Path, BeforeValidator(_read_data_directory), WithJsonSchema({"type": "string"}), Kind("path")
    ] = Field(
        Path("data"), description="where all is kept, relative to the file; other relative paths lie under it"
    )
    user: Text = Field("", description="the user to run as; empty: the owner of data_directory")
    workers: Number = Field(0, ge=0, le=512, description="processes; 0: one per core")

    listen: Listen = Field(default_factory=Listen)
    database: Database = Field(default_factory=Database)
    smtp: Smtp = Field(default_factory=Smtp)
    accounts: Accounts = Field(default_factory=Accounts)
    oauth: OAuth = Field(default_factory=OAuth)
    imap: Imap = Field(default_factory=Imap)
    pop3: Pop3 = Field(default_factory=Pop3)
    dns: Dns = Field(default_factory=Dns)
    outbound: Outbound = Field(default_factory=Outbound)
    queue: Queue = Field(default_factory=Queue)
    tls: Tls = Field(default_factory=Tls)
    policy: Policy = Field(default_factory=Policy)
    journey: Journey = Field(default_factory=Journey)
    search: Search = Field(default_factory=Search)
    web: Web = Field(default_factory=Web)
    metrics: Metrics = Field(default_factory=Metrics)
    log: Log = Field(default_factory=Log)
