"""SCRAM (RFC 5802, RFC 7677), the server's side: the password never travels, and both sides prove themselves.

The server keeps no password for it but keys that cannot be turned back; who steals them can neither log
in nor, without trying each, learn the password. Channel binding (the -PLUS variants) is not offered, so a
client that insists on it is refused, and one that would have liked it (`y`) is not.

An identity that does not exist gets keys too, made up by who answers `KeysWanted`; it fails like a wrong
password, at the last step.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from posthouse.protocol.sasl.exchange import Credentials, Keys, KeysWanted, Proof, SaslError, Step

SCRAM = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""Mechanism → its hash. They need keys that are kept beside the hash of the password."""

_FIELD_LIMIT = 1024
"""Octets of a name or nonce."""


def make_keys(password: bytes, salt: bytes, iterations: int, hash: str) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey of a prepared password (RFC 5802 §3). Takes its time, by design."""
    salted = hashlib.pbkdf2_hmac(hash, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash)
    return hashlib.new(hash, client_key).digest(), hmac.digest(salted, b"Server Key", hash)


class ScramServer:
    """One exchange: client-first, server-first, client-final, server-final, an empty response."""

    __slots__ = (
        "_authorization",
        "_bare",
        "_first",
        "_gs2",
        "_hash",
        "_identity",
        "_keys",
        "_mechanism",
        "_nonce",
        "_proven",
    )

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._hash = SCRAM[mechanism]
        self._keys: Keys | None = None
        self._proven = False

    def step(self, response: bytes | None) -> Step:
        if response is None:
            return b""
        if self._proven:
            return self._end(response)
        if self._keys is None:
            return self._read_first(response)
        return self._read_final(response, self._keys)

    def challenge(self, keys: Keys) -> bytes:
        """server-first-message."""
        self._keys = keys
        self._nonce += keys.nonce.encode()
        salt = base64.b64encode(keys.salt)
        self._first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        return self._first

    def _read_first(self, message: bytes) -> Step:
        """client-first-message: gs2-header and client-first-message-bare (RFC 5802 §7)."""
        flag, _, rest = message.partition(b",")
        if flag.startswith(b"p="):
            raise SaslError("channel binding is not offered")
        authorization, comma, bare = rest.partition(b",")
        if flag not in (b"n", b"y") or not comma:
            raise SaslError("malformed SCRAM header")
        self._gs2 = message[: len(message) - len(bare)]
        self._authorization = _name(authorization, b"a=") if authorization else ""
        self._bare = bare
        fields = bare.split(b",")
        if fields[0].startswith(b"m="):
            raise SaslError("mandatory SCRAM extensions are not known here")
        if len(fields) < 2 or not fields[1].startswith(b"r=") or len(fields[1]) < 3:
            raise SaslError("SCRAM wants a name and a nonce")
        self._identity = _name(fields[0], b"n=")
        self._nonce = fields[1][2:]
        if len(self._nonce) > _FIELD_LIMIT or not all(0x21 <= octet <= 0x7E for octet in self._nonce):
            raise SaslError("the SCRAM nonce must be printable")
        return KeysWanted(self._identity, self._mechanism)

    def _read_final(self, message: bytes, keys: Keys) -> Step:
        """client-final-message → server-final-message, or what failed."""
        without_proof, _, proof = message.rpartition(b",p=")
        binding, _, rest = without_proof.partition(b",")
        if binding != b"c=" + base64.b64encode(self._gs2):
            raise SaslError("the SCRAM header has changed on its way")
        nonce = rest.partition(b",")[0]
        if nonce != b"r=" + self._nonce:
            raise SaslError("the SCRAM nonce is another one")
        spoken = b",".join((self._bare, self._first, without_proof))
        signature = hmac.digest(keys.stored_key, spoken, self._hash)
        try:
            given = base64.b64decode(proof, validate=True)
        except (binascii.Error, ValueError):
            raise SaslError("the SCRAM proof is not base64") from None
        if len(given) != len(signature):
            raise SaslError("the SCRAM proof has the wrong length")
        client_key = bytes(one ^ other for one, other in zip(given, signature, strict=True))
        shown = hashlib.new(self._hash, client_key).digest()
        if not hmac.compare_digest(shown, keys.stored_key):
            return self._credentials(Proof(False, keys.version))
        self._proven = True
        return b"v=" + base64.b64encode(hmac.digest(keys.server_key, spoken, self._hash))

    def _end(self, response: bytes) -> Credentials:
        if response:
            raise SaslError("SCRAM has come to its end")
        assert self._keys is not None
        return self._credentials(Proof(True, self._keys.version))

    def _credentials(self, proof: Proof) -> Credentials:
        return Credentials(self._identity, "", self._authorization, proof)


def _name(field: bytes, prefix: bytes) -> str:
    """saslname: comma and equals sign are written =2C and =3D (RFC 5802 §5.1)."""
    name = field[len(prefix) :]
    if not field.startswith(prefix) or not name or len(name) > _FIELD_LIMIT:
        raise SaslError("malformed SCRAM name")
    pieces = name.split(b"=")
    whole = [pieces[0]]
    for piece in pieces[1:]:
        if piece[:2] not in (b"2C", b"3D"):
            raise SaslError("malformed SCRAM name")
        whole.append((b"," if piece[:2] == b"2C" else b"=") + piece[2:])
    try:
        text = b"".join(whole).decode()
    except UnicodeDecodeError:
        raise SaslError("SCRAM names are UTF-8") from None
    if "\0" in text:
        raise SaslError("NUL has no place in a name")
    return text
