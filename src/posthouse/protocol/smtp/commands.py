"""MAIL and RCPT as we say them: the parameters that the server offers to understand, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from posthouse.mail.address import Address, domain_to_ascii
from posthouse.mail.envelope import BodyType, Notify, Recipient, Return, Sender
from posthouse.protocol.smtp.grammar import encode_xtext


def mail_command(
    sender: Sender,
    size: int,
    offered: Mapping[str, str],
    *,
    internationalized: bool = False,
    authenticated: bool = False,
) -> bytes:
    """`MAIL FROM:<…> …` with CRLF (RFC 5321 §4.1.1.2). `offered`: EHLO's keywords. Raises AddressError."""
    path = "" if sender.address is None else _path(sender.address, internationalized)
    line = f"MAIL FROM:<{path}>"
    if "SIZE" in offered:
        line += f" SIZE={size}"
    if sender.body is not BodyType.SEVEN_BIT and "8BITMIME" in offered:
        line += " BODY=8BITMIME"
    if internationalized and "SMTPUTF8" in offered:
        line += " SMTPUTF8"
    if "DSN" in offered:
        if sender.ret is not Return.UNSTATED:
            line += f" RET={sender.ret.value}"
        if sender.envid:
            line += f" ENVID={encode_xtext(sender.envid)}"
    if sender.auth and authenticated and "AUTH" in offered:
        line += f" AUTH={encode_xtext(sender.auth)}"
    return f"{line}\r\n".encode()


def rcpt_command(
    recipient: Recipient, offered: Mapping[str, str], *, internationalized: bool = False
) -> bytes:
    """`RCPT TO:<…> …` with CRLF (RFC 5321 §4.1.1.3). Raises AddressError."""
    line = f"RCPT TO:<{_path(recipient.address, internationalized)}>"
    if "DSN" in offered:
        if recipient.notify is not Notify.UNSTATED:
            words = [word.name for word in Notify if word & recipient.notify and word.name]
            line += f" NOTIFY={','.join(words)}"
        if recipient.orcpt:
            kind, _, address = recipient.orcpt.partition(";")
            encoded = _encode_unitext(address) if kind.lower() == "utf-8" else encode_xtext(address)
            line += f" ORCPT={kind};{encoded}"
    return f"{line}\r\n".encode()


@lru_cache(maxsize=4096)
def _path(address: Address, internationalized: bool) -> str:
    """The address as the server can take it: without SMTPUTF8 the domain in A-labels (RFC 5890)."""
    if internationalized or address.domain.isascii():
        return str(address)
    return str(address._replace(domain=domain_to_ascii(address.domain)))


def _encode_unitext(address: str) -> str:
    """RFC 6533 §3 utf-8-addr-xtext, which needs no SMTPUTF8."""
    return "".join(c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):02X}}}" for c in address)
