"""A table has one owner room, named above it in its migration; nobody else writes SQL for it."""

from __future__ import annotations

import ast
import re

import pytest

from posthouse.db.migrations import all_migrations
from tests.architecture.source import ROOMS, SOURCE, Module, modules

_HEADING = re.compile(r"--\s+([a-z]+)(?::.*)?")
_TABLE = re.compile(r"CREATE\s+(?:VIRTUAL\s+)?TABLE\s+(?:IF NOT EXISTS\s+)?(\w+)", re.I)
_USE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|EXISTS)\s+(\w+)")


def owners() -> dict[str, str]:
    owner: dict[str, str] = {}
    for migration in sorted((SOURCE / "db" / "migrations").glob("*.sql")):
        room = ""
        for line in migration.read_text(encoding="utf-8").splitlines():
            heading = _HEADING.fullmatch(line.strip())
            if heading and heading[1] in ROOMS:
                room = heading[1]
            elif table := _TABLE.match(line):
                assert room, f"{migration.name}: {table[1]} has no room above it"
                owner[table[1]] = room
    return owner


def uses(module: Module, tables: dict[str, str]) -> list[str]:
    return [
        f"line {line}: {table}, which is {tables[table]}'s"
        for line, text in module.texts()
        for table in _USE.findall(text)
        if table in tables and tables[table] != module.room
    ]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_only_its_owner_writes_sql_for_a_table(module: Module) -> None:
    assert uses(module, owners()) == []


def test_each_migration_has_a_number_of_its_own() -> None:
    numbers = [migration.number for migration in all_migrations()]
    assert len(set(numbers)) == len(numbers)


def test_every_table_is_found_with_its_owner() -> None:
    found = owners()

    assert found["email"] == "store"
    assert found["queue_entry"] == "queue"
    assert found["domain"] == "accounts"
    assert found["lease"] == "db"


def test_the_rule_would_notice() -> None:
    text = '"""Reads FROM email."""\nSQL = f"SELECT {x} FROM email JOIN placement USING (y)"\n'
    offender = Module(SOURCE / "cli" / "x.py", ast.parse(text), text)

    assert len(uses(offender, owners())) == 2


def test_every_migration_has_a_number_of_its_own() -> None:
    numbers = [migration.number for migration in all_migrations()]
    assert len(set(numbers)) == len(numbers)
