"""What an administrator does with the queue: look, hold, release, retry, delete.

An attempt that is under way is not torn from its holder: `hold` lets it finish and takes effect if it is
deferred; what `delete` removes meanwhile is gone all the same, and the journey says what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from posthouse.queue.entries import ACTIVE, HELD, leave, lock

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx


class State(Enum):
    """How an entry stands, in Postfix's words."""

    INCOMING = "incoming"
    """Not tried yet."""
    ACTIVE = "active"
    """In somebody's hands."""
    DEFERRED = "deferred"
    """Tried in vain; will be tried again."""
    HELD = "held"
    """Waits until it is released."""


class Selection(NamedTuple):
    """Which entries: all conditions hold at once; an empty selection is the whole queue.

    Patterns are addresses or names, in any case; `*` stands for anything, `@domain` for its addresses.
    """

    letter: int | None = None
    number: int | None = None
    sender: str | None = None
    """`<>` is the null reverse-path."""
    recipient: str | None = None
    next_hop: str | None = None
    state: State | None = None
    arrived_before: float | None = None
    arrived_after: float | None = None


class Touched(NamedTuple):
    """An entry that an operation has changed."""

    letter: int
    number: int
    recipient: str


class Listed(NamedTuple):
    """An entry with what one wants to know of its letter."""

    letter: int
    number: int
    sender: str
    recipient: str
    next_hop: str
    state: State
    size: int
    arrived: float
    expires: float
    due: float
    attempts: int
    reason: str


_STATE_CONDITIONS = {
    State.HELD: "e.state = 'held'",
    State.ACTIVE: "e.state = 'active' AND e.holder <> 0",
    State.DEFERRED: "e.state = 'active' AND e.holder = 0 AND e.reason <> ''",
    State.INCOMING: "e.state = 'active' AND e.holder = 0 AND e.reason = ''",
}


def _pattern(text: str) -> str:
    """A LIKE pattern, with `\\` as its escape."""
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return ("%" if escaped.startswith("@") else "") + escaped.replace("*", "%")


def _where(selection: Selection) -> tuple[str, list[object]]:
    conditions: list[str] = []
    values: list[object] = []

    def add(condition: str, *some: object) -> None:
        conditions.append(condition)
        values.extend(some)

    if selection.letter is not None:
        add("e.letter = ?", selection.letter)
    if selection.number is not None:
        add("e.number = ?", selection.number)
    for column, text in (
        ("q.sender", selection.sender),
        ("e.recipient", selection.recipient),
        ("e.next_hop", selection.next_hop),
    ):
        if text == "<>":
            add(f"{column} = ''")
        elif text is not None:
            add(f"lower({column}) LIKE ? ESCAPE '\\'", _pattern(text))
    if selection.state is not None:
        add(_STATE_CONDITIONS[selection.state])
    if selection.arrived_before is not None:
        add("q.arrived < ?", selection.arrived_before)
    if selection.arrived_after is not None:
        add("q.arrived > ?", selection.arrived_after)
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


_FROM = " FROM queue_entry e JOIN queue_letter q ON q.id = e.letter"


def listing(
    reader: Reader | Tx, selection: Selection, limit: int, after: tuple[int, int] = (0, 0)
) -> list[Listed]:
    """Entries in order of arrival; at most `limit` beyond (letter, number) `after`."""
    where, values = _where(selection)
    where += " AND " if where else " WHERE "
    rows = reader.all(
        "SELECT e.letter, e.number, q.sender, e.recipient, e.next_hop, e.state, e.holder, q.size, q.arrived,"
        f" q.expires, e.due, e.attempts, e.reason{_FROM}{where}(e.letter, e.number) > (?, ?)"
        " ORDER BY e.letter, e.number LIMIT ?",
        [*values, *after, limit],
    )
    return [
        Listed(
            letter,
            number,
            sender,
            to,
            hop,
            _state(state, holder, reason),
            size,
            arrived,
            expires,
            due,
            n,
            reason,
        )
        for letter, number, sender, to, hop, state, holder, size, arrived, expires, due, n, reason in rows
    ]


def _state(state: str, holder: int, reason: str) -> State:
    if state == HELD:
        return State.HELD
    if holder:
        return State.ACTIVE
    return State.DEFERRED if reason else State.INCOMING


def count(reader: Reader | Tx, selection: Selection) -> int:
    """How many entries are selected."""
    where, values = _where(selection)
    row = reader.one(f"SELECT count(*){_FROM}{where}", values)
    return 0 if row is None else int(row[0])


def _selected(selection: Selection) -> tuple[str, list[object]]:
    where, values = _where(selection)
    return f"(letter, number) IN (SELECT e.letter, e.number{_FROM}{where})", values


def hold(tx: Tx, selection: Selection) -> list[Touched]:
    """Nothing selected is tried until it is released; what that changed."""
    return _set(tx, f"state = '{HELD}'", [], f"state <> '{HELD}'", [], selection)


def release(tx: Tx, selection: Selection, now: float) -> list[Touched]:
    """End the hold; what is released is due at once. What that changed."""
    return _set(tx, f"state = '{ACTIVE}', due = ?", [now], f"state = '{HELD}'", [], selection)


def retry(tx: Tx, selection: Selection, now: float) -> list[Touched]:
    """Try what is selected, and neither held nor due already, at once."""
    return _set(tx, "due = ?", [now], f"state = '{ACTIVE}' AND due > ?", [now], selection)


def _set(
    tx: Tx, change: str, new: list[object], condition: str, values: list[object], selection: Selection
) -> list[Touched]:
    selected, more = _selected(selection)
    rows = tx.all(
        f"UPDATE queue_entry SET {change} WHERE {condition} AND {selected}"
        " RETURNING letter, number, recipient",
        [*new, *values, *more],
    )
    return sorted(Touched(*row) for row in rows)


def delete(
    tx: Tx, selection: Selection, release_content: Callable[[Tx, Collection[int]], object]
) -> list[Touched]:
    """Remove what is selected for good, telling nobody."""
    condition, values = _selected(selection)
    # Before its entries, as those who deliver do it: of two, the second finds what the first has left.
    lock(tx, [id for (id,) in tx.all(f"SELECT DISTINCT letter FROM queue_entry WHERE {condition}", values)])
    rows = tx.all(f"DELETE FROM queue_entry WHERE {condition} RETURNING letter, number, recipient", values)
    gone = sorted(Touched(*row) for row in rows)
    for letter in sorted({touched.letter for touched in gone}):
        leave(tx, letter, release_content)
    return gone
