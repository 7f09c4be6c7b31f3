"""The schema, step by step: numbered SQL files. One that was released never changes again."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

from posthouse.db.errors import NewerDatabase
from posthouse.db.interface import Row


class Migration(NamedTuple):
    number: int
    name: str
    sql: str


def all_migrations() -> list[Migration]:
    """Every migration, in order."""
    found = []
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found)


def pending(done: Iterable[Row]) -> list[Migration]:
    """Those still to be applied; `done` are rows with the number of each that was.

    Raises NewerDatabase where the database is newer than this program.
    """
    numbers = {int(number) for (number,) in done}
    migrations = all_migrations()
    if numbers - {migration.number for migration in migrations}:
        raise NewerDatabase("the database was made by a newer Posthouse; upgrade this one")
    return [migration for migration in migrations if migration.number not in numbers]
