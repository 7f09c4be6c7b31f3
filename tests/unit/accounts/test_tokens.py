"""Tokens: what is read in a good one, and every reason for which one is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posthouse.accounts.tokens import KeysProblem, TokenRefused, Tokens
from posthouse.config.model import OAuth
from tests.issuer import AUDIENCE, NAME, Issuer, encoded
from tests.unit.accounts.world import Clock

Make = Callable[..., Tokens]
CLOCK = Clock()
ALICE = "alice@north.test"
NOW = int(CLOCK.now())


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer(now=CLOCK.now)


@pytest.fixture(scope="module")
def make(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Make:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(issuer.key_set)

    def make_(**settings: Any) -> Tokens:
        usual = {"issuer": NAME, "audience": ["imap://x", AUDIENCE], "keys_file": path}
        return Tokens(OAuth(**{**usual, **settings}), CLOCK)

    return make_


@pytest.fixture(scope="module")
def tokens(make: Make) -> Tokens:
    return make(scope="mail")


@pytest.mark.parametrize("claims", [
    {}, {"aud": [AUDIENCE, "else"]}, {"exp": NOW + 1}, {"exp": NOW - 59}, {"nbf": NOW + 59},
    {"iat": NOW + 59},
    {"scope": "mail"}, {"scope": None, "scp": ["mail", 1]}, {"scope": None, "scp": "a mail"},
    {"email_verified": True}, {"sub": None, "iat": None}, {"unknown": {"deep": [1]}},
])  # fmt: skip
def test_a_good_token_names_the_account(tokens: Tokens, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert tokens.read(issuer.token(ALICE, **claims)) == ALICE


@pytest.mark.parametrize("typ", ["at+jwt", "application/AT+JWT", "JWT", None])
def test_types_of_access_tokens(tokens: Tokens, issuer: Issuer, typ: str | None) -> None:
    header = {"alg": "ES256", "kid": "e", "nonce": "unknown fields are passed over"}
    claims = {"iss": NAME, "aud": AUDIENCE, "exp": NOW + 9, "email": ALICE, "scope": "mail"}
    assert tokens.read(issuer.signed({**header, **({"typ": typ} if typ else {})}, claims)) == ALICE


@pytest.mark.parametrize("claims", [
    {"iss": "https://login.east.test"}, {"iss": None}, {"iss": [NAME]},
    {"aud": "else"}, {"aud": None}, {"aud": []}, {"aud": {AUDIENCE: 1}}, {"aud": AUDIENCE.upper()},
    {"exp": NOW - 60}, {"exp": None}, {"exp": "tomorrow"}, {"exp": True}, {"exp": float("nan")},
    {"nbf": NOW + 61}, {"iat": NOW + 61},
    {"email": None}, {"email": "alice"}, {"email": [ALICE]}, {"email": {}}, {"email_verified": False},
    {"email_verified": "false"}, {"cnf": {"jkt": "x"}},
])  # fmt: skip
def test_what_the_issuer_has_signed_is_refused_as_no_guess(
    tokens: Tokens, issuer: Issuer, claims: dict[str, Any]
) -> None:
    with pytest.raises(TokenRefused) as refused:
        tokens.read(issuer.token(**claims))
    assert refused.value.genuine
    assert refused.value.code == "invalid_token"


@pytest.mark.parametrize(
    "claims", [{"scope": "mailing email"}, {"scope": None}, {"scope": ["x"]}, {"scope": 3}]
)
def test_a_token_needs_the_scope(tokens: Tokens, issuer: Issuer, claims: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused) as refused:
        tokens.read(issuer.token(**claims))
    assert refused.value.code == "insufficient_scope"


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "id+jwt", "x"])
def test_what_is_no_access_token_is_refused(tokens: Tokens, issuer: Issuer, typ: str) -> None:
    with pytest.raises(TokenRefused, match="not an access token"):
        tokens.read(issuer.token(header={"typ": typ}))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},  # RFC 8725 §2.1
        {"alg": "HS256", "kid": "r"},  # with the public key as if it were a secret
        {"alg": "PS256", "kid": "r"},  # well signed, but not as the configuration says
        {"alg": "EdDSA", "kid": "d"},
        {"alg": "RS256", "kid": "e"},  # a key of another kind
        {"alg": "ES256", "kid": "unknown"},
        {"alg": "ES256", "kid": None},  # there are several keys
        {"alg": "ES256", "kid": 7},
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"]},
        {"alg": None},
        {"alg": ["ES256"]},
        {"long": "x" * 5000},
    ],
)
def test_the_token_does_not_choose_how_it_is_checked(
    tokens: Tokens, issuer: Issuer, header: dict[str, Any]
) -> None:
    with pytest.raises(TokenRefused) as refused:
        tokens.read(issuer.token(header=header))
    assert not refused.value.genuine


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
def test_the_configuration_does(make: Make, issuer: Issuer, algorithm: str) -> None:
    kid = {"R": "r", "P": "r"}.get(algorithm[0], "e" if algorithm == "ES256" else "d")
    reader = make(algorithms=[algorithm])
    assert reader.read(issuer.token(ALICE, header={"alg": algorithm, "kid": kid})) == ALICE


def test_another_issuers_signature_counts_for_nothing(tokens: Tokens, issuer: Issuer) -> None:
    stranger = Issuer(now=CLOCK.now)
    key = stranger.keys[1]
    for header in ({}, {"jwk": key}, {"jku": "https://login.east.test/keys"}):
        with pytest.raises(TokenRefused, match="not signed by the issuer"):
            tokens.read(stranger.token(header=header))


def test_a_token_that_was_changed_is_refused(tokens: Tokens, issuer: Issuer) -> None:
    head, _, signature = issuer.token().split(".")
    payload = encoded(json.dumps({"email": "eve@north.test"}).encode())
    with pytest.raises(TokenRefused):
        tokens.read(f"{head}.{payload}.{signature}")


def test_the_account_may_stand_in_another_claim(make: Make, issuer: Issuer) -> None:
    reader = make(account_claim="preferred_username")
    assert reader.read(issuer.token(preferred_username=ALICE, email_verified=False)) == ALICE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=40).map(encoded),
            st.text(alphabet="abcE=.-_0", max_size=20),
            st.recursive(
                st.none() | st.booleans() | st.text(max_size=5) | st.integers() | st.floats(),
                lambda inner: st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "exp", "crit", "b64"]), inner),
                max_leaves=6,
            ).map(lambda value: encoded(json.dumps(value).encode())),
            st.sampled_from([encoded(b"[" * 4000), encoded(b"9" * 5000)]),
            st.just(encoded(b'{"alg":"ES256","kid":"e"}')),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_anything_at_all_is_no_token(tokens: Tokens, parts: list[str]) -> None:
    with pytest.raises(TokenRefused):
        tokens.read(".".join(parts))


@settings(max_examples=50)
@given(claims=st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "email", "scope", "scp", "sub", "jti", "cnf"]),
    st.none() | st.booleans() | st.text(max_size=5) | st.integers() | st.floats()
    | st.lists(st.text(max_size=2)),
))  # fmt: skip
def test_whatever_the_issuer_signs_is_read_or_refused(
    tokens: Tokens, issuer: Issuer, claims: dict[str, Any]
) -> None:
    token = issuer.token(**claims)
    with contextlib.suppress(TokenRefused):
        assert tokens.read(token) == claims.get("email", ALICE)


def test_deep_claims_that_are_signed_are_refused(tokens: Tokens, issuer: Issuer) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    assert tokens.read(issuer.token(ALICE, deep=deep)) == ALICE


# ── the issuer's keys ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"keys": []}', '{"keys": {}}', '{"keys": [1]}', '{"keys": [{}]}', "[" * 5000,
     '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', '{"keys": [{"kty": "EC", "crv": "P-256", "x": "!"}]}'],
)  # fmt: skip
def test_a_file_without_public_keys_is_refused(tmp_path: Path, make: Make, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(KeysProblem, match=r"keys\.json"):
        make(keys_file=path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, make: Make) -> None:
    with pytest.raises(KeysProblem, match="No such file"):
        make(keys_file=tmp_path / "none.json")


def test_a_weak_key_is_refused(tmp_path: Path, make: Make) -> None:
    """RFC 7518 §3.3."""
    path = tmp_path / "keys.json"
    path.write_text(Issuer(1024).key_set)
    with pytest.raises(KeysProblem, match="2048 bits"):
        make(keys_file=path)


def test_keys_of_a_kind_that_is_not_known_are_passed_over(tmp_path: Path, make: Make, issuer: Issuer) -> None:
    """RFC 7517 §5."""
    path = tmp_path / "keys.json"
    keys = [{"kty": "AKP", "alg": "ML-DSA-44"}, {**issuer.keys[1], "use": "enc", "kid": "x"}, *issuer.keys]
    path.write_text(json.dumps({"keys": keys}))
    assert make(keys_file=path).read(issuer.token(ALICE)) == ALICE
