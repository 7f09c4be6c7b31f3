"""Listings: a table for people, JSON for programs."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def print_listing(rows: Iterable[Mapping[str, Any]], *, json: bool, empty: str = "") -> None:
    """Print `rows`, whose keys are the headings, in their order.

    `json` prints one array of objects. `empty` is what people read where there are no rows.
    """
    listed = [dict(row) for row in rows]
    if json:
        json_format.dump(listed, sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")
        return
    if not listed:
        if empty:
            print(empty)
        return
    if not sys.stdout.isatty():
        _print_plain(listed)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in listed[0]:
        table.add_column(_heading(heading), overflow="fold")
    for row in listed:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    Console().print(table)


def print_record(record: Mapping[str, Any], *, json: bool) -> None:
    """Print one thing: its fields below each other, or a JSON object."""
    if json:
        json_format.dump(dict(record), sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")
        return
    width = max((len(key) for key in record), default=0)
    for key, value in record.items():
        print(f"{_heading(key):<{width}}  {_shown(value)}".rstrip())


def _print_plain(listed: list[dict[str, Any]]) -> None:
    """Columns parted by two spaces: nothing is cut, whatever reads it."""
    lines = [[_heading(key) for key in listed[0]]] + [
        [_shown(value) for value in row.values()] for row in listed
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _heading(key: str) -> str:
    """In words, so that it can be wrapped where a terminal is narrow."""
    return key.replace("_", " ")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    # A listing shows what strangers sent: no control characters reach the terminal.
    return "".join(c if c.isprintable() else "�" for c in str(value))
