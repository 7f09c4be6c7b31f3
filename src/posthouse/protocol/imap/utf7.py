"""Mailbox names in modified UTF-7 (RFC 3501 §5.1.3).

Printable US-ASCII stands for itself but for `&`, which is `&-`; all else is UTF-16 in base64 with `,`
for `/`, without padding, between `&` and `-`. Decoding is strict: one name has one encoding, so that
two names which look alike on the wire are never two mailboxes.
"""

from __future__ import annotations

import binascii


def encode(name: str) -> bytes:
    """The name as it goes on the wire. Lone surrogates raise UnicodeEncodeError."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    out = bytearray()
    shifted = ""
    for character in name:
        if " " <= character <= "~":
            if shifted:
                out += _shift(shifted)
                shifted = ""
            out += b"&-" if character == "&" else character.encode("ascii")
        else:
            shifted += character
    if shifted:
        out += _shift(shifted)
    return bytes(out)


def _shift(text: str) -> bytes:
    octets = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return b"&" + octets.rstrip(b"=").replace(b"/", b",") + b"-"


def decode(wire: bytes) -> str:
    """The name that the wire octets stand for; ValueError where they are not modified UTF-7."""
    if b"&" not in wire and wire.isascii() and (plain := wire.decode("ascii")).isprintable():
        return plain
    out: list[str] = []
    position = 0
    while (start := wire.find(b"&", position)) >= 0:
        out.append(wire[position:start].decode("ascii"))
        end = wire.find(b"-", start)
        if end < 0:
            raise ValueError("modified UTF-7: `&` without `-`")
        out.append(_unshift(wire[start + 1 : end]) if end > start + 1 else "&")
        position = end + 1
    out.append(wire[position:].decode("ascii"))
    name = "".join(out)
    if encode(name) != wire:
        raise ValueError("modified UTF-7: not in its only form")
    return name


def _unshift(octets: bytes) -> str:
    padded = octets.replace(b",", b"/") + b"=" * (-len(octets) % 4)
    return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
