"""Generations: numbers that tell caches when what they hold has changed.

Who changes what a cache holds adds one in the same transaction; who caches compares
`database.generation(name)` with the number it saw when it filled the cache.
"""

from __future__ import annotations

from posthouse.db.interface import Tx

READ = "SELECT number FROM generation WHERE name = ?"
READ_ALL = "SELECT name, number FROM generation"
BUMP = (
    "INSERT INTO generation (name, number) VALUES (?, 1) "
    "ON CONFLICT (name) DO UPDATE SET number = generation.number + 1"
)


def bump(tx: Tx, name: str) -> None:
    """Caches of `name` are out of date once this transaction commits."""
    tx.run(BUMP, (name,))
