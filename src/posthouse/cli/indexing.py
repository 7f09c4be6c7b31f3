"""How far the full-text index is, shown and waited for: for `posthouse account index` and `reindex`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

from cyclopts import Parameter

from posthouse.admin import search
from posthouse.admin.search import Index
from posthouse.cli.context import with_database
from posthouse.cli.listing import print_listing
from posthouse.cli.problem import CommandProblem
from posthouse.cli.progress import ProgressDisplay
from posthouse.store.fulltext import open_fulltext

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database

T = TypeVar("T")

LOOK_SECONDS: Final = 0.5
"""Between two looks at how far it is."""
NOBODY_SECONDS: Final = 10.0
"""Without a server, after which waiting is given up."""

WaitOption: TypeAlias = Annotated[
    bool, Parameter(name="--wait", negative="", help="Until it is whole, and show how far it is.")
]


def with_index(config: Path | None, work: Callable[[Index], Awaitable[T]]) -> T:
    """What `work` returns. Raises CommandProblem where there is no index."""

    async def run(settings: Config, database: Database) -> T:
        if not settings.search.enabled:
            raise CommandProblem("there is no index: search.enabled is false", code=os.EX_CONFIG)
        fulltext = open_fulltext(settings.database.url, settings.data_directory)
        try:
            return await work(Index(database, fulltext, settings.data_directory / "run"))
        finally:
            await fulltext.close()

    return with_database(config, run)


async def until_whole(index: Index, address: str, *, quiet: bool) -> None:
    """Wait, with a bar. Raises CommandProblem where nobody works at it."""
    left = await search.waiting(index, address)
    if not left:
        return
    with ProgressDisplay("messages", quiet=quiet) as progress:
        progress.stage(f"index of {address or 'all accounts'}", left)
        made = time.monotonic()
        while left:
            if await search.is_being_made(index):
                made = time.monotonic()
            elif time.monotonic() - made > NOBODY_SECONDS:
                raise CommandProblem(
                    f"{left} messages are not indexed, and no server is running that would do it",
                    hint="posthouse serve does it in the background.",
                    code=os.EX_UNAVAILABLE,
                )
            await asyncio.sleep(LOOK_SECONDS)
            before, left = left, await search.waiting(index, address)
            progress.advance(max(0, before - left))


async def print_index(index: Index, address: str, *, json: bool) -> None:
    """One row for each account."""
    found = await search.progress(index, address)
    print_listing(
        (
            {
                "address": whose,
                "messages": backlog.messages,
                "indexed": backlog.messages - backlog.waiting,
                "not yet indexed": backlog.waiting,
            }
            for whose, backlog in found.items()
        ),
        json=json,
    )
