"""Queue entries: their rows, and who may work on them.

    insert ── (leased to the inserter, or claim) ── renew … ── deliver | defer | fail
                         └ lease expires: reclaim ┘

An entry belongs to the holder whose number stands in it until its lease expires by the database's
clock. Results count only where the number is still the caller's; the others are somebody else's by now.
When the last entry of a letter goes, so does the letter, and its content is released.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from posthouse.db.leases import LEASE_SECONDS, RENEW_SECONDS

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx

LOCAL: Final = "local"
"""The next hop of what is to be delivered here."""

ACTIVE: Final = "active"
HELD: Final = "held"

SLICES: Final = 8
"""Workers look at different slices of the letters first, so that they do not reach for the same ones."""

_SLICE = f"(letter / 4194304) % {SLICES}"  # the milliseconds of the id, see mail.ids


class NewEntry(NamedTuple):
    """An entry to be made; `reason` says why it has to wait, and is empty where it need not."""

    number: int
    recipient: str
    notify: int
    orcpt: str
    next_hop: str
    reason: str = ""


class QueueLetter(NamedTuple):
    """What all entries of one letter share: the columns of its row."""

    id: int
    sender: str
    """Empty: the null reverse-path."""
    body: str
    smtputf8: bool
    ret: str
    envid: str
    prefix: bytes
    content: int
    size: int
    arrived: float
    expires: float
    parent: int | None = None
    """The letter that this one is about, if we wrote it."""
    last: int = 1
    """The greatest number that one of its recipients was given, queued or not."""


class Entry(NamedTuple):
    """An entry in the hands of its holder."""

    letter: int
    number: int
    recipient: str
    notify: int
    orcpt: str
    next_hop: str
    attempts: int
    warned: bool
    reason: str


class Claimed(NamedTuple):
    """Entries of one letter, leased. `leased_until`: by this process's monotonic clock, never too late."""

    letter: QueueLetter
    entries: list[Entry]
    leased_until: float


_LETTER_COLUMNS = (
    "id, sender, body, smtputf8, ret, envid, prefix, content, size, arrived, expires, parent, last"
)
_ENTRY_COLUMNS = "letter, number, recipient, notify, orcpt, next_hop, attempts, warned, reason"

_INSERT_LETTER = (
    f"INSERT INTO queue_letter ({_LETTER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ENTRY = (
    "INSERT INTO queue_entry"
    " (letter, number, recipient, notify, orcpt, next_hop, state, due, attempts, reason, warned,"
    " holder, lease)"
    " VALUES (?, ?, ?, ?, ?, ?, 'active', ?, 0, ?, 0, ?, ?)"
)


# Into the queue


def insert(tx: Tx, letter: QueueLetter, entries: Iterable[NewEntry], *, due: float, holder: int = 0) -> float:
    """Put a letter into the queue, due at `due`, leased to `holder` (0: to nobody).

    Returns until when the lease lasts by this process's monotonic clock; 0 without one.
    """
    tx.run(_INSERT_LETTER, letter)
    return insert_more(tx, letter.id, entries, due=due, holder=holder)


def insert_more(tx: Tx, letter: int, entries: Iterable[NewEntry], *, due: float, holder: int = 0) -> float:
    """Add entries to a letter that is in the queue already; otherwise as `insert`."""
    until = monotonic() + LEASE_SECONDS if holder else 0.0
    lease = tx.now() + LEASE_SECONDS if holder else 0.0
    for number, recipient, notify, orcpt, next_hop, reason in entries:
        tx.run(
            _INSERT_ENTRY,
            (letter, number, recipient, notify, orcpt, next_hop, due, reason, holder, lease),
        )
    return until


def new_numbers(tx: Tx, letter: int, count: int) -> Sequence[int]:
    """So many numbers that no recipient of a letter that is in the queue ever had."""
    row = tx.one("UPDATE queue_letter SET last = last + ? WHERE id = ? RETURNING last", (count, letter))
    if row is None:
        raise LookupError(f"no letter in the queue: {letter}")
    return range(int(row[0]) - count + 1, int(row[0]) + 1)


def in_queue(tx: Tx, contents: Sequence[int]) -> set[int]:
    """Which of these contents a letter of the queue still needs."""
    needed = set()
    for content in contents:
        if tx.one("SELECT 1 FROM queue_letter WHERE id = ? AND content = ?", (content, content)) or tx.one(
            "SELECT 1 FROM queue_letter WHERE content = ? AND content <> id", (content,)
        ):
            needed.add(content)
    return needed


# Who works on what


def next_due(reader: Reader | Tx) -> float | None:
    """When the first entry that nobody holds is due; None if there is none."""
    row = reader.one("SELECT min(due) FROM queue_entry WHERE state = 'active' AND holder = 0")
    return None if row is None or row[0] is None else float(row[0])


def claim(tx: Tx, holder: int, now: float, limit: int) -> list[Claimed]:
    """Lease up to `limit` entries that are due at `now`, those of one letter together."""
    until = monotonic() + LEASE_SECONDS
    lease = tx.now() + LEASE_SECONDS
    rows: list[tuple[object, ...]] = []
    for slice_ in (f"AND {_SLICE} = ?", ""):
        if len(rows) < limit:
            rows += tx.all(
                "UPDATE queue_entry SET holder = ?, lease = ? WHERE holder = 0 AND (letter, number) IN ("
                f" SELECT letter, number FROM queue_entry WHERE state = 'active' AND holder = 0 AND due <= ?"
                f" {slice_} ORDER BY due, letter, number LIMIT ?) RETURNING {_ENTRY_COLUMNS}",
                (holder, lease, now, *((holder % SLICES,) if slice_ else ()), limit - len(rows)),
            )
    found: dict[int, list[Entry]] = {}
    for row in rows:
        entry = Entry(*row)  # type: ignore[arg-type]  # the columns in order
        found.setdefault(entry.letter, []).append(entry)
    return [Claimed(find_letter(tx, id), sorted(entries), until) for id, entries in found.items()]


def find_letter(reader: Reader | Tx, id: int) -> QueueLetter:
    """The letter with this id. Raises LookupError."""
    row = reader.one(f"SELECT {_LETTER_COLUMNS} FROM queue_letter WHERE id = ?", (id,))
    if row is None:
        raise LookupError(f"no letter in the queue: {id}")
    return QueueLetter(*row)


def has_expired(reader: Reader) -> bool:
    """Whether a lease has expired."""
    return (
        reader.one(
            "SELECT 1 FROM queue_entry"
            " WHERE state IN ('active', 'held') AND holder > 0 AND lease < ? LIMIT 1",
            (reader.now(),),
        )
        is not None
    )


def in_hand(reader: Reader) -> int:
    """How many entries a holder that lives may be trying."""
    row = reader.one(
        "SELECT count(*) FROM queue_entry WHERE state IN ('active', 'held') AND holder > 0 AND lease >= ?",
        (reader.now(),),
    )
    return 0 if row is None else int(row[0])


def reclaim(tx: Tx) -> int:
    """Take entries from holders whose lease has expired; how many."""
    return tx.count(
        "UPDATE queue_entry SET holder = 0 WHERE state IN ('active', 'held') AND holder > 0 AND lease < ?",
        (tx.now(),),
    )


def renew(tx: Tx, holder: int) -> tuple[set[tuple[int, int]], float]:
    """Renew the leases that are older than `RENEW_SECONDS`: which (letter, number), and until when.

    The moment is by this process's monotonic clock, never too late.
    """
    until = monotonic() + LEASE_SECONDS
    now = tx.now()
    renewed = tx.all(
        "UPDATE queue_entry SET lease = ? WHERE state IN ('active', 'held') AND holder = ?"
        " AND lease < ? RETURNING letter, number",
        (now + LEASE_SECONDS, holder, now + LEASE_SECONDS - RENEW_SECONDS * 0.8),
    )
    return {(int(letter), int(number)) for letter, number in renewed}, until


def let_go(tx: Tx, entries: Collection[tuple[int, int]], holder: int) -> None:
    """Let go of these (letter, number), as far as `holder` has them."""
    tx.many(
        "UPDATE queue_entry SET holder = 0 WHERE letter = ? AND number = ? AND holder = ?",
        [(letter, number, holder) for letter, number in sorted(entries)],
    )


def give_back(tx: Tx, holder: int) -> int:
    """Let go of everything `holder` has; how many."""
    return tx.count(
        "UPDATE queue_entry SET holder = 0 WHERE state IN ('active', 'held') AND holder = ?", (holder,)
    )


# Results


def lock(tx: Tx, letters: Sequence[int]) -> None:
    """Keep others from taking away these letters, or what they need, until the end of the transaction."""
    tx.lock("queue_letter", "id", sorted(letters))


def is_mine(tx: Tx, letter: int, number: int, holder: int) -> bool:
    """Whether the entry is still `holder`'s; then nobody takes it from him before the transaction ends."""
    return (
        tx.count(
            "UPDATE queue_entry SET holder = holder WHERE letter = ? AND number = ? AND holder = ?",
            (letter, number, holder),
        )
        == 1
    )


def finish(tx: Tx, letter: int, number: int, holder: int) -> bool:
    """The entry has had its fate; False where it is not `holder`'s any more."""
    return (
        tx.count(
            "DELETE FROM queue_entry WHERE letter = ? AND number = ? AND holder = ?", (letter, number, holder)
        )
        == 1
    )


def defer(tx: Tx, letter: int, number: int, holder: int, *, due: float, reason: str, warned: bool) -> bool:
    """The attempt was deferred: try again at `due`. False where the entry is not `holder`'s any more."""
    return (
        tx.count(
            "UPDATE queue_entry SET attempts = attempts + 1, due = ?, reason = ?, warned = ?, holder = 0"
            " WHERE letter = ? AND number = ? AND holder = ?",
            (due, reason, int(warned), letter, number, holder),
        )
        == 1
    )


def leave(tx: Tx, letter: int, release: Callable[[Tx, Collection[int]], object]) -> bool:
    """If the letter has no entry left, remove it and release its content; whether it had none."""
    # Of two that finish its last entries at the same time, the second must see that the first has.
    lock(tx, (letter,))
    row = tx.one(
        "DELETE FROM queue_letter WHERE id = ?"
        " AND NOT EXISTS (SELECT 1 FROM queue_entry WHERE letter = queue_letter.id) RETURNING content",
        (letter,),
    )
    if row is None:
        return False
    release(tx, (int(row[0]),))
    return True
