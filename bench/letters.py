"""The messages that both mail systems are filled with: the same octets for the same number, always."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from enum import Enum

PEOPLE = 97
SOUGHT_PERSON = "person41@"
"""Stands in the From field of every `PEOPLE`-th message."""
SOUGHT_WORD = "quincunx"
"""Stands in the body of every hundredth message, and nowhere else."""

_OCTETS = 5120
_WORDS = [
    "letter", "courier", "horse", "station", "road", "weather", "harvest", "winter", "family", "greeting",
    "invoice", "meeting", "answer", "question", "paper", "ink", "bridge", "river", "market", "evening",
    "morning", "friend", "journey", "parcel", "office", "window", "garden", "number", "reason", "summer",
]  # fmt: skip
_TOPICS = 1500
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Kind(Enum):
    """What a mailbox is filled with."""

    TEXT = "5 KB each"
    MIXED = "one in ten with an attachment of 100 KB"


def letter(number: int, kind: Kind = Kind.TEXT) -> bytes:
    """The message with this number, from 0."""
    chance = random.Random(number)
    attached = kind is Kind.MIXED and number % 10 == 0
    text = _text(number, chance)
    head = _head(number, attached)
    if not attached:
        return head + text
    parcel = base64.encodebytes(chance.randbytes(75_000)).replace(b"\n", b"\r\n")
    return (
        head + b"--frontier\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text
        + b"--frontier\r\nContent-Type: application/pdf; name=parcel.pdf\r\n"
        b"Content-Disposition: attachment; filename=parcel.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + parcel + b"--frontier--\r\n"
    )  # fmt: skip


def letters(first: int, count: int, kind: Kind = Kind.TEXT) -> Iterator[bytes]:
    return (letter(number, kind) for number in range(first, first + count))


def _head(number: int, attached: bool) -> bytes:
    person, topic = number % PEOPLE, number % _TOPICS
    day, clock = 1 + number * 7 % 28, f"{number % 24:02d}:{number % 60:02d}:{number * 13 % 60:02d}"
    date = f"{_DAYS[(day - 1) % 7]}, {day:02d} Jun 2026 {clock} +0200"
    lines = [
        "Return-Path: <person@example.net>",
        f"Received: from mx.example.net (mx.example.net [192.0.2.{person}])\r\n"
        f"\tby mail.bench.test (Postfix) with ESMTPS id {number:010X}\r\n"
        f"\tfor <user@bench.test>; {date}",
        f"Received: from desk{person}.example.net (unknown [198.51.100.7])\r\n"
        f"\tby mx.example.net with ESMTPSA id {number:08x}; {date}",
        f"From: Person Number {person} <person{person}@example.net>",
        "To: The User <user@bench.test>, Another <another@bench.test>",
        f"Subject: {'Re: ' if number >= _TOPICS else ''}Topic {topic} of the season",
        f"Date: {date}",
        f"Message-ID: <{number}.{topic}@example.net>",
    ]
    if number >= _TOPICS:
        before = f"<{number - _TOPICS}.{topic}@example.net>"
        first = f"<{topic}.{topic}@example.net>"
        lines += [f"In-Reply-To: {before}", f"References: {first} {before}"]
    kind = "multipart/mixed; boundary=frontier" if attached else "text/plain; charset=utf-8"
    lines += ["MIME-Version: 1.0", f"Content-Type: {kind}", "X-Mailer: Some Program 3.1 (build 4711)"]
    return "\r\n".join([*lines, "", ""]).encode()


def _text(number: int, chance: random.Random) -> bytes:
    words = chance.choices(_WORDS, k=700)
    if number % 100 == 50:
        words[350] = SOUGHT_WORD
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line += word + " "
    return ("\r\n".join(lines)[: _OCTETS - 900] + "\r\n").encode()
