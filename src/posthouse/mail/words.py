"""Encoded words (RFC 2047): text beyond ASCII in header fields, read tolerantly and written properly."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from itertools import islice

from posthouse.mail import charset

_WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([BbQq])\?([^?\s]*)\?=")
_BETWEEN = re.compile(r"[ \t\r\n]+\Z")

WORDS_LIMIT = 5000
"""Encoded words of one text that are read; later ones stand as they are."""

_LINE = 75
"""Characters of one encoded word at most (RFC 2047 §2)."""


def decode(text: str) -> str:
    """The text with its encoded words read; white space between two of them is none (RFC 2047 §6.2)."""
    if "=?" not in text:
        return text
    pieces: list[str] = []
    run: list[tuple[str, bytes]] = []  # neighbours: a character may have been cut in two
    position = 0
    for match in islice(_WORD.finditer(text), WORDS_LIMIT):
        octets = _octets(match[2], match[3])
        if octets is None:
            continue
        between = text[position : match.start()]
        if not (run and _BETWEEN.match(between)) and between:
            pieces.append(_join(run))
            pieces.append(between)
            run = []
        run.append((match[1], octets))
        position = match.end()
    pieces.append(_join(run))
    pieces.append(text[position:])
    return "".join(pieces)


def _octets(encoding: str, encoded: str) -> bytes | None:
    if encoding in "Qq":
        return quopri.decodestring(encoded.encode("ascii", "replace"), header=True)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        return None


def _join(run: list[tuple[str, bytes]]) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(run):
        name = run[position][0].lower()
        octets = bytearray()
        while position < len(run) and run[position][0].lower() == name:
            octets += run[position][1]
            position += 1
        pieces.append(charset.decode(bytes(octets), name))
    return "".join(pieces)


def encode(text: str) -> str:
    """The text for an unstructured field or a display name: as it is in ASCII, else UTF-8 encoded words.

    Several words are parted by a space each, where the line may be folded.
    """
    if text.isascii() and "=?" not in text and text.isprintable():
        return text
    room = (_LINE - len("=?utf-8?B??=")) // 4 * 3
    octets = text.encode("utf-8", "replace")
    written: list[str] = []
    start = 0
    while start < len(octets):
        end = start + room
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        written.append(f"=?utf-8?B?{base64.b64encode(octets[start:end]).decode()}?=")
        start = end
    return " ".join(written)
