"""One time for all processes of the pocket internet."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.pocket.clock import FollowedClock, VirtualClock

DAY = 86_400.0

FOLLOWER = """
import asyncio, sys
from pathlib import Path
from posthouse.pocket.clock import FollowedClock

async def main():
    clock = FollowedClock(Path(sys.argv[1]))
    clock.on_change(lambda: print("changed", clock.offset, flush=True))
    clock.watch(asyncio.get_running_loop())
    print("begin", clock.offset, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


def test_another_process_knows_the_time_when_advance_returns(run: Callable[..., Any], tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        await clock.serve(tmp_path / "clock")
        await clock.advance(10.0)
        follower = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FOLLOWER, str(tmp_path / "clock"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert follower.stdin is not None
        assert follower.stdout is not None
        assert await follower.stdout.readline() == b"begin 10.0\n"
        await clock.advance(5 * DAY)
        assert await follower.stdout.readline() == b"changed 432010.0\n"
        follower.stdin.close()
        await follower.wait()
        await clock.advance(1.0)  # nobody left to tell
        await clock.close()

    run(scene())


def test_followers_in_this_process_are_called_back_before_it_returns(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        await clock.serve(tmp_path / "clock")
        follower = await asyncio.to_thread(FollowedClock, tmp_path / "clock")
        seen: list[float] = []
        clock.on_change(lambda: seen.append(clock.offset))
        follower.on_change(lambda: seen.append(follower.offset))
        follower.watch(asyncio.get_running_loop())
        await clock.advance(DAY)
        await clock.advance(DAY)
        assert seen == [DAY, DAY, 2 * DAY, 2 * DAY]
        assert clock.now() - time.time() == pytest.approx(2 * DAY, abs=5)
        assert follower.now() - time.time() == pytest.approx(2 * DAY, abs=5)
        await clock.close()
        await asyncio.sleep(0)
        follower.close()

    run(scene())


def test_time_does_not_go_back(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        with pytest.raises(ValueError, match="forward"):
            await VirtualClock().advance(-1.0)

    run(scene())
