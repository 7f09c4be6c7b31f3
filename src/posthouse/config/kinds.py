"""The kinds of value that posthouse.toml holds, as types for the models.

Each is an ordinary type with a parser before it; `Kind` in its metadata says how the reference
describes it and how a default is written back. Relative paths are put under data_directory while
a file is read: the reader hands the directory in as validation context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from annotated_types import MinLen
from pydantic import BeforeValidator, Strict, StringConstraints, ValidationInfo, WithJsonSchema

from posthouse.config.endpoint import Endpoint, parse_endpoint, parse_next_hop
from posthouse.config.units import Network, parse_duration, parse_network, parse_size


class Mechanism(StrEnum):
    """SASL mechanisms for users."""

    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_1 = "SCRAM-SHA-1"
    EXTERNAL = "EXTERNAL"
    OAUTHBEARER = "OAUTHBEARER"
    XOAUTH2 = "XOAUTH2"
    PLAIN = "PLAIN"
    LOGIN = "LOGIN"


class Algorithm(StrEnum):
    """How tokens may be signed (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2): by public keys only."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"
    ED25519 = "Ed25519"


class Restriction(StrEnum):
    """The rules of the restriction lists, by Postfix's names.

    A list is read from left to right; the first rule that decides ends it.
    """

    PERMIT_MYNETWORKS = "permit_mynetworks"
    PERMIT_SASL_AUTHENTICATED = "permit_sasl_authenticated"
    REJECT_UNAUTH_DESTINATION = "reject_unauth_destination"
    REJECT_NON_FQDN_SENDER = "reject_non_fqdn_sender"
    REJECT_NON_FQDN_RECIPIENT = "reject_non_fqdn_recipient"
    REJECT_UNKNOWN_SENDER_DOMAIN = "reject_unknown_sender_domain"
    REJECT_UNKNOWN_RECIPIENT_DOMAIN = "reject_unknown_recipient_domain"
    REJECT_INVALID_HELO_HOSTNAME = "reject_invalid_helo_hostname"
    REJECT_NON_FQDN_HELO_HOSTNAME = "reject_non_fqdn_helo_hostname"
    REJECT_UNLISTED_RECIPIENT = "reject_unlisted_recipient"
    REJECT_AUTHENTICATED_SENDER_LOGIN_MISMATCH = "reject_authenticated_sender_login_mismatch"
    REJECT_SENDER_LOGIN_MISMATCH = "reject_sender_login_mismatch"
    REJECT_UNAUTH_PIPELINING = "reject_unauth_pipelining"
    PERMIT = "permit"
    REJECT = "reject"
    DEFER = "defer"


@dataclass(frozen=True, slots=True)
class Kind:
    """How the reference calls a kind of value."""

    name: str


def _context_path(info: ValidationInfo) -> Path | None:
    context: Any = info.context
    return context["data_directory"] if context else None


def under(directory: Path | None, path: str) -> str:
    """`path` with a leading ~ expanded, and below `directory` when it is relative."""
    expanded = Path(path).expanduser()
    return str(expanded if directory is None else directory / expanded)


def _read_file_path(value: object, info: ValidationInfo) -> Path | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str | Path):
        raise ValueError("must be a path in quotes")
    return Path(under(_context_path(info), str(value)))


def _read_endpoint(value: object, info: ValidationInfo) -> Endpoint:
    if isinstance(value, str):
        value = parse_endpoint(value)
    if not isinstance(value, Endpoint):
        raise ValueError('must be "host:port" or "unix:/path" in quotes')
    if not value.path or value.path.startswith("/"):
        return value
    # Parsed once more, because the absolute path may be too long for a socket.
    return parse_endpoint("unix:" + under(_context_path(info), value.path))


def _read_next_hop(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('must be a host in quotes, such as "[smtp.example.net]:587"')
    return parse_next_hop(value) if value else ""


def _read_database_url(value: object, info: ValidationInfo) -> str:
    if isinstance(value, str) and value.startswith("sqlite:///") and len(value) > len("sqlite:///"):
        return "sqlite:///" + under(_context_path(info), value.removeprefix("sqlite:///"))
    if isinstance(value, str) and re.match(r"postgres(ql)?://", value):
        return value
    raise ValueError('must be "sqlite:///file" or "postgresql://user@host/database"')


def _read_blobs_url(value: object, info: ValidationInfo) -> str:
    if isinstance(value, str) and value.startswith("file:") and len(value) > len("file:"):
        return "file:" + under(_context_path(info), value.removeprefix("file:").removeprefix("//"))
    if isinstance(value, str) and re.match(r"s3://[^/?]", value):
        return value
    raise ValueError('must be "file:directory" or "s3://bucket?endpoint=…"')


_HOSTNAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


def read_hostname(value: object) -> str:
    """A host or domain name in lower case, without the final dot; ValueError when it is none."""
    name = value.strip().lower().removesuffix(".") if isinstance(value, str) else ""
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"is not a domain name: {error}") from None
    if not _HOSTNAME.fullmatch(name):
        raise ValueError('must be a name such as "mail.example.org"')
    return name


_TEXT = {"type": "string"}
_TEXT_OR_NUMBER = {"type": ["string", "number"]}

Switch: TypeAlias = Annotated[bool, Strict(), Kind("true or false")]
Text: TypeAlias = Annotated[str, Strict(), StringConstraints(max_length=1000), Kind("text")]
Number: TypeAlias = Annotated[int, Strict(), Kind("number")]
Duration: TypeAlias = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema(_TEXT_OR_NUMBER), Kind("duration")
]
Size: TypeAlias = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_TEXT_OR_NUMBER), Kind("size")]
FilePath: TypeAlias = Annotated[
    Path | None, BeforeValidator(_read_file_path), WithJsonSchema(_TEXT), Kind("path")
]
Hostname: TypeAlias = Annotated[str, BeforeValidator(read_hostname), WithJsonSchema(_TEXT), Kind("host name")]
Networks: TypeAlias = Annotated[
    tuple[Annotated[Network, BeforeValidator(parse_network), WithJsonSchema(_TEXT)], ...],
    Kind("list of networks"),
]
Endpoints: TypeAlias = Annotated[
    tuple[Annotated[Endpoint, BeforeValidator(_read_endpoint), WithJsonSchema(_TEXT)], ...],
    Kind("list of endpoints"),
]
NextHop: TypeAlias = Annotated[str, BeforeValidator(_read_next_hop), WithJsonSchema(_TEXT), Kind("next hop")]
DatabaseUrl: TypeAlias = Annotated[
    str, BeforeValidator(_read_database_url), WithJsonSchema(_TEXT), Kind("URL")
]
BlobsUrl: TypeAlias = Annotated[str, BeforeValidator(_read_blobs_url), WithJsonSchema(_TEXT), Kind("URL")]
Mechanisms: TypeAlias = Annotated[
    tuple[Mechanism, ...],
    MinLen(1),
    Kind("list of " + ", ".join(f"`{one}`" for one in Mechanism)),
]
Algorithms: TypeAlias = Annotated[
    tuple[Algorithm, ...],
    MinLen(1),
    Kind("list of " + ", ".join(f"`{one}`" for one in Algorithm)),
]
Texts: TypeAlias = Annotated[tuple[Text, ...], Kind("list of texts")]
Restrictions: TypeAlias = Annotated[tuple[Restriction, ...], Kind("list of restrictions")]
