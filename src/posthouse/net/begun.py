"""Work that is begun at once: most commands never have to wait, and then need no task of their own."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def begun(work: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
    """What `work` returns, if it comes to its end without waiting; else what is left of it, to be awaited.

    What stands before its first wait runs outside of any task: no `asyncio.timeout` there.
    """
    try:
        waiting = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return _rest(_Rest(work, waiting))


class _Rest(Generic[T]):
    """A coroutine from its first wait on."""

    __slots__ = ("_waiting", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], waiting: Any) -> None:
        """`waiting`: what the coroutine waits for, as it said so to who began it."""
        self._work = work
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        work, waiting = self._work, self._waiting
        while True:
            try:
                try:
                    sent = yield waiting
                except BaseException as problem:  # noqa: BLE001 (it is the coroutine's)
                    waiting = work.throw(problem)
                else:
                    waiting = work.send(sent)
            except StopIteration as done:
                result: T = done.value
                return result


async def _rest(rest: _Rest[T]) -> T:
    return await rest
