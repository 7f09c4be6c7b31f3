"""Which letters belong to one conversation: what THREADID is made of (RFC 8474 §5.2, RFC 8621 §3).

Two letters belong together when one of their Message-ID, In-Reply-To and References names the same
letter *and* their base subjects are the same; so a new subject begins a new conversation, and an old
reply button under a new letter does not drag it into an old one. A letter that names none stands alone:
by their subjects alone strangers' letters would be joined.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.subjects import base_subject

_ID = re.compile(rb"<[^<>\s]++>")
_ELSEWHERE = re.compile(
    r"(?:aw|wg|antw|doorst|sv|vs|rif|res|rv|enc|tr|ynt|odp|pd|回复|回覆|答复|转发|轉寄)\s*[:\uff1a]\s*"
)
"""What programs in other languages write for Re: and Fwd:, folded."""
_ADDED = re.compile(rb"[:(\[]|=\?")
"""Where none of these is, nothing was added to a subject, and nothing encoded."""
_MOST = 20
"""Ids of one field that count: the first, which is the root, and the last ones."""
_MOST_ADDED = 20
"""What was added to a subject in other languages, and is taken off."""
_SUBJECT = 2000
"""Characters of a base subject that count …"""
_SUBJECT_AND_ADDED = 4000
"""… and those that are looked at, so that what was added does not shift where the others end."""


def keys(header: HeaderIndex) -> tuple[int, ...]:
    """What a letter has in common with others of its conversation, as 64-bit numbers.

    First its own, then that of what it answers, then the rest from the nearest to the root.
    """
    own = _ID.findall(header.first("Message-ID") or b"")[:1]
    answered = _ID.findall(header.first("In-Reply-To") or b"")[:_MOST]
    references = _ID.findall(header.first("References") or b"")
    if len(references) > _MOST:
        references = references[:1] + references[1 - _MOST :]
    ids = dict.fromkeys([*own, *answered, *reversed(references)])
    if not ids:
        return ()
    subject = _subject(header.first("Subject") or b"")
    return tuple([_number(id + subject) for id in ids])


def _subject(raw: bytes) -> bytes:
    if raw.isascii() and not _ADDED.search(raw):
        return b" ".join(raw.split()).lower()[:_SUBJECT]
    base = base_subject(field_value_text(raw)).text[:_SUBJECT_AND_ADDED]
    for _ in range(_MOST_ADDED):  # each costs time by the length of the rest
        prefix = _ELSEWHERE.match(base)
        if prefix is None:
            break
        base = base_subject(base[prefix.end() :]).text
    return base[:_SUBJECT].encode("utf-8", "replace")


def _number(octets: bytes) -> int:
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big", signed=True)
