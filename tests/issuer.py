"""An authorization server for tests: its keys, and tokens that it signs, by RFC 7515 and 7518 alone."""

from __future__ import annotations

import base64
import functools
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

NAME = "https://login.north.test"
AUDIENCE = "mail.north.test"


@functools.cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def encoded(octets: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _number(value: int, octets: int = 0) -> str:
    return encoded(value.to_bytes(octets or (value.bit_length() + 7) // 8))


class Issuer:
    """One issuer with a key of each kind; `bits` of its RSA key. `now`: its clock."""

    def __init__(self, bits: int = 2048, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.rsa = _rsa(bits)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    @property
    def keys(self) -> list[dict[str, Any]]:
        """The public ones (RFC 7518 §6, RFC 8037 §2)."""
        public, point = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        raw = self.ed.public_key().public_bytes_raw()
        return [
            {"kty": "RSA", "kid": "r", "use": "sig", "n": _number(public.n), "e": _number(public.e)},
            {"kty": "EC", "kid": "e", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)},
            {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": encoded(raw)},
        ]

    @property
    def key_set(self) -> str:
        return json.dumps({"keys": self.keys})

    def token(
        self, account: str = "alice@north.test", *, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token that is good for an hour; claims with the value None are left out."""
        now = self._now()
        head = {"alg": "ES256", "typ": "at+jwt", "kid": "e", **(header or {})}
        said = {"iss": NAME, "aud": AUDIENCE, "sub": "1", "email": account, "scope": "openid mail",
                "iat": int(now), "exp": int(now) + 3600, **claims}  # fmt: skip
        return self.signed(head, {name: value for name, value in said.items() if value is not None})

    def signed(self, header: dict[str, Any], payload: object) -> str:
        """Signed as `alg` says; `none` is not signed, HS256 is keyed with the public RSA key in PEM."""
        text = encoded(json.dumps(header).encode()) + "." + encoded(json.dumps(payload).encode())
        return f"{text}.{encoded(self._signature(str(header['alg']), text.encode()))}"

    def _signature(self, algorithm: str, text: bytes) -> bytes:
        if algorithm == "RS256":
            return self.rsa.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if algorithm == "PS256":
            return self.rsa.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        if algorithm in ("EdDSA", "Ed25519"):
            return self.ed.sign(text)
        if algorithm == "HS256":
            pem = self.rsa.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return hmac.digest(pem, text, "sha256")
        if algorithm == "none":
            return b""
        r, s = utils.decode_dss_signature(self.ec.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
