"""A process that writes numbered rows as fast as it can, and prints each number once it is durable.

python -m tests.faults.db_writer DIRECTORY FIRST COUNT
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from posthouse.db import checkpoint, open_database

AT_ONCE = 20


async def main(directory: Path, first: int, count: int) -> None:
    checkpoint.PASSIVE_PAGES, checkpoint.RESTART_PAGES = 100, 300
    database = open_database("sqlite:///posthouse.db", directory)
    numbers = iter(range(first, first + count))

    async def write() -> None:
        for number in numbers:
            await database.write([], lambda tx, number=number: insert(tx, number))
            # One write per line, straight to the pipe: what was printed was durable before.
            os.write(1, b"%d\n" % number)

    await asyncio.gather(*(write() for _ in range(AT_ONCE)))
    await database.close()


def insert(tx, number: int) -> None:
    """Two rows that must come together."""
    tx.run("INSERT INTO content (id, size, head, hash) VALUES (?, 3000, ?, ?)", (number, b"h" * 100, b""))
    tx.run("INSERT INTO content_body (content, body) VALUES (?, ?)", (number, b"%d " % number * 500))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
