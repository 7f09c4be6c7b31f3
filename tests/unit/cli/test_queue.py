"""posthouse queue answers, also where there is nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.cli.main import main
from tests.servers import install


def test_retry_says_that_nothing_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = str(install(tmp_path))

    assert main(["queue", "retry", "--next-hop", "south.test", "--config", config]) == 0

    assert capfd.readouterr().out == "Nothing waits for its time that is like that.\n"


@pytest.mark.parametrize("verb", ["hold", "release", "delete"])
def test_what_finds_no_entry_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    config = str(install(tmp_path))

    assert main(["queue", verb, "--next-hop", "south.test", "--config", config]) != 0

    assert "nothing in the queue is like that" in capfd.readouterr().err
