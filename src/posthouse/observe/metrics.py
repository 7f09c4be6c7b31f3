"""Counters, gauges and histograms, cheap enough for every letter, shown to Prometheus on demand.

    _ACCEPTED = metrics.counters("posthouse_accepted_total", "letters answered 250", "by", ("smtp", "lmtp"))
    _ACCEPTED["smtp"].add()

Each is a 64-bit cell of memory that all processes of the program share: a row per process, made before
the fork, written by that process alone, so that there is no lock and any worker can answer a scrape for
all. A process takes its row with `take_row`; the label `worker` tells them apart, so that the restart
of one is an ordinary counter reset. All values of a label are named when the metric is made.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

ROWS: Final = 513
"""One for the supervisor (0), one for each worker that may be configured."""
_CELLS: Final = 1024
_ROW_OCTETS: Final = _CELLS * 8
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Usual upper bounds of the buckets of a histogram of durations."""


class _Board:
    """The shared memory, and what its cells mean."""

    def __init__(self) -> None:
        # Anonymous and shared: pages that nobody touches cost nothing.
        self._memory = mmap.mmap(-1, ROWS * _ROW_OCTETS)
        self.row = 0
        self.cells = self.row_cells(0)
        self.used = 0
        self.families: dict[str, _Family] = {}

    def row_cells(self, row: int) -> memoryview[int]:
        start = row * _ROW_OCTETS
        return memoryview(self._memory)[start : start + _ROW_OCTETS].cast("q")

    def reserve(self, family: _Family, cells: int) -> int:
        if family.name in self.families:
            raise ValueError(f"there is already a metric {family.name}")
        if self.used + cells > _CELLS - 1:
            raise ValueError("too many metrics: enlarge _CELLS")
        self.families[family.name] = family
        first = self.used
        self.used += cells
        return first

    def rows_in_use(self) -> Iterator[tuple[int, memoryview[int]]]:
        for row in range(ROWS):
            cells = self.row_cells(row)
            if row == self.row or cells[_CELLS - 1]:  # the last cell is the row's mark of being taken
                yield row, cells


class _Family:
    """A metric with all its label values."""

    __slots__ = ("bounds", "first", "help", "kind", "label", "name", "values")

    def __init__(
        self,
        kind: str,
        name: str,
        help: str,
        label: str = "",
        values: tuple[str, ...] = ("",),
        bounds: tuple[float, ...] = (),
    ) -> None:
        self.kind, self.name, self.help = kind, name, help
        self.label, self.values, self.bounds = label, values, bounds
        self.first = _board.reserve(self, len(values) if kind != "histogram" else len(bounds) + 2)

    def collect(self) -> Metric:
        labels = ["worker", self.label] if self.label else ["worker"]
        if self.kind == "histogram":
            return self._histogram(HistogramMetricFamily(self.name, self.help, labels=labels))
        family = (CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily)(
            self.name, self.help, labels=labels
        )
        for row, cells in _board.rows_in_use():
            for index, value in enumerate(self.values):
                marks = [str(row), value] if self.label else [str(row)]
                family.add_metric(marks, cells[self.first + index])
        return family

    def _histogram(self, family: HistogramMetricFamily) -> Metric:
        for row, cells in _board.rows_in_use():
            total, buckets = 0, []
            for index, bound in enumerate((*map(str, self.bounds), "+Inf")):
                total += cells[self.first + index]
                buckets.append((bound, total))
            family.add_metric([str(row)], buckets, cells[self.first + len(self.bounds) + 1] / 1e6)
        return family


class Counter:
    """A number that only grows."""

    __slots__ = ("_cell",)

    def __init__(self, cell: int) -> None:
        self._cell = cell

    def add(self, amount: int = 1) -> None:
        _board.cells[self._cell] += amount

    @property
    def value(self) -> int:
        """Of this process."""
        return _board.cells[self._cell]


class Gauge(Counter):
    """A number that goes up and down."""

    __slots__ = ()

    def set(self, amount: int) -> None:
        _board.cells[self._cell] = amount


class Histogram:
    """How many durations fell below each of some bounds."""

    __slots__ = ("_bounds", "_first")

    def __init__(self, first: int, bounds: tuple[float, ...]) -> None:
        self._first, self._bounds = first, bounds

    def observe(self, seconds: float) -> None:
        cells = _board.cells
        cells[self._first + bisect_left(self._bounds, seconds)] += 1
        cells[self._first + len(self._bounds) + 1] += int(seconds * 1e6)


def counter(name: str, help: str) -> Counter:
    """A new counter; its name ends in _total."""
    return Counter(_Family("counter", _counting(name), help).first)


def counters(name: str, help: str, label: str, values: tuple[str, ...]) -> Mapping[str, Counter]:
    """A new counter for each value of `label`."""
    family = _Family("counter", _counting(name), help, label, values)
    return {value: Counter(family.first + index) for index, value in enumerate(values)}


def gauge(name: str, help: str) -> Gauge:
    """A new gauge."""
    return Gauge(_Family("gauge", name, help).first)


def gauges(name: str, help: str, label: str, values: tuple[str, ...]) -> Mapping[str, Gauge]:
    """A new gauge for each value of `label`."""
    family = _Family("gauge", name, help, label, values)
    return {value: Gauge(family.first + index) for index, value in enumerate(values)}


def histogram(name: str, help: str, bounds: tuple[float, ...] = SECONDS) -> Histogram:
    """A new histogram of seconds; `bounds` ascend."""
    return Histogram(_Family("histogram", name, help, bounds=bounds).first, bounds)


def take_row(row: int) -> None:
    """This process counts in `row` from now on, from zero: 0 is the supervisor, 1 … the workers.

    Called after the fork; a restarted worker takes its predecessor's.
    """
    if not 0 <= row < ROWS:
        raise ValueError(f"row {row} is not below {ROWS}")
    cells = _board.row_cells(row)
    cells[:] = memoryview(bytes(_ROW_OCTETS)).cast("q")
    cells[_CELLS - 1] = 1
    _board.row, _board.cells = row, cells


def exposition() -> bytes:
    """All metrics of all processes in Prometheus' text format."""
    return generate_latest(_registry)


def names() -> dict[str, str]:
    """Every metric known so far, and what it means."""
    return {name: family.help for name, family in sorted(_board.families.items())}


def markdown() -> str:
    """docs/metrics.md."""
    rows = [
        f"| `{name}` | {family.kind} | {f'`{family.label}`: ' if family.label else ''}"
        f"{', '.join(value for value in family.values if value)} | {family.help} |"
        for name, family in sorted(_board.families.items())
    ]
    head = (
        "# Metrics\n\nAt `/metrics` of each endpoint in `metrics.listen`, in Prometheus' text format.\n"
        "Any worker answers for all; the label `worker` tells them apart (0 is the supervisor).\n\n"
        "| name | kind | labels | meaning |\n|---|---|---|---|\n"
    )
    return head + "".join(f"{row}\n" for row in rows)


def _counting(name: str) -> str:
    if not name.endswith("_total"):
        raise ValueError(f"the name of a counter ends in _total: {name}")
    return name


class _Collector(Collector):
    def collect(self) -> Iterator[Metric]:
        for family in _board.families.values():
            yield family.collect()


_board = _Board()
_registry = CollectorRegistry(auto_describe=False)
_registry.register(_Collector())
