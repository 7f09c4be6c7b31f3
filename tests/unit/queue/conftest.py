"""A queue on either database, whose database clock a test moves."""

from __future__ import annotations

import pytest

from posthouse.queue import entries
from posthouse.queue.entries import NewEntry, QueueLetter
from tests.databases import Scratch, database_url, engine, scratch

__all__ = ["database_url", "engine"]


class Queue:
    """Statements are durable at once, as far as a test can see."""

    def __init__(self, session: Scratch) -> None:
        self._session = session
        self.moment = 1000.0
        self.released: list[int] = []

    def __getattr__(self, name):
        return getattr(self._session, name)

    def now(self) -> float:
        return self.moment

    def letter(
        self, id: int, recipients: int = 1, *, due: float = 0.0, holder: int = 0, hop="south.test", **more
    ):
        letter = QueueLetter(
            **{
                "id": id,
                "sender": "alice@north.test",
                "body": "8BITMIME",
                "smtputf8": False,
                "ret": "HDRS",
                "envid": "xyz",
                "prefix": b"Received: x\r\n",
                "content": id,
                "size": 100,
                "arrived": 1e9,
                "expires": 1e9 + 432_000,
                "parent": None,
                "last": recipients,
                **more,
            }
        )
        new = [NewEntry(n, f"bob{n}@south.test", 6, "", hop) for n in range(1, recipients + 1)]
        return entries.insert(self, letter, new, due=due, holder=holder)

    def rows(self):
        return self.all("SELECT letter, number, state, due, attempts, reason, holder FROM queue_entry")

    def release(self, tx, contents):
        self.released += contents


@pytest.fixture
def queue(engine):
    queue = Queue(scratch(engine))
    yield queue
    queue.close()
