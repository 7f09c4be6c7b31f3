"""Work begun at once ends at once, or goes on where it first waited."""

from __future__ import annotations

import asyncio

import pytest

from posthouse.net.begun import begun


async def test_what_never_waits_has_its_value_at_once() -> None:
    async def work() -> int:
        return 7

    assert begun(work()) == 7


async def test_what_waits_goes_on_when_that_is_there() -> None:
    # given
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> list[int]:
        await asyncio.sleep(0)
        return [await future, await asyncio.to_thread(lambda: 2)]

    # when
    rest = begun(work())
    assert asyncio.iscoroutine(rest)
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    # then
    assert await rest == [1, 2]


async def test_an_exception_comes_at_once_or_when_awaited() -> None:
    async def work(wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        begun(work(False))
    rest = begun(work(True))
    assert asyncio.iscoroutine(rest)
    with pytest.raises(LookupError):
        await rest


async def test_cancelling_the_rest_cancels_the_work() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    rest = begun(work())
    assert asyncio.iscoroutine(rest)
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]
