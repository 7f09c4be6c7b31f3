"""Addresses as people write them: `bob@example.org, "Carol C." <carol@example.org>, team: dave@…;`"""

from __future__ import annotations

from posthouse.mail import charset, mailboxes, words
from posthouse.mail.address import Address, AddressError, parse_address
from posthouse.mail.header import unfold


def read_addresses(text: bytes, origin: str = "") -> list[tuple[str, Address]]:
    """Names and addresses of a list; those without a domain get `origin`. Raises AddressError.

    A local part gets quotes only where somebody wrote some: `bob@@example.org` stays an error.
    """
    found = []
    may_quote = b'"' in text
    for entry in mailboxes.parse(unfold(text)):
        if entry.local is None or entry.domain is None:  # a group's name or end
            continue
        local, domain = entry.local.decode("utf-8", "replace"), entry.domain.decode("utf-8", "replace")
        name = words.decode(charset.eight_bit(entry.name or b""))
        found.append((name, qualified(local, domain or origin, may_quote=may_quote)))
    return found


def qualified(local: str, domain: str, *, may_quote: bool = False) -> Address:
    """The address of `local` at `domain`, which may be empty. Raises AddressError, naming the address."""
    if may_quote:
        text = str(Address(local, domain))
    else:
        text = f"{local}@{domain}" if domain else local
    try:
        return parse_address(text)
    except AddressError as error:
        raise AddressError(f"{text}: {error}") from None
