"""The machine's clock, for commands that run by themselves."""

from __future__ import annotations

import time


class MachineClock:
    """`ports.Clock` of this machine."""

    def now(self) -> float:
        return time.time()
