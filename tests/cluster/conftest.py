"""One cluster serves all tests of this folder. What they measured is printed at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.network import network

_measured: list[str] = []


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    under = network()
    try:
        cluster = Cluster(under)
        try:
            _measured.append(f"three hosts in {under.what}")
            yield cluster
        finally:
            cluster.close()
    finally:
        under.close()


@pytest.fixture
def measured() -> list[str]:
    """Lines for the closing summary."""
    return _measured


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _measured:
        terminalreporter.section("cluster")
        for line in _measured:
            terminalreporter.write_line(line)
