"""Access tokens in place of passwords: a JWT that an authorization server has signed for us (RFC 9068).

What it takes is fixed by the configuration, not by the token (RFC 8725 §3): the algorithms, all of them of
public keys; the issuer and its keys; ourselves as audience; a scope, where one is wanted. Keys that a token
brings or points to are not looked at. A token that is bound to a key of its client (`cnf`, RFC 7800) is
refused, for nobody here could tell whether the client has that key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from joserfc.jwk import KeySet
    from joserfc.jws import JWSRegistry

    from posthouse.config.model import OAuth
    from posthouse.ports import Clock

TYPES = ("at+jwt", "application/at+jwt", "jwt", "application/jwt", "")
"""Of tokens: RFC 9068 §2.1, and what issuers say who came before it. Logouts and others are none."""

_HEADER_LIMIT = 4096
_LEAST_RSA_BITS = 2048
_BITS_OF_A_DIGIT = 6
"""In base64."""


class KeysProblem(OSError):
    """The issuer's keys cannot be used; the text names the file and the reason."""


class TokenRefused(Exception):
    """A token that lets nobody in; the text says why, and holds nothing of it but names."""

    def __init__(self, reason: str, code: str = "invalid_token", *, genuine: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        """As OAuth calls it (RFC 6750 §3.1): invalid_token, or insufficient_scope."""
        self.genuine = genuine
        """The issuer did sign it: it is no guess."""


class Tokens:
    """Reads the tokens of one issuer. Raises KeysProblem."""

    def __init__(self, settings: OAuth, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        assert settings.keys_file is not None  # the configuration has it where there is an issuer
        self._keys = read_keys(settings.keys_file)
        self._registry = _registry(settings.algorithms)

    def read(self, token: str) -> str:
        """The login name that a token is for. Raises TokenRefused."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            decoded = jwt.decode(token, self._keys, registry=self._registry)
        except JoseError as error:
            raise TokenRefused(f"not signed by the issuer: {error.error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise TokenRefused("not a JSON web token") from None
        return self._judged(decoded.header, decoded.claims)

    def _judged(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """What a token says that is signed as it should be."""
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        ours = self.settings
        if str(header.get("typ", "")).lower() not in TYPES:  # RFC 8725 §3.11
            raise TokenRefused("not an access token", genuine=True)
        wanted = JWTClaimsRegistry(
            now=int(self._clock.now()),
            leeway=int(ours.leeway),
            iss={"essential": True, "value": ours.issuer},
            aud={"essential": True, "values": list(ours.audience)},
            exp={"essential": True},
        )
        try:
            wanted.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            reason = error.error if isinstance(error, JoseError) else "malformed claims"
            about = getattr(error, "claim", "")
            raise TokenRefused(f"{reason} {about}".strip(), genuine=True) from None
        if "cnf" in claims:
            raise TokenRefused("bound to a key of its client", genuine=True)
        if ours.scope and ours.scope not in _scopes(claims):
            raise TokenRefused("without the scope that is wanted", "insufficient_scope", genuine=True)
        return _account(claims, ours.account_claim)


def _registry(allowed: Sequence[str]) -> JWSRegistry:
    """Which signatures are looked at. `EdDSA` is among them without a warning: issuers say it still."""
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry

    class Allowed(JWSRegistry):
        max_header_length = _HEADER_LIMIT

        def get_alg(self, name: str) -> Any:
            if name not in allowed:
                raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
            return self.algorithms[name]

    # Unknown fields of a header do no harm; those that must be understood (`crit`) do (RFC 7515 §4).
    return Allowed(strict_check_header=False)


def read_keys(path: Path) -> KeySet:
    """The public keys in a JSON web key set (RFC 7517 §5). Raises KeysProblem."""
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        listed = json.loads(path.read_bytes())
        if not isinstance(listed, dict) or not isinstance(listed.get("keys"), list):
            raise KeysProblem(f"{path}: not a JSON web key set")
        # Secrets that two share sign nothing here, and keys to encrypt with do neither.
        public = [key for key in listed["keys"] if key.get("kty") != "oct" and key.get("use", "sig") == "sig"]
        for key in public:
            if key.get("kty") == "RSA" and _BITS_OF_A_DIGIT * len(key["n"]) < _LEAST_RSA_BITS:
                raise ValueError(f"an RSA key has less than {_LEAST_RSA_BITS} bits")  # RFC 7518 §3.3
        keys = KeySet.import_key_set({"keys": public})
    except KeysProblem:
        raise
    except OSError as error:
        raise KeysProblem(f"{path}: {error.strerror or error}") from None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise KeysProblem(f"{path}: not a JSON web key set with public keys: {error}") from None
    return keys


def _scopes(claims: dict[str, Any]) -> list[str]:
    """RFC 9068 §2.2.3; `scp`, as a text or a list, is what several issuers say instead."""
    found = claims.get("scope", claims.get("scp", ""))
    if isinstance(found, str):
        return found.split()
    return [scope for scope in found if isinstance(scope, str)] if isinstance(found, list) else []


def _account(claims: dict[str, Any], name: str) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or "@" not in found:
        raise TokenRefused(f"its claim {name} names no address", genuine=True)
    if name == "email" and claims.get("email_verified", True) is not True:
        raise TokenRefused("its address has not been verified by the issuer", genuine=True)
    return found
