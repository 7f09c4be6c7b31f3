"""FETCH responses as lines: every number its own, in mailboxes of any size."""

from __future__ import annotations

import pytest

from posthouse.access.imap import lines
from posthouse.access.imap.lines import Values


@pytest.mark.parametrize(
    "bounds",
    [
        (0, 3), (0, 999), (0, 1000), (998, 1001), (0, 51_001), (49_998, 52_000), (50_999, 51_000),
        (99_999, 100_001), (60_000, 60_000),
    ],
)  # fmt: skip
def test_lines_begin_with_the_number_of_their_message(bounds: tuple[int, int]) -> None:
    numbered = [b"* %d FETCH (" % (index + 1) for index in range(*bounds)]
    assert list(lines.starts(range(*bounds))) == numbered
    assert list(lines.starts(list(range(*bounds)))) == numbered


def test_a_line_has_all_that_is_said_of_its_message() -> None:
    items = [
        Values([b"FLAGS ()", b"FLAGS (x)"]),
        Values(map(b"%d".__mod__, (7, 8)), b"UID "),
        Values([b"{1}\r\n", b"{2}\r\n"], b"BODY[] ", ([b"a", b"b"], iter([b"", b"c"]))),
    ]
    assert lines.join(lines.starts(range(2, 4)), items) == (
        b"* 3 FETCH (FLAGS () UID 7 BODY[] {1}\r\na)\r\n* 4 FETCH (FLAGS (x) UID 8 BODY[] {2}\r\nbc)\r\n"
    )
    with pytest.raises(ValueError, match="size"):
        lines.join(lines.starts(range(2)), [Values([b"one"])])
