"""Whatever aliases an administrator ties together, routing ends and tells the truth."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.accounts import account, alias, domain
from posthouse.accounts.alias import Kind as AliasKind
from posthouse.db import Tx
from posthouse.mail.address import parse_address
from posthouse.mail.reply import Reply
from posthouse.routing import Kind, Resolution
from tests.databases import fresh_url
from tests.unit.accounts.world import a_world

NAMES = [f"{letter}@example.org" for letter in "abcdefgh"]
PLACES = [*NAMES, "a+x@example.org", "z@example.org", "out@example.net", "postmaster@example.org"]

Graph = dict[str, tuple[AliasKind, list[str]]]

GRAPHS = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(AliasKind), st.lists(st.sampled_from(PLACES), min_size=1, max_size=5)),
)


def check(resolution: Resolution) -> None:
    assert bool(resolution.finals) == resolution.reply.positive
    assert len(set(resolution.finals)) == len(resolution.finals)
    assert len(set(resolution.failures)) == len(resolution.failures)
    assert all(not failure.reply.positive for failure in resolution.failures)
    assert (resolution.reply.code == 251) == (resolution.kind is Kind.FORWARD and resolution.reply.positive)
    assert (resolution.reply.code == 551) <= (resolution.kind is not Kind.LOCAL)


async def resolve_all(engine: str, graph: Graph, accounts: set[str], catch_all: str) -> None:
    def fill(tx: Tx) -> None:
        domain.add(tx, "example.org", now=1.0, catch_all=catch_all)
        for address in sorted(accounts):
            account.add(tx, address, now=1.0, admin=True)
        for address, (kind, targets) in graph.items():
            if kind is AliasKind.MOVED:
                targets = [target for target in targets if target != address][:1]
            if targets:
                alias.add(tx, address, targets, now=1.0, kind=kind)

    with tempfile.TemporaryDirectory() as directory:
        async with a_world(Path(directory), fresh_url(engine)) as world:
            await world.change(fill)
            for place in PLACES:
                resolution = await world.resolved(place)
                check(resolution)
                assert await world.resolved(place) == resolution
                owns = world.router.owns("a@example.org", parse_address(place))
                assert (owns if isinstance(owns, bool) else await owns) in (True, False)


@settings(max_examples=40, deadline=None)
@given(GRAPHS, st.sets(st.sampled_from(NAMES), max_size=4), st.sampled_from(["", *PLACES]))
def test_every_graph_of_aliases_is_resolved(
    engine: str, graph: Graph, accounts: set[str], catch_all: str
) -> None:
    asyncio.run(resolve_all(engine, graph, accounts, catch_all))


async def ask(engine: str, argument: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with a_world(Path(directory), fresh_url(engine)) as world:
            for authenticated in (False, True):
                for answer in (world.router.verify, world.router.expand):
                    assert isinstance(await answer(argument, authenticated=authenticated), Reply)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text(alphabet='<>@"%\\ \ud800a.[]:', max_size=20)))
def test_every_argument_of_vrfy_and_expn_gets_a_reply(engine: str, argument: str) -> None:
    asyncio.run(ask(engine, argument))
