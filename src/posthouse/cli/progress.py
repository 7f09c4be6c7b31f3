"""How far a long piece of work is: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_SECONDS: Final = 5.0
"""Between two plain lines of one stage."""


class ProgressDisplay:
    """Stages, one after the other, each with an amount done and perhaps a total. Used by `with`."""

    def __init__(self, unit: str, *, quiet: bool = False) -> None:
        """`unit`: what is counted, in the plural."""
        self._unit = unit
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._total = self._done = 0
        self._began = self._told = 0.0
        if not quiet and sys.stderr.isatty():
            self._bar = _bar(unit)

    def __enter__(self) -> ProgressDisplay:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage()
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, total: int = 0) -> None:
        """Something else begins; `total` is expected, 0: nobody knows."""
        self._end_stage()
        self._name, self._total, self._done = name, total, 0
        self._began = self._told = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(name, total=total or None)

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""
        self._done += amount
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount)
        elif time.monotonic() - self._told > LINE_SECONDS:
            self._tell()

    def _end_stage(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=self._done or 1, completed=self._done or 1)
            self._task = None
        elif self._name and self._bar is None:
            self._tell()
        self._name = ""

    def _tell(self) -> None:
        if self._quiet:
            return
        self._told = time.monotonic()
        of = f" of {self._total}" if self._total else ""
        seconds = self._told - self._began
        rate = f", {self._done / seconds:.0f}/s" if seconds > 1 and self._done else ""
        print(f"{self._name}: {self._done}{of} {self._unit}{rate}", file=sys.stderr, flush=True)


def _bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
