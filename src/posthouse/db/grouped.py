"""What the databases have in common: writing in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from posthouse.db.interface import Together, Tx
from posthouse.db.writer import GroupCommit

T = TypeVar("T")


class GroupedDatabase:
    """The writing half of `posthouse.db.interface.Database`."""

    def __init__(self, group: GroupCommit, holder: int) -> None:
        self.holder = holder
        self._group = group

    @property
    def hold(self) -> Callable[[], int] | None:
        return self._group.hold

    @hold.setter
    def hold(self, value: Callable[[], int] | None) -> None:
        self._group.hold = value

    @property
    def on_fatal(self) -> Callable[[BaseException], object] | None:
        return self._group.on_fatal

    @on_fatal.setter
    def on_fatal(self, value: Callable[[BaseException], object] | None) -> None:
        self._group.on_fatal = value

    @property
    def batches(self) -> int:
        """Transactions committed."""
        return self._group.batches

    @property
    def closures(self) -> int:
        """Closures in them."""
        return self._group.closures

    def write(
        self,
        keys: Sequence[int],
        closure: Callable[[Tx], T],
        *,
        long: bool = False,
        together: Together | None = None,
    ) -> asyncio.Future[T]:
        return self._group.submit(closure, long, keys, together)

    def write_later(self, closure: Callable[[Tx], object], keys: Sequence[int] = ()) -> bool:
        return self._group.later(closure, keys=keys)
