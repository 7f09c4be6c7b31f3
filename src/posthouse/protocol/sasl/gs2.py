"""The header that SCRAM and OAUTHBEARER share (RFC 5801 §4): channel binding, and whom to act as."""

from __future__ import annotations

from typing import NamedTuple

from posthouse.protocol.sasl.exchange import SaslError

_NAME_LIMIT = 1024
"""Octets of a name."""


class Header(NamedTuple):
    """What stands before the second comma."""

    flag: bytes
    """n: the client knows no channel binding; y: it does, and thinks that the server does not; or p=…"""
    authorization: str
    """Whom to act as; empty for oneself."""
    octets: bytes
    """All of the header, its commas included."""


def read_header(message: bytes) -> tuple[Header, bytes]:
    """The header of a client's first message, and what follows it. Raises SaslError."""
    flag, _, rest = message.partition(b",")
    authorization, comma, after = rest.partition(b",")
    if not comma or not (flag in (b"n", b"y") or flag.startswith(b"p=")):
        raise SaslError("malformed header")
    name = read_name(authorization, b"a=") if authorization else ""
    return Header(flag, name, message[: len(message) - len(after)]), after


def read_name(field: bytes, prefix: bytes) -> str:
    """saslname: comma and equals sign are written =2C and =3D (RFC 5801 §4). Raises SaslError."""
    name = field[len(prefix) :]
    if not field.startswith(prefix) or not name or len(name) > _NAME_LIMIT:
        raise SaslError("malformed name")
    pieces = name.split(b"=")
    whole = [pieces[0]]
    for piece in pieces[1:]:
        if piece[:2] not in (b"2C", b"3D"):
            raise SaslError("malformed name")
        whole.append((b"," if piece[:2] == b"2C" else b"=") + piece[2:])
    try:
        text = b"".join(whole).decode()
    except UnicodeDecodeError:
        raise SaslError("names are UTF-8") from None
    if "\0" in text:
        raise SaslError("NUL has no place in a name")
    return text
