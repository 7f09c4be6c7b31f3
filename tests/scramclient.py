"""The client's side of SCRAM (RFC 5802), with channel binding, written for tests from the RFC alone."""

from __future__ import annotations

import base64
import hashlib
import hmac


class ScramClient:
    """`initial`, then `final` to the server's first message, then `is_the_server` of its last one.

    `binding`: the type and data of channel binding, for a -PLUS mechanism; `flag` without one: `n` or `y`.
    """

    def __init__(
        self,
        mechanism: str,
        login: str,
        password: str,
        *,
        binding: tuple[str, bytes] | None = None,
        flag: str = "n",
        nonce: str = "fyko+d2lbbFgONRv9qkxdawL",
    ) -> None:
        self._hash = "sha256" if "SHA-256" in mechanism else "sha1"
        self._password = password.encode()
        self._header = (f"p={binding[0]},," if binding else f"{flag},,").encode()
        self._bound = binding[1] if binding else b""
        self._bare = f"n={login},r={nonce}"
        self._nonce = nonce
        self._signature = b""

    @property
    def initial(self) -> bytes:
        return self._header + self._bare.encode()

    def final(self, first: bytes) -> bytes:
        fields = dict(field.split("=", 1) for field in first.decode().split(","))
        assert fields["r"].startswith(self._nonce)
        assert len(fields["r"]) > len(self._nonce)
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, rounds)
        key = hmac.digest(salted, b"Client Key", self._hash)
        bound = base64.b64encode(self._header + self._bound).decode()
        without_proof = f"c={bound},r={fields['r']}"
        spoken = ",".join((self._bare, first.decode(), without_proof)).encode()
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), spoken, self._hash)
        stored = hashlib.new(self._hash, key).digest()
        mask = hmac.digest(stored, spoken, self._hash)
        proof = bytes(one ^ other for one, other in zip(key, mask, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def confirmed(self, last: bytes) -> bytes:
        """The empty response to a server that has proven itself."""
        assert self.is_the_server(last)
        return b""

    def is_the_server(self, last: bytes) -> bool:
        return last == b"v=" + base64.b64encode(self._signature)
