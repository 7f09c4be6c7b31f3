"""Passwords: how they are written, hashed and judged.

A password is compared as the OpaqueString profile of RFC 8265 §4.2 prepares it: Unicode spaces are
plain spaces, the form is NFC, case and everything else stay. It is kept as argon2id with t=2, 19 MiB,
p=1 (RFC 9106; OWASP's second choice), about 30 ms of one core.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

PASSWORD_LIMIT = 1024
"""Octets of a prepared password at most."""

GOOD_LENGTH = 12
"""Characters from which on a password is not warned of for being short."""

PASSES = 2
MEMORY = 19 * 1024
"""KiB."""

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY, parallelism=1, type=Type.ID)
_FORBIDDEN = frozenset(("Cc", "Cs", "Cn"))
_COMMON_WORDS = """
    password passwort passw0rd p@ssw0rd letmein welcome changeme secret admin administrator root postmaster
    qwerty qwertyuiop qwertz azerty asdfgh asdfghjkl zxcvbn abc abcd abcdef abcdefg iloveyou monkey dragon
    football baseball master login test testtest default guest hunter sunshine princess superman trustno
    mailserver posthouse email correcthorsebatterystaple
"""
_COMMON = frozenset(_COMMON_WORDS.split())


class PasswordError(ValueError):
    """A password that cannot be used; the message says why and never holds it."""


def prepare(text: str) -> bytes:
    """The octets of a password that are hashed and compared (RFC 8265 §4.2.2). Raises PasswordError."""
    if text.isascii():
        forbidden = not text.isprintable()
    else:
        spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
        text = unicodedata.normalize("NFC", spaced)
        forbidden = any(unicodedata.category(character) in _FORBIDDEN for character in text)
    if not text:
        raise PasswordError("the password is empty")
    if forbidden:
        raise PasswordError("the password has a control or unassigned character")
    octets = text.encode()
    if len(octets) > PASSWORD_LIMIT:
        raise PasswordError(f"the password is longer than {PASSWORD_LIMIT} octets")
    return octets


def hash_password(prepared: bytes) -> str:
    """A fresh argon2id PHC string; takes about 30 ms and releases the GIL."""
    return _HASHER.hash(prepared)


def matches(secret: str, prepared: bytes) -> bool:
    """Whether the password is the one that `secret` was made of; takes as long as hashing."""
    try:
        return _HASHER.verify(secret, prepared)
    except (Argon2Error, InvalidHashError):
        return False


def is_outdated(secret: str) -> bool:
    """Whether `secret` was made with other parameters than those of today."""
    return _HASHER.check_needs_rehash(secret)


DUMMY = f"$argon2id$v=19$m={MEMORY},t={PASSES},p=1$posthouse0no0passwordA${'A' * 43}"
"""Verified where there is no secret, so that unknown users cost the same time; nothing is known to fit."""


def weakness(text: str, address: str = "") -> str:
    """Why the password is weak, as a sentence, or an empty string. `address` is its owner's."""
    plain = text.lower()
    letters = plain.strip("0123456789!?.,-_*#$ ")
    words = {word for word in address.lower().replace("@", ".").split(".") if len(word) > 2}
    if letters in _COMMON or plain in _COMMON or plain.isdigit():
        return "The password is one of those that are tried first."
    if letters and (letters in words or plain == address.lower()):
        return "The password can be guessed from the address."
    if len(set(text)) <= 4:
        return "The password repeats a few characters."
    if len(text) < GOOD_LENGTH:
        return f"The password is short; {GOOD_LENGTH} characters or more make guessing hopeless."
    return ""
