"""What a worker remembers of domains, accounts and aliases.

Answers are worked out once from the tables and kept until anything in the directory changes, in
whichever process: each question first compares the generation `directory` with the one that the
answers belong to. So a change holds from the next turn of the loop on (`Database.generation`), and a
question answered before costs two dictionary look-ups.

    directory.recall(("domain", "example.org"), lambda reader: domain.find(reader, "example.org"))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

from posthouse.accounts.cache import Recent
from posthouse.db import Database, Reader, Tx, bump

T = TypeVar("T")

CAPACITY = 100_000
"""Answers remembered at most; a large one counts as several."""

GENERATION = "directory"


def begin_change(tx: Tx) -> None:
    """What is remembered is out of date once this transaction commits. To be done before anything is read:
    others who change the directory wait here for each other, so that what they find is still true when
    they write."""
    bump(tx, GENERATION)


class Directory:
    """The memory of one worker, over its database."""

    __slots__ = ("_answers", "_database", "_generation")

    def __init__(self, database: Database, capacity: int = CAPACITY) -> None:
        self._database = database
        self._answers: Recent[Hashable, Any] = Recent(capacity)
        self._generation = -1

    def recall(
        self, key: Hashable, work_out: Callable[[Reader], T], weigh: Callable[[T], int] = lambda answer: 1
    ) -> T | Awaitable[T]:
        """The answer to the question `key`, remembered or worked out now; it is never None.

        `work_out` reads the tables of the directory and nothing else, and depends on `key` alone;
        `weigh` says for how many ordinary answers one counts.
        Where the database is in this process the answer comes at once, else what is not remembered
        is to be awaited. Raises DatabaseError.
        """
        database = self._database
        generation = database.generation(GENERATION)
        if generation != self._generation:
            self._answers.clear()
            self._generation = generation
        answer = self._answers.get(key)
        if answer is not None:
            return cast(T, answer)
        if database.immediate:
            fresh = database.point(work_out)
            self._answers.put(key, fresh, weigh(fresh))
            return fresh
        return asyncio.ensure_future(self._fetch(key, work_out, weigh, generation))

    async def _fetch(
        self, key: Hashable, work_out: Callable[[Reader], T], weigh: Callable[[T], int], generation: int
    ) -> T:
        answer = await self._database.read(work_out, point=True)
        # An answer that was read before a change must not outlive it.
        if generation == self._generation:
            self._answers.put(key, answer, weigh(answer))
        return answer

    def __len__(self) -> int:
        return len(self._answers)
