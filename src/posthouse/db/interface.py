"""What other rooms see of a database: transactions, readers, and the database itself.

Behind it stands SQLite or PostgreSQL. What differs between them is said here: nothing else may be relied on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[object]
Question: TypeAlias = tuple[str, Parameters]


class Reader(Protocol):
    """One moment of the database: every query of one call sees the same state."""

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        """The first row, or None."""

    def all(self, sql: str, params: Parameters = ()) -> list[Row]: ...

    def each(self, sql: str, params: Parameters = ()) -> Iterator[Row]:
        """Rows as they are read. Not to be kept beyond the call."""

    def now(self) -> float:
        """The database's clock, seconds since 1970 UTC. For leases only."""


class Tx(Protocol):
    """A transaction. It commits after its closure has returned, together with others.

    On PostgreSQL other hosts write at the same time (READ COMMITTED): what a closure reads may have changed
    when it writes, unless it has locked the row, or it belongs to an account among the keys of the write.
    An error in a statement ends the closure's work, and may be raised by a later statement only.
    """

    def run(self, sql: str, params: Parameters = ()) -> None: ...

    def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """The same statement for each row of parameters."""

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        """The first row, or None. Also for RETURNING."""

    def all(self, sql: str, params: Parameters = ()) -> list[Row]: ...

    def ask(self, questions: Sequence[Question]) -> list[list[Row]]:
        """The rows of each statement, all asked at once: over a network that is one wait instead of many."""

    def count(self, sql: str, params: Parameters = ()) -> int:
        """Run; how many rows it inserted, changed or deleted."""

    def lock(self, table: str, key: str, ids: Sequence[int]) -> None:
        """Keep others from changing or locking the rows of `table` whose `key` is among `ids`, until the end.

        Who waits for the lock sees then what its holder has written. SQLite has one writer at a time.
        """

    def now(self) -> float:
        """The database's clock, seconds since 1970 UTC. For leases only."""


Together: TypeAlias = Callable[[Tx, Sequence[Any]], Sequence[Any]]
"""Does at once what several closures do one after another, and gives their answers. Where it raises, nothing
of it is kept, and they are run each by itself."""


class Database(Protocol):
    """A database of one process, bound to the running loop.

    `holder` is a random number, drawn when it was opened: the name under which this process holds leases.
    `hold` may be set to a function that tells how many sessions are in the middle of a letter; a batch
    waits a fraction of a millisecond for them. `on_fatal` is called when nothing may be written any more
    (a failed fsync): the process must end.
    """

    holder: int
    hold: Callable[[], int] | None
    on_fatal: Callable[[BaseException], object] | None

    def write(
        self,
        keys: Sequence[int],
        closure: Callable[[Tx], T],
        *,
        long: bool = False,
        together: Together | None = None,
    ) -> asyncio.Future[T]:
        """Run `closure` in a transaction; the future has its value once that is durable.

        keys: the accounts whose rows it touches; they are locked before it runs. The closure is plain code
        without await, may run more than once, and has no effect but through its transaction. It runs in
        the loop's thread or in another, so one that takes more than a few milliseconds says `long`.
        Closures in a row that have the same function `together` may be run by that instead. An exception of
        the closure undoes its own work alone and is the future's. Fails with DatabaseAway, DiskFull,
        Overloaded.
        """

    def write_later(self, closure: Callable[[Tx], object], keys: Sequence[int] = ()) -> bool:
        """The same for what may be lost in a crash: nobody waits; done in about a second. False: dropped."""

    async def read(self, fn: Callable[[Reader], T], *, point: bool = False) -> T:
        """What `fn` finds. `point`: a look-up by key, well under a millisecond, which may run on the loop."""

    def point(self, fn: Callable[[Reader], T]) -> T:
        """`fn` at once, on the loop. Only where `immediate` is true."""

    @property
    def immediate(self) -> bool:
        """Whether `point` works here: the database is in this process (SQLite)."""

    def generation(self, name: str) -> int:
        """How often `bump(tx, name)` was committed, whoever did it; 0 if never.

        On SQLite as it was at one moment of this turn of the loop, so that a thousand questions in one turn
        cost one look; on PostgreSQL as it was a second ago. What we have committed ourselves is always
        seen. Raises DatabaseAway when the database has not answered for some seconds.
        """

    def version(self) -> int | None:
        """A number that is another one once anything was committed, whoever did it.

        None where only the database could tell (PostgreSQL). Raises DatabaseAway.
        """

    async def close(self) -> None:
        """Write what is waiting, then let go of everything."""
