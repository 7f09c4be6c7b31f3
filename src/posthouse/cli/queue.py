"""`posthouse queue`: mail that waits to leave."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from posthouse.admin import queue
from posthouse.admin.queue import NoSuchQueueEntry, Order, selection_of
from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing, print_record
from posthouse.cli.problem import CommandProblem
from posthouse.config.units import parse_duration
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.ids import show as show_id
from posthouse.queue.operations import Listed, Selection, State, Touched

if TYPE_CHECKING:
    from posthouse.config import Config
    from posthouse.db import Database

app = App(name="queue", help="Mail that waits to leave.")


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    """Which entries. `*` in an address or name stands for anything; @example.org for its addresses."""

    sender: str | None = None
    """Its reverse-path; <> for bounces."""
    recipient: str | None = None
    next_hop: str | None = None
    """The domain or [host]:port it goes to, or `local`."""
    state: Literal["incoming", "active", "deferred", "held"] | None = None
    """incoming: not tried yet. active: being tried now."""
    older_than: str | None = None
    """In the queue for longer than this: 90s, 15m, 4h, 2d."""
    newer_than: str | None = None

    def selection(self, now: float) -> Selection:
        return Selection(
            sender=self.sender,
            recipient=self.recipient,
            next_hop=self.next_hop,
            state=None if self.state is None else State(self.state),
            arrived_before=None if self.older_than is None else now - _duration(self.older_than),
            arrived_after=None if self.newer_than is None else now - _duration(self.newer_than),
        )


NO_FILTERS = Filters()
AllOption = Annotated[bool, Parameter(name="--all", negative="", help="Everything in the queue.")]


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandProblem(str(error), code=os.EX_USAGE) from None


@app.command(name="list")
def list_(
    *, filters: Filters = NO_FILTERS, limit: int = 0, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List queue entries, the oldest first.

    Parameters
    ----------
    limit
        How many at most; all of them unless given.
    """
    selection = filters.selection(time.time())
    found = with_database(config, lambda _, database: queue.listing(database, selection, limit))
    print_listing(map(_record, found), json=json, empty="Nothing waits.")


@app.command
def show(id: str, /, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one letter of the queue: ID, or ID/1 for one of its recipients."""

    async def look(config: Config, database: Database) -> queue.QueuedLetter:
        from posthouse.db.blobs import open_blobs

        blobs = open_blobs(config.database.blobs, config.data_directory)
        try:
            return await queue.show(database, blobs, id)
        finally:
            await blobs.close()

    try:
        letter, head, entries = with_database(config, look)
    except NoSuchQueueEntry as error:
        raise CommandProblem(str(error), hint="See posthouse queue list, and posthouse journey.") from None
    except ValueError as error:
        raise CommandProblem(str(error), code=os.EX_USAGE) from None
    header = HeaderIndex(head)
    fields = {name: field_value_text(header.first(name) or b"") for name in ("From", "Subject", "Message-ID")}
    record: dict[str, Any] = {
        "id": show_id(letter.id),
        "sender": letter.sender or "<>",
        "size": letter.size,
        "arrived": _moment(letter.arrived),
        "expires": _moment(letter.expires),
        **{name.lower().replace("-", "_"): value for name, value in fields.items()},
    }
    if json:
        record["entries"] = [_record(entry) for entry in entries]
        print_record(record, json=True)
        return
    print_record(record, json=False)
    for entry in entries:
        print()
        print_record(_entry(entry), json=False)


@app.command
def retry(
    *ids: str, filters: Filters = NO_FILTERS, all: AllOption = False, config: ConfigOption = None
) -> None:
    """Try entries now instead of when they are due."""
    _operate(queue.retry, "Will be tried now", ids, filters, all, config)


@app.command
def hold(
    *ids: str, filters: Filters = NO_FILTERS, all: AllOption = False, config: ConfigOption = None
) -> None:
    """Do not try entries until they are released."""
    _operate(queue.hold, "Held", ids, filters, all, config)


@app.command
def release(
    *ids: str, filters: Filters = NO_FILTERS, all: AllOption = False, config: ConfigOption = None
) -> None:
    """End the hold, and try at once."""
    _operate(queue.release, "Released", ids, filters, all, config)


@app.command
def delete(
    *ids: str, filters: Filters = NO_FILTERS, all: AllOption = False, config: ConfigOption = None
) -> None:
    """Remove entries for good. The sender is not told; the journey says who did it."""
    _operate(queue.delete, "Deleted", ids, filters, all, config)


@app.command
def flush(*, next_hop: str | None = None, config: ConfigOption = None) -> None:
    """Try everything now that is not held, or all that goes to one next hop."""
    _operate(queue.retry, "Will be tried now", (), Filters(next_hop=next_hop), next_hop is None, config)


def _operate(
    operation: Callable[[Database, Selection, Order], Awaitable[list[Touched]]],
    done: str,
    ids: tuple[str, ...],
    filters: Filters,
    all: bool,
    config: ConfigOption,
) -> None:
    """Do something to each of `ids`, or to what the filters select; one line for each entry.

    That nothing had to be hastened is no failure; anything else that finds no entry is.
    """
    if sum((bool(ids), filters != NO_FILTERS, all)) != 1:
        raise CommandProblem(
            "which entries?", hint="Give ids, or filters such as --recipient, or --all.", code=os.EX_USAGE
        )
    now = time.time()
    try:
        selections = [selection_of(id) for id in ids] or [filters.selection(now)]
    except ValueError as error:
        raise CommandProblem(str(error), code=os.EX_USAGE) from None
    touched = with_database(config, partial(_run, operation=operation, selections=selections, now=now))
    for one in touched:
        print(f"{done}: {show_id(one.letter)}/{one.number} {one.recipient}")
    if touched:
        return
    if operation is not queue.retry:
        raise CommandProblem("nothing in the queue is like that", hint="See posthouse queue list.")
    print("Nothing waits for its time that is like that.")


async def _run(
    config: Config,
    database: Database,
    operation: Callable[[Database, Selection, Order], Awaitable[list[Touched]]],
    selections: list[Selection],
    now: float,
) -> list[Touched]:
    order = Order(getpass.getuser(), now, config.journey.enabled, config.data_directory / "run")
    return [touched for selection in selections for touched in await operation(database, selection, order)]


def _record(entry: Listed) -> dict[str, Any]:
    return {
        "id": f"{show_id(entry.letter)}/{entry.number}",
        "sender": entry.sender or "<>",
        **_entry(entry),
        "size": entry.size,
        "arrived": _moment(entry.arrived),
    }


def _entry(entry: Listed) -> dict[str, Any]:
    return {
        "recipient": entry.recipient,
        "next_hop": entry.next_hop,
        "state": entry.state.value,
        "attempts": entry.attempts,
        "due": _moment(entry.due),
        "reason": entry.reason,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
