"""Trace fields (RFC 5321 §4.4): the Received field that we add, and what earlier ones say about loops.

A client that has authenticated is not named: where a user sits when writing is nobody's business
downstream (the journey knows). What a client says of itself is shown only in harmless characters.
"""

from __future__ import annotations

import re
from functools import lru_cache

from posthouse.mail.dates import format_date
from posthouse.mail.envelope import Client
from posthouse.mail.header import HeaderIndex

_HARMFUL = re.compile(r"[^A-Za-z0-9.:_\[\]-]")


@lru_cache(maxsize=2048)
def _opening(client: Client, hostname: str) -> str:
    """All of the field that is the same for every letter of a session."""
    tls = ""
    if client.tls:
        version, _, cipher = client.tls.partition(" ")
        tls = f"\r\n\t(using {version} with cipher {cipher})" if cipher else f"\r\n\t(using {version})"
    # RFC 3848 and RFC 6531 §3.7.3 for the value of `with`.
    by = f"by {hostname} (Posthouse) with {client.protocol} id "
    if client.address == "local" or client.user:
        return (
            f"Received: {by}"
            if not tls
            else f"Received: by {hostname} (Posthouse){tls}\r\n\twith {client.protocol} id "
        )
    literal = f"IPv6:{client.address}" if ":" in client.address else client.address
    name = _HARMFUL.sub("?", client.helo[:255]) or "unknown"
    return f"Received: from {name} ([{literal}]){tls}\r\n\t{by}"


def received_field(
    client: Client, hostname: str, letter_id: str, when: float, for_recipient: str | None
) -> bytes:
    """The whole field, folded, with its CRLF.

    `for_recipient` is named only where the letter has one recipient, else None: the others are none
    of his business. One beyond ASCII is named only where the session speaks SMTPUTF8.
    """
    date = format_date(when)
    opening = _opening(client, hostname)
    if for_recipient and (for_recipient.isascii() or client.protocol.startswith("UTF8")):
        return f"{opening}{letter_id}\r\n\tfor <{for_recipient}>; {date}\r\n".encode()
    return f"{opening}{letter_id};\r\n\t{date}\r\n".encode()


def hop_count(header: HeaderIndex) -> int:
    """How many servers the letter has passed: its Received fields (RFC 5321 §6.3)."""
    return header.count("Received")


def delivered_to(header: HeaderIndex) -> list[str]:
    """Addresses of the Delivered-To fields in lower case: mailboxes that have had the letter before."""
    return [value.decode("utf-8", "replace").strip(" <>").lower() for value in header.all("Delivered-To")]
