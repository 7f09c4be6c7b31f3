"""Logging in with a certificate or a token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.accounts import account
from posthouse.accounts.authentication import (
    ACCOUNT_DISABLED,
    TOO_MANY_FAILURES,
    WHICH_ACCOUNT,
    Authenticated,
    Authenticator,
)
from posthouse.accounts.tokens import Tokens
from posthouse.config.model import OAuth
from posthouse.db import DatabaseAway
from posthouse.mail.reply import AUTH_INVALID, AUTH_TEMPORARY
from posthouse.observe import metrics
from posthouse.protocol.sasl import Certificate, Refused, Token
from tests.issuer import AUDIENCE, NAME, Issuer
from tests.unit.accounts.world import World

CLIENT = "192.0.2.7"
ALICE, BOB = "alice@example.org", "bob@example.org"


@pytest.fixture
def issuer(world: World) -> Issuer:
    return Issuer(now=world.clock.now)


@pytest.fixture
def door(world: World, issuer: Issuer, tmp_path: Path) -> Iterator[Authenticator]:
    path = tmp_path / "keys.json"
    path.write_text(issuer.key_set)
    door = Authenticator(world.database, world.clock, lambda client: client == "127.0.0.1")
    settings = OAuth(
        issuer=NAME, audience=(AUDIENCE,), keys_file=path, scope="mail", discovery_url="https://x"
    )
    door.tokens = Tokens(settings, world.clock)
    yield door
    door.close()


def is_alice(answer: object) -> bool:
    return isinstance(answer, Authenticated) and answer.login == ALICE


def why(answer: object) -> dict[str, str]:
    assert isinstance(answer, Refused)
    assert answer.then == AUTH_INVALID
    found: dict[str, str] = json.loads(answer.challenge)
    return found


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("identity", ["", ALICE, "Alice@EXAMPLE.org"])
@pytest.mark.parametrize("addresses", [(ALICE,), ("ALICE@example.org", "nobody@example.org", ALICE)])
async def test_a_certificate_opens_the_account_that_it_names(
    door: Authenticator, identity: str, addresses: tuple[str, ...]
) -> None:
    assert is_alice(await door.judge(Certificate(identity, addresses), CLIENT))


@pytest.mark.parametrize(
    ("identity", "addresses"),
    [
        (BOB, (ALICE,)),
        ("", ("nobody@example.org",)),
        ("", ()),
        ("", ("example.org", "\x00@", "@")),
        ("x", ("x",)),
    ],
)
async def test_it_opens_no_other(door: Authenticator, identity: str, addresses: tuple[str, ...]) -> None:
    assert await door.judge(Certificate(identity, addresses), CLIENT) == AUTH_INVALID


async def test_a_certificate_for_several_accounts_asks_for_which(door: Authenticator) -> None:
    assert await door.judge(Certificate("", (ALICE, BOB)), CLIENT) == WHICH_ACCOUNT
    assert is_alice(await door.judge(Certificate(ALICE, (ALICE, BOB)), CLIENT))


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("identity", ["", ALICE, "Alice@Example.ORG"])
async def test_a_token_opens_the_account_that_it_names(
    door: Authenticator, issuer: Issuer, identity: str
) -> None:
    token = Token("XOAUTH2", identity, issuer.token("ALICE@example.org"))
    assert is_alice(await door.judge(token, CLIENT))


@pytest.mark.parametrize(("identity", "of"), [(BOB, ALICE), ("", "nobody@example.org")])
async def test_a_token_opens_no_other(door: Authenticator, issuer: Issuer, identity: str, of: str) -> None:
    assert why(await door.judge(Token("OAUTHBEARER", identity, issuer.token(of)), CLIENT)) == {
        "status": "invalid_token", "scope": "mail", "openid-configuration": "https://x",
    }  # fmt: skip


async def test_a_client_is_told_of_the_scope_that_it_lacks(door: Authenticator, issuer: Issuer) -> None:
    answer = await door.judge(Token("OAUTHBEARER", "", issuer.token(ALICE, scope="calendar")), CLIENT)
    assert why(answer)["status"] == "insufficient_scope"


async def test_without_an_issuer_no_token_is_taken(door: Authenticator, issuer: Issuer) -> None:
    door.tokens = None
    assert await door.judge(Token("XOAUTH2", ALICE, issuer.token(ALICE)), CLIENT) == AUTH_INVALID


async def test_made_up_tokens_are_throttled_by_client_and_hold_nobody_else_up(
    door: Authenticator, issuer: Issuer
) -> None:
    made_up = Token("XOAUTH2", ALICE, "abc.def.ghi")
    answers = [await door.judge(made_up, CLIENT) for _ in range(10)]
    assert answers[-1] == TOO_MANY_FAILURES
    good = Token("XOAUTH2", ALICE, issuer.token(ALICE))
    assert await door.judge(good, CLIENT) == TOO_MANY_FAILURES
    assert is_alice(await door.judge(good, "198.51.100.1"))
    assert is_alice(await door.judge(good, "127.0.0.1"))


async def test_a_program_that_repeats_an_old_token_is_not_held_up(
    door: Authenticator, issuer: Issuer
) -> None:
    old = Token("XOAUTH2", ALICE, issuer.token(ALICE, exp=1))
    for _ in range(20):
        assert why(await door.judge(old, CLIENT))["status"] == "401"
    assert is_alice(await door.judge(Token("XOAUTH2", ALICE, issuer.token(ALICE)), CLIENT))


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_disabled_account_stays_closed(door: Authenticator, world: World, issuer: Issuer) -> None:
    await world.change(lambda tx: account.change(tx, ALICE, active=False))
    assert await door.judge(Certificate("", (ALICE,)), CLIENT) == ACCOUNT_DISABLED
    answer = await door.judge(Token("XOAUTH2", "", issuer.token(ALICE)), CLIENT)
    assert isinstance(answer, Refused)
    assert answer.then == ACCOUNT_DISABLED


async def test_a_database_that_is_away_is_no_refusal(
    door: Authenticator, world: World, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise DatabaseAway("gone")

    monkeypatch.setattr(world.database, "read", away)
    assert await door.judge(Certificate("", (ALICE,)), CLIENT) == AUTH_TEMPORARY
    assert await door.judge(Token("XOAUTH2", "", issuer.token(ALICE)), CLIENT) == AUTH_TEMPORARY


@pytest.mark.parametrize(("addresses", "more"), [((ALICE,), 1), (("nobody@example.org",), 0)])
async def test_who_is_let_in_is_counted_by_mechanism(
    door: Authenticator, addresses: tuple[str, ...], more: int
) -> None:
    def counted() -> float:
        line = re.search(
            rb'posthouse_logins_let_in_total{mechanism="EXTERNAL".*} (\S+)', metrics.exposition()
        )
        assert line is not None
        return float(line[1])

    before = counted()
    await door.judge(Certificate("", addresses), CLIENT)
    assert counted() == before + more
