"""SCRAM (RFC 5802, RFC 7677), the server's side: the password never travels, and both sides prove themselves.

The server keeps no password for it but keys that cannot be turned back; who steals them can neither log
in nor, without trying each, learn the password.

The -PLUS variants bind the exchange to the TLS connection under it: who stands in between with another
certificate has another connection, and fails although he passes each message on. A client that could have
bound it but thinks that we cannot (`y`) has been told so by somebody in between (RFC 5802 §6).

An identity that does not exist gets keys too, made up by who answers `KeysWanted`; it fails like a wrong
password, at the last step.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from posthouse.protocol.sasl.channel import Channel
from posthouse.protocol.sasl.exchange import Keys, KeysWanted, Proof, SaslError, Step
from posthouse.protocol.sasl.gs2 import read_header, read_name

SCRAM = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""Mechanism → its hash. They need keys that are kept beside the hash of the password."""

PLUS = "-PLUS"

_NONCE_LIMIT = 1024
"""Octets of the client's part of the nonce."""


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
        "_binding",
        "_channel",
        "_could_bind",
        "_first",
        "_hash",
        "_identity",
        "_keys",
        "_mechanism",
        "_nonce",
        "_proven",
    )

    def __init__(self, mechanism: str, channel: Channel, *, could_bind: bool = False) -> None:
        """`could_bind`: the -PLUS variant was offered too."""
        self._mechanism = mechanism
        self._channel = channel
        self._could_bind = could_bind
        self._hash = SCRAM[mechanism.removesuffix(PLUS)]
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
        header, bare = read_header(message)
        self._authorization = header.authorization
        self._binding = header.octets + self._bound_to(header.flag)
        self._bare = bare
        fields = bare.split(b",")
        if fields[0].startswith(b"m="):
            raise SaslError("mandatory SCRAM extensions are not known here")
        if len(fields) < 2 or not fields[1].startswith(b"r=") or len(fields[1]) < 3:
            raise SaslError("SCRAM wants a name and a nonce")
        self._identity = read_name(fields[0], b"n=")
        self._nonce = fields[1][2:]
        if len(self._nonce) > _NONCE_LIMIT or not all(0x21 <= octet <= 0x7E for octet in self._nonce):
            raise SaslError("the SCRAM nonce must be printable")
        if header.flag == b"y" and self._could_bind:
            return self._failed("the -PLUS mechanisms were struck out of our list")
        return KeysWanted(self._identity, self._mechanism.removesuffix(PLUS))

    def _bound_to(self, flag: bytes) -> bytes:
        """The data of the type of channel binding that the client has chosen (RFC 5802 §6)."""
        if not self._mechanism.endswith(PLUS):
            if flag.startswith(b"p="):
                raise SaslError("this mechanism has no channel binding; the one with -PLUS has")
            return b""
        if not flag.startswith(b"p="):
            raise SaslError("this mechanism wants channel binding")
        data = self._channel.binding(flag[2:].decode("ascii", "replace"))
        if data is None:
            raise SaslError("this type of channel binding is not supported on this connection")
        return data

    def _read_final(self, message: bytes, keys: Keys) -> Step:
        """client-final-message → server-final-message, or what failed."""
        without_proof, _, proof = message.rpartition(b",p=")
        binding, _, rest = without_proof.partition(b",")
        if not binding.startswith(b"c="):
            raise SaslError("malformed SCRAM message")
        if binding != b"c=" + base64.b64encode(self._binding):
            return self._failed("the client's side of the connection is not the one that we see")
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
            return self._outcome(right=False, version=keys.version)
        self._proven = True
        return b"v=" + base64.b64encode(hmac.digest(keys.server_key, spoken, self._hash))

    def _end(self, response: bytes) -> Proof:
        if response:
            raise SaslError("SCRAM has come to its end")
        assert self._keys is not None
        return self._outcome(right=True, version=self._keys.version)

    def _failed(self, suspicion: str) -> Proof:
        return self._outcome(right=False, version=0, suspicion=suspicion)

    def _outcome(self, *, right: bool, version: int, suspicion: str = "") -> Proof:
        return Proof(self._mechanism, self._identity, self._authorization, right, version, suspicion)
