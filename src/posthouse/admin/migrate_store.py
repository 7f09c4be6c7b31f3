"""Move the mail of an installation to another database and object store, while it is served.

The installation's configuration names one side; the administrator names the other. See `db.transfer` for
how it is done, and docs/administration.md for what he does before and after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from posthouse.db import migrate
from posthouse.db.blobs import Blobs, open_blobs
from posthouse.db.transfer import ObjectColumns, Progress, Report, Transfer, TransferProblem, give_up
from posthouse.db.transfer_end import End, open_end
from posthouse.db.transfer_objects import Objects
from posthouse.queue.entries import in_hand
from posthouse.store.content import BLOBS

T = TypeVar("T")

COLUMNS: Final = ObjectColumns(*BLOBS)


class Store(NamedTuple):
    """A database and where its objects are."""

    url: str
    blobs: str

    def shown(self) -> str:
        """For people and logs: without a password."""
        return without_password(self.url)


class Plan(NamedTuple):
    """From where to where; relative paths lie under `directory`."""

    source: Store
    target: Store
    directory: Path

    @property
    def moves_objects(self) -> bool:
        return self.source.blobs != self.target.blobs


def without_password(url: str) -> str:
    """A database URL as it may be shown."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = "&".join(piece for piece in parts.query.split("&") if not piece.startswith("password="))
    if (query, ":" in user) == (parts.query, False):
        return url
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def plan(
    own: Store,
    directory: Path,
    source: str = "",
    target: str = "",
    source_blobs: str = "",
    target_blobs: str = "",
) -> Plan:
    """What is meant: a side that is not named is the installation's `own`.

    Objects of a side that names none are where `own` has them. Raises TransferProblem where both sides are
    the same database.
    """
    found = Plan(
        Store(source or own.url, source_blobs or own.blobs),
        Store(target or own.url, target_blobs or own.blobs),
        directory,
    )
    if found.source.url == found.target.url:
        raise TransferProblem(f"both sides are {found.source.shown()}; name the other with --to or --from")
    return found


async def move(
    plan: Plan, progress: Progress, *, switch: bool = True, patience: float = 60.0, replace: bool = False
) -> Report | None:
    """Copy and verify, then switch: the source takes no mail any more, and all of it is in the target.

    Without `switch` the copy is made, or brought up to date, and None returned. patience: seconds to wait
    for attempts under way. replace: the target may hold mail that has moved away from it. Raises
    TransferProblem, DatabaseError.
    """

    async def work(source: End, target: End, objects: Objects | None) -> Report | None:
        transfer = Transfer(
            source,
            target,
            source_url=plan.source.shown(),
            target_url=plan.target.shown(),
            columns=COLUMNS,
            objects=objects,
            busy=in_hand,
            progress=progress,
        )
        transfer.begin(replace=replace)
        await transfer.copy()
        return await transfer.switch(patience) if switch else None

    return await _with_both(plan, work)


async def _with_both(plan: Plan, work: Callable[[End, End, Objects | None], Awaitable[T]]) -> T:
    for store in (plan.source, plan.target):
        migrate(store.url, plan.directory, for_transfer=True)
    stores: list[Blobs] = []
    ends: list[End] = []
    try:
        ends += (open_end(store.url, plan.directory) for store in (plan.source, plan.target))
        if plan.moves_objects:
            stores += (open_blobs(store.blobs, plan.directory) for store in (plan.source, plan.target))
        return await work(ends[0], ends[1], Objects(*stores) if stores else None)
    finally:
        for end in ends:
            end.close()
        for blobs in stores:
            await blobs.close()


def give_up_move(source: str, target: str, directory: Path) -> bool:
    """Open a source again and forget the move that was begun; False where none was.

    `target` may be empty where the source was not closed yet. Raises TransferProblem where it is too late.
    """
    ends: list[End] = []
    try:
        for url in (source, target):
            if url:
                migrate(url, directory, for_transfer=True)
                ends.append(open_end(url, directory))
        return give_up(*ends)
    finally:
        for end in ends:
            end.close()
