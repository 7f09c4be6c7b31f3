"""The machine behind `ports`: its clock and its chance. The pocket internet has others."""

from __future__ import annotations

import os
import random
import time
from typing import Any


class MachineClock:
    """`ports.Clock` of this machine."""

    def now(self) -> float:
        return time.time()


class MachineRandom:
    """`ports.Random` of this machine."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def random(self) -> float:
        return self._random.random()

    def token(self, octets: int) -> bytes:
        return os.urandom(octets)

    def shuffle(self, items: list[Any]) -> None:
        self._random.shuffle(items)
