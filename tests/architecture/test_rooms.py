"""The rooms stay as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import ROOMS, SOURCE, Module, modules

PURE = ("mail", "ports", "protocol", "sieve", "mailauth")
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "random",
    "logging",
    "threading",
    "subprocess",
    "select",
}
HOMELESS = ("util", "common", "helper", "base", "manager", "misc")
LONGEST_MODULE = 700

each_module = pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)


def forbidden_rooms(module: Module) -> list[str]:
    allowed = set(ROOMS[: ROOMS.index(module.room) + 1])
    found = []
    for line, name in module.imports():
        parts = [*name.split("."), ""]
        if name.startswith("."):
            found.append(f"line {line}: a relative import")
        elif parts[0] == "posthouse" and parts[1] in ROOMS and parts[1] not in allowed:
            found.append(f"line {line}: {name}")
    return found


@each_module
def test_a_module_stands_in_a_room(module: Module) -> None:
    assert module.room in ROOMS or module.name in ("__init__.py", "__main__.py")


@each_module
def test_a_room_imports_only_rooms_above_it(module: Module) -> None:
    if module.room in ROOMS:
        assert forbidden_rooms(module) == []


@each_module
def test_protocol_cores_do_no_io(module: Module) -> None:
    if module.room in PURE:
        impure = [(line, name) for line, name in module.imports() if name.split(".")[0] in IMPURE_MODULES]
        assert impure == []


@each_module
def test_no_module_is_homeless(module: Module) -> None:
    parts = module.name.removesuffix(".py").split("/")
    assert [part for part in parts for word in HOMELESS if part.startswith(word)] == []


@each_module
def test_no_module_is_long(module: Module) -> None:
    assert module.text.count("\n") <= LONGEST_MODULE


@each_module
def test_a_module_opens_with_its_manual_page(module: Module) -> None:
    assert ast.get_docstring(module.tree)


def test_the_rules_would_notice() -> None:
    """A module that breaks them is found, so that the tests above mean something."""
    text = "from posthouse.store import deposit\nimport posthouse.cli.main\nfrom posthouse import app\n"
    text += "from . import x\n"
    offender = Module(SOURCE / "mail" / "x.py", ast.parse(text), text)

    assert [found.split(":")[0] for found in forbidden_rooms(offender)] == [
        "line 1",
        "line 2",
        "line 3",
        "line 4",
    ]
