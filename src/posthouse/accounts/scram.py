"""SCRAM for our accounts: keys beside the password's hash, and made-up ones where there is none.

Keys of SCRAM are cheaper to try passwords against than argon2id, for whoever steals the database: so they
are kept only where the configuration offers the mechanism. They come to be when a password is set, or
when its owner next logs in with it. What is told of an account without keys, or of none at all, looks the
same each time it is asked for, on every host (RFC 5802 §9).
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

from posthouse.protocol.sasl import SCRAM, Keys, make_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posthouse.accounts.credential import Credential
    from posthouse.db import Reader, Tx

ITERATIONS = 20_000
"""RFC 7677 §4 asks for 4,096 at least; about 15 ms each for client and server."""

_SALT_OCTETS = 16
_SECRET = "scram"


class Stored(NamedTuple):
    """The keys of one mechanism."""

    mechanism: str
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        """As RFC 5803 §2 writes it."""
        salt, stored, server = (
            base64.b64encode(octets).decode() for octets in (self.salt, self.stored_key, self.server_key)
        )
        return f"{self.mechanism}${self.iterations}:{salt}${stored}:{server}"

    def keys(self, version: int) -> Keys:
        """For one exchange."""
        return Keys(self.salt, self.iterations, self.stored_key, self.server_key, version, _nonce())


def derive(prepared: bytes, mechanisms: Sequence[str]) -> str:
    """What a credential keeps for those of the mechanisms that are SCRAM; takes about 15 ms each."""
    found = []
    for mechanism in mechanisms:
        if mechanism in SCRAM:
            salt = os.urandom(_SALT_OCTETS)
            stored_key, server_key = make_keys(prepared, salt, ITERATIONS, SCRAM[mechanism])
            found.append(str(Stored(mechanism, ITERATIONS, salt, stored_key, server_key)))
    return " ".join(found)


def lacks(credential: Credential, mechanisms: Sequence[str]) -> bool:
    """Whether keys of one of the mechanisms are missing."""
    has = {text.partition("$")[0] for text in credential.scram.split()}
    return any(mechanism in SCRAM and mechanism not in has for mechanism in mechanisms)


def stored(credential: Credential, mechanism: str) -> Stored | None:
    """The keys of a mechanism, if it has them."""
    for text in credential.scram.split():
        name, work, keys = text.split("$")
        if name == mechanism:
            iterations, _, salt = work.partition(":")
            stored_key, _, server_key = keys.partition(":")
            salt_, stored_, server_ = (base64.b64decode(part) for part in (salt, stored_key, server_key))
            return Stored(name, int(iterations), salt_, stored_, server_)
    return None


def made_up(secret: bytes, name: str, mechanism: str) -> Keys:
    """Keys that nothing fits, for `name`; the salt is the same each time."""
    salt = hmac.digest(secret, f"{mechanism} {name}".encode("utf-8", "surrogatepass"), "sha256")
    unknown = os.urandom(32 if SCRAM[mechanism] == "sha256" else 20)
    return Keys(salt[:_SALT_OCTETS], ITERATIONS, unknown, unknown, 0, _nonce())


def read_secret(reader: Reader | Tx) -> bytes | None:
    """What made-up salts come from; None before the first use."""
    row = reader.one("SELECT value FROM server_secret WHERE name = ?", (_SECRET,))
    return None if row is None else bytes(row[0])


def make_secret(tx: Tx) -> bytes:
    """The same, made where there is none; whoever comes first makes it for all."""
    tx.run(
        "INSERT INTO server_secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
        (_SECRET, os.urandom(32)),
    )
    found = read_secret(tx)
    assert found is not None
    return found


def _nonce() -> str:
    return secrets.token_urlsafe(18)
