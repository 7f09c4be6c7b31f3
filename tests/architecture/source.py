"""The source as the architecture tests see it: its modules, their rooms, and what they import."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SOURCE = TOP / "src" / "posthouse"

# In import order: a room may import only rooms above it.
ROOMS = (
    "mail",
    "ports",
    "protocol",
    "sieve",
    "mailauth",
    "machine",
    "config",
    "observe",
    "db",
    "net",
    "journey",
    "accounts",
    "routing",
    "policy",
    "store",
    "queue",
    "delivery",
    "acceptance",
    "outbound",
    "runner",
    "submission",
    "inbound",
    "access",
    "reports",
    "admin",
    "web",
    "app",
    "pocket",
    "cli",
)


@dataclass(frozen=True)
class Module:
    path: Path
    tree: ast.Module
    text: str

    @property
    def name(self) -> str:
        """Its path below src/posthouse."""
        return str(self.path.relative_to(SOURCE))

    @property
    def room(self) -> str:
        return Path(self.name).parts[0].removesuffix(".py")

    def imports(self) -> list[tuple[int, str]]:
        """Line and dotted name of everything that is imported, also within functions."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        return found

    def texts(self) -> list[tuple[int, str]]:
        """Line and value of each string but docstrings; what an f-string fills in is left out."""
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        return [
            (node.lineno, node.value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ]


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path, ast.parse(text), text))
    return tuple(found)
