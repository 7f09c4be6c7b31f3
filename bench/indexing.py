"""How far a Posthouse on SQLite has come with what it makes of messages beforehand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from posthouse.store.snapshotpages import LARGE

PATIENCE = 3600.0


def wait_until_indexed(data: Path) -> None:
    """Wait until all messages of all mailboxes are in the index, and their facts as well."""
    _wait(lambda: _is_complete(data), f"{data}: not all messages have been indexed")


def wait_until_ready(data: Path) -> None:
    """Wait until all that is made of messages beforehand is made for all."""
    wait_until_indexed(data)
    wait_until_quickly_opened(data)


def wait_until_quickly_opened(data: Path) -> None:
    """Wait until each large mailbox has pages, up to its end."""
    ends = "SELECT mailbox, max(below) FROM snapshot_page GROUP BY mailbox"
    large = f"SELECT id, uidnext FROM mailbox WHERE uidnext > {LARGE}"
    database = data / "posthouse.db"
    _wait(lambda: set(_rows(database, large)) == set(_rows(database, ends)), f"{data}: there are no pages")


def _wait(is_done: Callable[[], bool], else_said: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{else_said}, after {PATIENCE:.0f} s")
        time.sleep(1.0)


def _is_complete(data: Path) -> bool:
    there = _rows(data / "posthouse.db", "SELECT account, id, uidnext FROM mailbox WHERE uidnext > 1")
    index = data / "posthouse-search.db"
    texts = _rows(index, "SELECT account, mailbox, uid FROM search_mark")
    facts = _rows(index, "SELECT account, mailbox, max(below) FROM search_facts GROUP BY account, mailbox")
    return set(there) <= set(texts) & set(facts)


def _rows(database: Path, question: str) -> list[tuple[int, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()
