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

STANDSTILL = "standstill"
"""The generation that is odd while a transfer wants no attempt to be begun (`db.transfer`)."""
MADE_BY_MIGRATION = ("generation",)
"""Tables that are not empty when they are new."""


def stands_still(number: int) -> bool:
    """Whether this number of `STANDSTILL` says so."""
    return number % 2 == 1


def bump(tx: Tx, name: str) -> None:
    """Caches of `name` are out of date once this transaction commits."""
    tx.run(BUMP, (name,))
