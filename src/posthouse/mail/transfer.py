"""Transfer encodings undone: base64 and quoted-printable (RFC 2045 §6), whole or piece by piece.

What is broken is decoded as far as it goes.
"""

from __future__ import annotations

import binascii
import quopri
import re

IDENTITY = ("7bit", "8bit", "binary")
KNOWN = (*IDENTITY, "base64", "quoted-printable")

_AT_LINE_END = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")


def cut(octets: bytes, encoding: str, last: bool) -> tuple[bytes, bytes]:
    """What can be decoded now, and what has to wait for more."""
    if last or encoding not in ("base64", "quoted-printable"):
        return octets, b""
    if encoding == "quoted-printable":
        end = octets.rfind(b"\n") + 1
        if end == 0:  # a line longer than a piece: not within `=3D`, nor in white space that may end it
            end = len(octets.rstrip(b" \t\r"))
            tail = octets[max(end - 3, 0) : end]
            end -= len(tail) - at if (at := tail.find(b"=")) >= 0 else 0
        return octets[:end], octets[end:]
    octets = _NOT_BASE64.sub(b"", octets)
    end = len(octets) // 4 * 4
    return octets[:end], octets[end:]


class Decoding:
    """One transfer encoding undone piece by piece."""

    __slots__ = ("_encoding", "_rest")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._rest = b""

    def decode(self, octets: bytes, last: bool) -> bytes:
        """What can be decoded now; the rest comes with the next piece."""
        ready, self._rest = cut(self._rest + octets, self._encoding, last)
        return decode(ready, self._encoding)


def decode(octets: bytes, encoding: str) -> bytes:
    """Octets without their transfer encoding; those of an unknown one, and of none, as they are."""
    if encoding == "quoted-printable":
        # RFC 2045 §6.7 (3): white space at the end of a line was added on the way
        return quopri.decodestring(_AT_LINE_END.sub(b"", octets))
    if encoding != "base64":
        return octets
    octets = _NOT_BASE64.sub(b"", octets)
    try:
        return binascii.a2b_base64(octets + b"=" * (-len(octets) % 4))
    except binascii.Error:
        return b""
