"""Addresses: `local@domain` as envelopes carry them (RFC 5321 §4.1.2, RFC 6531), and their canonical form.

`parse_address` is strict: what the grammar does not allow is an `AddressError` that says why. It
understands dot-atoms, quoted local parts, address literals, internationalized domains and local parts,
and `postmaster` alone. It refuses source routes, comments and white space, which the caller of a
header wants (`mailboxes`) but an envelope never has.

Two addresses are the same to us when `canonical` says the same: the local part in lower case and
Unicode form C, the domain as A-labels in lower case.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import idna

from posthouse.mail import charset, mailboxes, words
from posthouse.mail.header import unfold

LOCAL_LIMIT = 64
"""Octets of a local part (RFC 5321 §4.5.3.1.1)."""

DOMAIN_LIMIT = 255
"""Octets of a domain (RFC 5321 §4.5.3.1.2)."""

ADDRESS_LIMIT = 254
"""Octets of an address: a path is at most 256 with its angle brackets (RFC 5321 §4.5.3.1.3)."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_ORDINARY = re.compile(rf"({_ATEXT}+(?:\.{_ATEXT}+)*)@({_LABEL}(?:\.{_LABEL})*\.(?=[A-Za-z]){_LABEL})\Z")


class AddressError(ValueError):
    """Text that is no address; its message says why, in words for the one who wrote it."""


class Address(NamedTuple):
    """An address of an envelope."""

    local: str
    """The local part without quotes and backslashes."""
    domain: str
    """Lower case: a name in A- or U-labels, `[192.0.2.1]` or `[IPv6:2001:db8::1]`. Empty for postmaster."""

    def __str__(self) -> str:
        """The address as it stands in a command or header, quoted where it must be."""
        return _written(self)

    @property
    def ascii(self) -> bool:
        """False where SMTPUTF8 is needed to say it as it is."""
        return self.local.isascii() and self.domain.isascii()


@lru_cache(maxsize=16384)
def _written(address: Address) -> str:
    local = address.local if _is_dot_atom(address.local) else _quote(address.local)
    return f"{local}@{address.domain}" if address.domain else local


@lru_cache(maxsize=16384)
def parse_address(text: str) -> Address:
    """The address in `text`, an addr-spec without angle brackets. Raises AddressError."""
    match = _ORDINARY.match(text)
    if match is not None and len(text) <= ADDRESS_LIMIT:
        local, domain = match.groups()
        if len(local) <= LOCAL_LIMIT:
            return Address(local, domain.lower())
    return _parse_carefully(text)


def _parse_carefully(text: str) -> Address:
    """The rare kinds, and the reason for a refusal."""
    if not text:
        raise AddressError("the address is empty")
    if len(text) > ADDRESS_LIMIT or len(_octets(text)) > ADDRESS_LIMIT:
        raise AddressError(f"the address is longer than {ADDRESS_LIMIT} octets")
    if text.lower() == "postmaster":  # RFC 5321 §4.1.1.3: the one address without a domain
        return Address(text, "")
    if text[0] == '"':
        local, rest = _unquote(text)
        if rest[:1] != "@":
            raise AddressError("a quoted local part must be followed by @")
        written, domain = text[: len(text) - len(rest)], rest[1:]
    else:
        written, at, domain = text.rpartition("@")
        if not at:
            raise AddressError("there is no @ in the address")
        if not _is_dot_atom(written):
            raise AddressError(_what_is_wrong_with_local(written))
        local = written
    if len(_octets(written)) > LOCAL_LIMIT:
        raise AddressError(f"the part before the @ is longer than {LOCAL_LIMIT} octets")
    domain = _parse_domain(domain)
    if len(_octets(written)) + 1 + len(domain_to_ascii(domain)) > ADDRESS_LIMIT:
        raise AddressError(f"the address is longer than {ADDRESS_LIMIT} octets")
    return Address(local, domain)


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise AddressError("the address is not valid UTF-8") from None


def _is_dot_atom(local: str) -> bool:
    """RFC 5321 Dot-string, with the UTF-8 that RFC 6531 §3.3 adds to atext."""
    if local.isascii():
        return _DOT_ATOM.match(local) is not None
    ascii_part = "".join(character if character < "\x80" else "x" for character in local)
    return _DOT_ATOM.match(ascii_part) is not None and not _has_controls(local)


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _what_is_wrong_with_local(local: str) -> str:
    if not local:
        return "the part before the @ is empty"
    if "@" in local:
        return "there is more than one @; a local part with @ must be quoted"
    if local[0] == "." or local[-1] == "." or ".." in local:
        return "the part before the @ begins or ends with a dot, or has two in a row"
    if " " in local:
        return "the part before the @ has a space; it must be quoted"
    return "the part before the @ has a character that is not allowed"


def _unquote(text: str) -> tuple[str, str]:
    """Split a leading Quoted-string (RFC 5321 §4.1.2) into its meaning and what follows it."""
    meaning: list[str] = []
    position = 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(meaning), text[position + 1 :]
        if character == "\\":
            position += 1
            character = text[position : position + 1]
            if not " " <= character <= "~":
                raise AddressError("a backslash in a quoted local part must precede a printable character")
        elif character < " " or _has_controls(character):
            raise AddressError("a quoted local part has a control character")
        meaning.append(character)
        position += 1
    raise AddressError("the quotation mark of the local part is never closed")


def _quote(local: str) -> str:
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _parse_domain(domain: str) -> str:
    if not domain:
        raise AddressError("the part after the @ is empty")
    if domain[0] == "[":
        return _parse_literal(domain)
    if not domain.isascii():
        domain = _to_unicode_form(domain)
    if len(domain_to_ascii(domain)) > DOMAIN_LIMIT:
        raise AddressError(f"the domain is longer than {DOMAIN_LIMIT} octets")
    if domain.rpartition(".")[2].isdecimal():
        raise AddressError("the domain is a number; an IP address goes into square brackets")
    return domain.lower()


def _parse_literal(literal: str) -> str:
    """RFC 5321 §4.1.3, in the one form we write it."""
    if literal[-1] != "]":
        raise AddressError("the address literal is not closed with ]")
    inner = literal[1:-1]
    try:
        if inner[:5].lower() == "ipv6:" and "%" not in inner:
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise AddressError("the address literal is neither [192.0.2.1] nor [IPv6:2001:db8::1]") from None


def _to_unicode_form(name: str) -> str:
    """UTS 46 mapping: full-width letters, ideographic stops, capitals … become what they stand for."""
    try:
        return idna.uts46_remap(name, std3_rules=True, transitional=False)
    except (idna.IDNAError, UnicodeError):
        raise AddressError("the domain has a character that no domain name may have") from None


@lru_cache(maxsize=4096)
def domain_to_ascii(name: str) -> str:
    """The domain name as A-labels in lower case (IDNA 2008 with UTS 46). Raises AddressError.

    A name in ASCII is only checked to be letters, digits and hyphens; an address literal keeps its form.
    """
    if len(name) > DOMAIN_LIMIT:
        raise AddressError(f"the domain is longer than {DOMAIN_LIMIT} octets")
    if name.isascii():
        if name[:1] == "[":
            return _parse_literal(name)
        if _DOMAIN.match(name) is None:
            raise AddressError("the domain has an empty or overlong label or a forbidden character")
        return name.lower()
    try:
        encoded = idna.encode(name, uts46=True, std3_rules=True).decode().lower()
    except (idna.IDNAError, UnicodeError) as problem:
        raise AddressError(f"the domain name is not a valid internationalized name: {problem}") from None
    if _DOMAIN.match(encoded) is None:  # a stop at its end
        raise AddressError("the domain has an empty or overlong label or a forbidden character")
    return encoded


@lru_cache(maxsize=16384)
def canonical(address: Address) -> str:
    """The form in which addresses are compared and looked up; `parse_address` reads it back."""
    local = address.local
    if local.isascii():
        local = local.lower()
    else:
        local = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())
    if not _is_dot_atom(local):
        local = _quote(local)
    return f"{local}@{domain_to_ascii(address.domain)}" if address.domain else local


def split_subaddress(local: str, separator: str) -> tuple[str, str]:
    """The user and the detail of a local part (RFC 5233): `bob+lists` → `bob`, `lists`.

    The detail is empty where there is none. `separator` may hold several characters, any of which
    parts; a separator at the very beginning belongs to the user. An empty `separator` parts nothing.
    """
    found = [position for character in separator if (position := local.find(character, 1)) > 0]
    if not found:
        return local, ""
    return local[: min(found)], local[min(found) + 1 :]


def parse_mailbox_list(header_value: str) -> list[tuple[str, Address]]:
    """Display names, decoded, and addresses of a From, To or Cc field; groups give their members.

    Comments and obsolete forms are understood. Raises AddressError for an entry whose address is none.
    """
    found: list[tuple[str, Address]] = []
    for mailbox in mailboxes.parse(unfold(header_value.encode("utf-8", "surrogateescape"))):
        if mailbox.local is None or mailbox.domain is None:  # a group's name or end
            continue
        local, domain = mailbox.local.decode("utf-8", "replace"), mailbox.domain.decode("utf-8", "replace")
        address = parse_address(
            f"{local if _is_dot_atom(local) else _quote(local)}@{domain}" if domain else local
        )
        found.append((words.decode(charset.eight_bit(mailbox.name or b"")), address))
    return found
