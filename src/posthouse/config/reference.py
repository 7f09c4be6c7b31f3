"""The reference of posthouse.toml, made from the models: the table in docs/configuration.md, the JSON
schema, and the short file that `posthouse init` writes.

    posthouse config reference > docs/configuration.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from posthouse.config.endpoint import Endpoint
from posthouse.config.kinds import Kind, Restriction
from posthouse.config.load import keys
from posthouse.config.model import Config, RelayDomain
from posthouse.config.units import show_duration, show_network, show_size

_INTRODUCTION = """\
# posthouse.toml

Every key has a default; a file may be empty. An unknown key or a wrong value is an error that names the line
and what was probably meant: `posthouse check` shows them all. `posthouse config schema` prints a JSON schema.

Names are Postfix's where Postfix has the setting, without its prefix: `[smtp]` holds `smtpd_*`,
`[outbound]` `smtp_*`. Domains, accounts, keys and passwords are in the database, never in this file.

- A *duration* is a number of seconds, or a number with a unit: `"300s"`, `"10m"`, `"4h"`, `"5d"`, `"2w"`.
- A *size* is a number of octets, or a number with a unit: `"50MB"` (10^6), `"1GB"` (10^9), `"64KiB"` (2^10).
- An *endpoint* is `"host:port"`, `"[::]:port"` or `"unix:/path"`.
- A *next hop* is `"example.org"` (as its MX records say), or `"[host]:port"` (this very host;
  an IPv4 address needs no brackets).
- A *network* is `"192.0.2.0/24"`, `"[2001:db8::]/32"` or one address.
- A relative *path* lies under `data_directory`; `data_directory` itself is relative to the file.
- A *restriction* is one of the names at the end of this page. A list is read from left to right;
  the first rule that decides ends it.

This page is made from the program (`make docs`).
"""


def markdown() -> str:
    """docs/configuration.md."""
    parts = [_INTRODUCTION, "## Before the first table\n", _rows(Config, "")]
    for name, field in Config.model_fields.items():
        table = field.annotation
        if isinstance(table, type) and issubclass(table, BaseModel):
            parts.append(f"\n## [{name}]\n\n{table.__doc__}\n")
            if table.model_fields:
                parts.append(_rows(table, f"{name}."))
            if name == "smtp":
                parts.append('\n### [smtp.relay_domains."branch.example"]\n')
                parts.append(_rows(RelayDomain, "smtp.relay_domains.NAME."))
    parts.append("\n## Restrictions\n")
    parts += [f"- `{rule.value}`" for rule in Restriction]
    return "\n".join(parts) + "\n"


def schema() -> str:
    """A JSON schema of the file, for editors."""
    return json.dumps(Config.model_json_schema(mode="validation"), indent=2, ensure_ascii=False)


def default_toml(hostname: str) -> str:
    """The file that `posthouse init` writes for a machine called `hostname`."""
    return f"""\
# Posthouse. Every key has a default; docs/configuration.md lists them all.
# `posthouse check` tells what is wrong.

hostname = {_toml(hostname)}
data_directory = "data"        # relative to this file

# Where the services listen; [] turns one off.
# [listen]
# smtp = ["0.0.0.0:25", "[::]:25"]

# The certificate of all services; without one a self-signed one is made.
# [tls]
# certificate = "/etc/letsencrypt/live/{hostname}/fullchain.pem"
# key = "/etc/letsencrypt/live/{hostname}/privkey.pem"

# Send all mail for others through a smarthost.
# [outbound]
# relayhost = "[smtp.example.net]:587"
# relayhost_user = "me"
# relayhost_password_file = "/etc/posthouse/relayhost-password"
"""


def in_force(config: Config) -> str:
    """Every key with the value that `config` has for it, as TOML that reads back the same."""
    lines = [f"{name} = {_set(field, getattr(config, name))}" for name, field in _plain(Config)]
    for name in Config.model_fields:
        table = getattr(config, name)
        if isinstance(table, BaseModel):
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_set(field, getattr(table, key))}" for key, field in _plain(type(table))]
    return "\n".join(lines) + "\n"


def _plain(table: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of a table that are not tables themselves."""
    for name, field in table.model_fields.items():
        if field.description:
            yield name, field


def _rows(table: type[BaseModel], prefix: str) -> str:
    rows = ["| key | kind | default | meaning |", "|---|---|---|---|"]
    for name, field in _plain(table):
        default = _set(field, field.get_default(call_default_factory=True, validated_data={}))
        rows.append(f"| `{prefix}{name}` | {_kind(field)} | `{default}` | {field.description} |")
    return "\n".join(rows)


def _kind(field: FieldInfo) -> str:
    for mark in field.metadata:
        if isinstance(mark, Kind):
            return mark.name
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    raise TypeError(f"no kind known for {field.annotation}")


def _set(field: FieldInfo, value: Any) -> str:
    """A value of a key as one writes it in the file."""
    kind = _kind(field)
    if kind == "duration":
        return _toml(show_duration(value))
    if kind == "size":
        return _toml(show_size(value)) if value else "0"
    return _toml(value)


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Endpoint):
        return _toml(str(value))
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        items = ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, BaseModel):
        return _toml(dict(value))
    if hasattr(value, "prefixlen"):
        return _toml(show_network(value))
    return json.dumps(str(value), ensure_ascii=False)


def undocumented(page: str) -> Iterator[str]:
    """The keys that `page` does not name."""
    for path in keys():
        if f"| `{'.'.join(path)}` |" not in page:
            yield ".".join(path)
